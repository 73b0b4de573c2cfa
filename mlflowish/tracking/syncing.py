"""`mlflowish sync`: bring what waits on this machine into the store, now."""

from __future__ import annotations

import os
from dataclasses import dataclass

from mlflowish.store import Store, as_store
from mlflowish.tracking.folding import KILLED
from mlflowish.tracking.mover import move_left_behind, ship
from mlflowish.tracking.places import FOLDER, shared_places_of
from mlflowish.tracking.reading import bury, read_runs
from mlflowish.tracking.writer import known_writer


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What was brought into the store, and what waits: spool files of processes that are still at work."""

    files_moved: int
    files_in_use: int


def sync(store: Store | str | os.PathLike[str] | None = None) -> SyncReport:
    """Bring everything that was logged on this machine, by this process and by those that died, into the store.

    It happens by itself whenever a program logs; this is for machines that were offline and programs that were killed.
    StorageError if the store cannot be reached: nothing is lost then.

    >>> import mlflowish as mf
    >>> with mf.start_run():
    ...     mf.log_metric("loss", 0.1)
    >>> mf.sync().files_in_use
    0
    """
    opened = as_store(store)
    opened.check_format()
    writer = known_writer(opened)
    if writer is not None:
        writer.mover.move()
    moved = move_left_behind(opened)
    for record in read_runs(opened, deleted=True):
        if record.status == KILLED and any(session.status == KILLED for session in record.sessions):
            bury(opened, bytes.fromhex(record.run_id))
    ship(opened)
    waiting = sum(1 for storage in shared_places_of(opened) for _ in storage.list(FOLDER))
    return SyncReport(moved, waiting)
