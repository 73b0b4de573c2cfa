"""Which run is the active one: of the enclosing block in this thread or task, else the one opened last in the process.

The second half serves threads that know nothing of the block around them, and notebooks, where each cell may have a
context of its own.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

from mlflowish.store.context import active_run_id, on_call

if TYPE_CHECKING:
    from mlflowish.tracking.active import ActiveRun

_block: ContextVar[tuple[ActiveRun, ...]] = ContextVar("mlflowish_runs", default=())
_process: list[ActiveRun] = []


def current_run() -> ActiveRun | None:
    """The active run; None if there is none."""
    for run in reversed(_block.get()):
        if run.is_open:
            return run
    for run in reversed(_process):
        if run.is_open:
            return run
    return None


def open_runs() -> list[ActiveRun]:
    """All runs that are open in this process, the innermost first."""
    return [run for run in reversed(_process) if run.is_open]


def entered(run: ActiveRun) -> None:
    """It is the active one from now on."""
    _block.set((*(other for other in _block.get() if other.is_open), run))
    _process.append(run)
    _tell_steps()


def left(run: ActiveRun) -> None:
    """It has ended: the one around it is active again."""
    _block.set(tuple(other for other in _block.get() if other is not run))
    if run in _process:
        _process.remove(run)
    _tell_steps()


def _tell_steps() -> None:
    run = current_run()
    active_run_id.set(run.run_id if run is not None else None)
    on_call.set(run._note if run is not None else None)
