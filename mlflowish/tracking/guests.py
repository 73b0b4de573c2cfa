"""The active run on other processes: a call that was submitted inside a run logs into that run, wherever it runs.

A worker is a guest: it adds points, params, calls and artifacts, and says nothing of when the run began or ended, so
its death changes nothing about the run but what it had still to say.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from mlflowish.store import Store
from mlflowish.store.context import shippers
from mlflowish.tracking.active import ActiveRun
from mlflowish.tracking.folding import FINISHED
from mlflowish.tracking.lifecycle import in_experiment
from mlflowish.tracking.stack import entered, left

_guests: dict[tuple[Store, str], GuestRun] = {}
_lock = threading.Lock()


class GuestRun(ActiveRun):
    """A run that another process has opened. Ending it here does nothing: whoever opened it ends it."""

    def __init__(self, store: Store, run_id: str, *, params: Mapping[str, str], belongs_to: str | None) -> None:
        super().__init__(store, run_id, params=params, belongs_to=belongs_to)
        self._is_open = True

    def end(self, status: str = FINISHED, *, reason: str = "") -> None:
        """Nothing: it goes on where it was opened."""

    def add_params(self, params: Mapping[str, str]) -> None:
        """What has been logged elsewhere meanwhile."""
        for name, text in params.items():
            self._params.setdefault(name, text)

    def ship(self) -> None:
        """Soon, in the background, let others see what was logged here."""
        if self._writer.is_remote:
            self._writer.mover.ask()

    def ship_now(self) -> None:
        """The same, before this returns; what the store does not take is kept for later."""
        if self._writer.is_remote:
            self._writer.mover.move_and_ship()


@contextmanager
def guest(
    store: Store, run_id: str, params: dict[str, str], belongs_to: str | None, experiment: str | None
) -> Iterator[None]:
    """The block of a call in which that run is the active one."""
    with _lock:
        run = _guests.get((store, run_id))
        if run is None:
            run = _guests[store, run_id] = GuestRun(store, run_id, params=params, belongs_to=belongs_to)
    run.add_params(params)
    with in_experiment(experiment):
        entered(run)
        try:
            yield
        finally:
            left(run)
            run.ship()


def _ship_guests() -> None:
    for run in list(_guests.values()):
        run.ship_now()


shippers.append(_ship_guests)
