"""`mf.start_run` and what else begins, ends, finds, deletes and restores runs."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

from mlflowish.errors import InvalidInputError, StateError
from mlflowish.store import Store, as_store
from mlflowish.store.context import Around, register_carrier
from mlflowish.tracking import reading
from mlflowish.tracking.active import ActiveRun, begin_run, ending_of, resume_run
from mlflowish.tracking.burial import is_buried
from mlflowish.tracking.capture import Watched, finish_describing
from mlflowish.tracking.folding import FINISHED
from mlflowish.tracking.ids import new_run_id, new_run_name
from mlflowish.tracking.options import DEFAULT_EXPERIMENT, EXPERIMENT_VARIABLE, RUN_VARIABLE
from mlflowish.tracking.records import RUNS, Batch, Event, pack_batch
from mlflowish.tracking.run import Run
from mlflowish.tracking.stack import current_run, open_runs
from mlflowish.tracking.values import require_step
from mlflowish.tracking.writer import before_the_end

_experiment: str | None = None
_carried_experiment: ContextVar[str | None] = ContextVar("mlflowish_experiment", default=None)
_starting = threading.RLock()


def set_experiment(name: str) -> None:
    """Let runs that are started from now on in this process belong to the experiment `name`.

    An experiment is a name: it need not be created. Without this it is $MLFLOWISH_EXPERIMENT, else "Default".

    >>> import mlflowish as mf
    >>> mf.set_experiment("churn")
    >>> with mf.start_run() as run:
    ...     run.experiment
    'churn'
    """
    global _experiment
    _experiment = require_experiment(name)


def start_run(
    name: str | None = None,
    *,
    experiment: str | None = None,
    run_id: str | None = None,
    tags: Mapping[str, Any] | None = None,
    description: str | None = None,
    parent: Run | str | None = None,
    nested: bool = True,
    fork_of: Run | str | None = None,
    fork_step: int | None = None,
    console: bool | None = None,
    hardware: bool | None = None,
    store: Store | str | os.PathLike[str] | None = None,
) -> ActiveRun:
    """Begin a run and make it the active one: `with mf.start_run() as run:`, or without `with` until `mf.end_run()`.

    `run_id` opens an existing run again, from this process, from many at once, or from another machine
    ($MLFLOWISH_RUN_ID does the same for a whole program). Inside another run it is nested: its `parent` is that run,
    unless you name one; `nested=False` makes that an error. `fork_of` and `fork_step` continue another run from one of
    its steps: its points up to there, and its params, stand before the new ones.

    `console` and `hardware` say whether to capture output and the load of the machine (default: the settings). Costs
    less than a millisecond; waits for no network. A run whose block raises ends FAILED, with the type of the exception;
    one that is interrupted ends KILLED.

    NotFoundError for an unknown `run_id`, StateError for a deleted one.

    >>> import mlflowish as mf
    >>> with mf.start_run("first", tags={"team": "x"}) as run:
    ...     mf.log_metric("loss", 0.3, step=1)
    >>> run.name, run.status, run.metrics["loss"], run.tags["team"]
    ('first', 'FINISHED', 0.3, 'x')
    """
    outer = current_run()
    if outer is not None and not nested:
        raise StateError(
            f"Run {outer.run_id} is active and nested=False: end it first with mf.end_run(), or allow nesting",
            run_id=outer.run_id,
        )
    _load_what_logs()
    opened = as_store(store) if store is not None or outer is None else outer.store
    watched = Watched.chosen(console=console, hardware=hardware)
    asked = run_id or (os.environ.get(RUN_VARIABLE) if outer is None else None)
    if asked:
        if name is not None or parent is not None or fork_of is not None:
            raise InvalidInputError("start_run opens an existing run (run_id), or begins one: it cannot be named anew")
        reading.require_run_id(asked)
        return resume_run(opened, asked, tags=tags or {}, description=description, watched=watched)
    new_id = new_run_id()
    return begin_run(
        opened,
        new_id,
        name=new_run_name() if name is None else str(name),
        experiment=_chosen_experiment(experiment, outer),
        tags=tags or {},
        description=description,
        parent=_id_of(parent) if parent is not None else outer.run_id if outer is not None else None,
        forked_from=_fork(opened, fork_of, fork_step),
        watched=watched,
    )


def _load_what_logs() -> None:
    """Nothing is imported by the first call that logs: a signal handler that logs too could come in its middle."""
    import mlflowish.tracking.fluent  # noqa: F401  it stands on this module, so not at the top


def end_run(status: str = FINISHED) -> None:
    """End the active run: FINISHED, FAILED or KILLED. Harmless without one.

    >>> import mlflowish as mf
    >>> run = mf.start_run()
    >>> mf.end_run()
    >>> run.status
    'FINISHED'
    """
    run = current_run()
    if run is not None:
        run.end(status)


def active_run() -> ActiveRun | None:
    """The run that is logged into now, None outside one: that of the enclosing block, else the one that this process
    opened last.

    >>> import mlflowish as mf
    >>> with mf.start_run() as run:
    ...     mf.active_run() is run
    True
    """
    return current_run()


def get_run(run_id: str, *, store: Store | str | os.PathLike[str] | None = None) -> Run:
    """The run with this id, as it is now; `refresh()` reads it again. NotFoundError, naming the nearest, without one.

    >>> import mlflowish as mf
    >>> with mf.start_run() as run:
    ...     mf.log_param("lr", 0.1)
    0.1
    >>> mf.get_run(run.run_id).params
    {'lr': '0.1'}
    """
    opened = as_store(store)
    return Run(opened, run_id, reading.read_run(opened, run_id))


def delete_run(run_id: str, *, store: Store | str | os.PathLike[str] | None = None) -> None:
    """Take a run out of listings and searches. Nothing is lost before a collection; `mf.restore_run` brings it back.

    >>> import mlflowish as mf
    >>> with mf.start_run() as run:
    ...     pass
    >>> mf.delete_run(run.run_id)
    >>> mf.get_run(run.run_id).record.is_deleted
    True
    """
    _set_life(run_id, store, deleted=True)


def restore_run(run_id: str, *, store: Store | str | os.PathLike[str] | None = None) -> None:
    """Bring a deleted run back.

    >>> import mlflowish as mf
    >>> with mf.start_run() as run:
    ...     pass
    >>> mf.delete_run(run.run_id)
    >>> mf.restore_run(run.run_id)
    >>> mf.get_run(run.run_id).record.is_deleted
    False
    """
    _set_life(run_id, store, deleted=False)


def require_experiment(name: Any) -> str:
    """The name of an experiment."""
    if isinstance(name, str) and 0 < len(name) <= 250 and name.isprintable() and name.strip() == name:
        return name
    raise InvalidInputError(
        f"The name of an experiment has 1 to 250 printable characters, no space at its ends; found {name!r}", found=name
    )


def active_or_new_run() -> ActiveRun:
    """The active run; one is started if there is none, as in MLflow."""
    run = current_run()
    if run is None:
        with _starting:
            run = current_run() or start_run()
    return run


def _chosen_experiment(given: str | None, outer: ActiveRun | None) -> str:
    if given is not None:
        return require_experiment(given)
    if (chosen := _carried_experiment.get() or _experiment) is not None:
        return chosen
    if outer is not None and outer.belongs_to:
        return outer.belongs_to
    return require_experiment(os.environ.get(EXPERIMENT_VARIABLE) or DEFAULT_EXPERIMENT)


@contextmanager
def in_experiment(name: str | None) -> Iterator[None]:
    """The block of a call whose runs belong to the experiment that was chosen where it comes from."""
    token = _carried_experiment.set(name)
    try:
        yield
    finally:
        _carried_experiment.reset(token)


def _around() -> Around | None:
    """What a call that is submitted now takes along to another process: the active run, the chosen experiment."""
    run, experiment = current_run(), _carried_experiment.get() or _experiment
    if run is not None:
        from mlflowish.tracking.guests import guest  # it stands on this module

        return partial(guest, run.store, run.run_id, dict(run._params), run.belongs_to, experiment)
    return None if experiment is None else partial(in_experiment, experiment)


def _fork(store: Store, origin: Run | str | None, step: int | None) -> tuple[str, int] | None:
    if origin is None:
        if step is not None:
            raise InvalidInputError("fork_step says where to go on from a run: pass that run as fork_of")
        return None
    if step is None:
        raise InvalidInputError("fork_of needs fork_step, the last step that the new run shares with it")
    record = reading.read_run(store, _id_of(origin))
    return record.run_id, require_step(step)


def _id_of(run: Run | str) -> str:
    run_id = run.run_id if isinstance(run, Run) else run
    reading.require_run_id(run_id)
    return run_id


def _set_life(run_id: str, where: Store | str | os.PathLike[str] | None, *, deleted: bool) -> None:
    store = as_store(where)
    record = reading.read_run(store, run_id)
    if record.is_deleted == deleted:
        return
    if deleted and any(run.run_id == run_id for run in open_runs()):
        raise StateError(f"Run {run_id} is open here; end it before you delete it", run_id=run_id)
    batch = Batch(os.urandom(16), 0, (Event("life", _now_us(), {"deleted": deleted}),))
    store.create()
    store.journals(RUNS).append(bytes.fromhex(run_id), pack_batch(batch))
    if not deleted:
        _require_unburied(store, run_id, batch)


def _require_unburied(store: Store, run_id: str, restored: Batch) -> None:
    """Whoever purges it at this very moment may not have seen that it was restored: then one of the two is told."""
    others = [batch for batch in reading.read_batches(store, run_id) if batch.writer != restored.writer]
    if is_buried(others):
        raise StateError(
            f"Run {run_id} in {store.url} was being purged when it was restored: look whether it is whole",
            run_id=run_id,
        )


def _now_us() -> int:
    import time

    return time.time_ns() // 1000


def _end_at_exit() -> None:
    error = None if hasattr(sys, "ps1") or "IPython" in sys.modules else getattr(sys, "last_value", None)
    status, reason = ending_of(error)
    finish_describing()
    for run in open_runs():
        run.end(status, reason=reason)


before_the_end(_end_at_exit)
register_carrier(_around)
