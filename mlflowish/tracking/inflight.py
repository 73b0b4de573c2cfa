"""What lies in spool files, of this process and of others: part of every answer about runs.

Spool files are read as they grow. They are looked at before the journals: a record is in the journals before its
spool file is gone.
"""

from __future__ import annotations

import logging
import threading
import weakref
from array import array
from collections.abc import Iterator

from mlflowish.errors import FormatVersionError, MlflowishError, NotFoundError
from mlflowish.storage import Storage
from mlflowish.store import Store
from mlflowish.tracking.places import FOLDER, readable_places_of
from mlflowish.tracking.records import Batch, Chunk, Column, Lines, Series, series_of
from mlflowish.tracking.spool import Spooled

_log = logging.getLogger("mlflowish.tracking")


class InFlight:
    """The spool files of one store that this process can read. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._files: dict[tuple[str, str], Spooled] = {}
        self._refused: set[str] = set()

    def refresh(self, store: Store) -> None:
        """Read what was spooled since the last time. A place that cannot be read holds nothing that can be told."""
        with self._lock:
            found: dict[tuple[str, str], Spooled] = {}
            for storage in readable_places_of(store):
                try:
                    for path, size in [(info.path, info.size_bytes) for info in storage.list(FOLDER)]:
                        name = (storage.url, path)
                        spooled = self._files.get(name) or Spooled(path)
                        if self._follow(storage, spooled, size):
                            found[name] = spooled
                except MlflowishError as error:
                    _log.info("The spool in %s cannot be read: %s", storage.url, error)
            self._files = found

    def run_ids(self) -> set[bytes]:
        """The runs that it says something of."""
        with self._lock:
            return {run_id for spooled in self._files.values() for run_id in spooled.runs}

    def mark(self) -> tuple[object, ...]:
        """Something that is equal as long as nothing was spooled or moved."""
        with self._lock:
            return tuple(sorted((*name, spooled.position) for name, spooled in self._files.items()))

    def batches(self, run_id: bytes) -> list[Batch]:
        """Events and last values of a run."""
        with self._lock:
            found = (spooled.batch(run_id) for spooled in self._files.values())
            return [batch for batch in found if batch is not None]

    def chunks(self, run_id: bytes) -> Iterator[Chunk]:
        """Points of a run, copied."""
        with self._lock:
            found = [spooled.chunk(run_id) for spooled in self._files.values()]
            chunks = [
                Chunk(chunk.writer, chunk.number, {name: _copied(column) for name, column in chunk.columns.items()})
                for chunk in found
                if chunk is not None
            ]
        return iter(chunks)

    def series(self, run_id: bytes, name: str) -> dict[tuple[bytes, int], Series | None]:
        """Points of one series of a run, copied, by writer and number."""
        with self._lock:
            found = [spooled.chunk(run_id) for spooled in self._files.values()]
            return {
                (chunk.writer, chunk.number): series_of(chunk.columns[name])
                for chunk in found
                if chunk is not None and name in chunk.columns
            }

    def lines(self, run_id: bytes, kind: str) -> list[Lines]:
        """Console text or calls of a run."""
        with self._lock:
            found = [spooled.lines(run_id, kind) for spooled in self._files.values()]
            return [Lines(lines.writer, lines.number, list(lines.rows)) for lines in found if lines is not None]

    def _follow(self, storage: Storage, spooled: Spooled, size: int) -> bool:
        if spooled.path in self._refused:
            return False
        try:
            if size > spooled.position:
                spooled.feed(storage.get(spooled.path, spooled.position))
        except NotFoundError:  # moved since it was listed: the journals have it
            return False
        except FormatVersionError as error:
            self._refused.add(spooled.path)
            _log.warning("%s", error)
            return False
        return True


def in_flight(store: Store) -> InFlight:
    """What this process knows of the spool files of a store, as of now."""
    found = _known.get(store)
    if found is None:
        found = _known.setdefault(store, InFlight())
    found.refresh(store)
    return found


def _copied(column: Column) -> Column:
    return Column(array("q", column.steps), array("q", column.times_us), array("d", column.values))


_known: weakref.WeakKeyDictionary[Store, InFlight] = weakref.WeakKeyDictionary()
