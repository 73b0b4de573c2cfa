"""All that this process logs into one store: appended to a spool file, and nothing else, in the caller's thread.

Nothing here raises for a store that fails, and nothing waits for one: what cannot be spooled in the store is spooled
in the user's cache folder, else in memory up to a bound. The mover takes it from there.
"""

from __future__ import annotations

import atexit
import itertools
import logging
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any
from zlib import crc32

from mlflowish.errors import MlflowishError, StateError
from mlflowish.storage import MemoryStorage, Storage
from mlflowish.store import Store
from mlflowish.tracking.host import machine_id
from mlflowish.tracking.mover import Mover
from mlflowish.tracking.places import FOLDER, places_of
from mlflowish.tracking.spool import CALL, EVENT, LINE, OPEN, SERIES, new_header, pack_point_body, pack_record

MOVE_BYTES = 1 << 20  # 32,000 points: a fifth of a second of the fastest logging, 30 ms of work to move
SEAL_BYTES = 32 << 20  # the mover is behind: begin another file, so that none has to be read whole
MEMORY_BYTES = 32 << 20

Row = tuple[str, int, int, float]
_log = logging.getLogger("mlflowish.tracking")


class SpoolFile:
    """An open spool file. `series` maps (run, name) to the number by which the file knows a series."""

    def __init__(self, storage: Storage, writer: bytes, number: int) -> None:
        header = new_header(writer, number, machine_id())
        self.storage, self.path = storage, f"{FOLDER}/{header.name}"
        self.appender = storage.open_append(self.path)
        self.add = self.appender.add
        packed = header.packed()
        try:
            self.add(packed)
        except BaseException:
            self.appender.close()
            raise
        self.check_start = header.check_start
        self.size_bytes = self.idle_bytes = len(packed)
        self.series: dict[tuple[bytes, str], int] = {}
        self.numbers = itertools.count()  # of series: taken in one step, a signal handler may declare one as well
        self.counts: dict[bytes, int] = {}  # how many files before this one had points of a run
        self.began_s = time.monotonic()
        self.is_full = False

    @property
    def has_records(self) -> bool:
        """Was anything logged into it?"""
        return self.size_bytes > self.idle_bytes


class Writer:
    """See the module. Thread-safe; a forked child begins with an empty one of its own."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.is_remote = not store.storage.capabilities.append
        self._begin_life()
        _living.add(self)

    def _begin_life(self) -> None:
        self.places = places_of(self.store)
        self.file: SpoolFile | None = None
        self.waiting: list[tuple[Storage, str]] = []
        self.open_runs: dict[bytes, Callable[[], None]] = {}
        self.mover = Mover(self)
        self._id = os.urandom(16)
        self._numbers = itertools.count()
        self._counts: dict[bytes, int] = {}
        self._lock = threading.RLock()
        self._dropped_bytes = 0
        self._knows_its_end = False
        self._first_place = 0

    # -- logging -----------------------------------------------------------------------------------

    def point(self, run_id: bytes, name: str, step: int, time_us: int, value: float) -> None:
        """Log one point; a few microseconds."""
        while True:
            file = self.file
            series = file.series.get((run_id, name)) if file is not None else None
            if file is None or series is None:
                file, series = self._declare(run_id, name)
            body = pack_point_body(series, step, time_us, value)
            if self._add(file, body + crc32(body, file.check_start).to_bytes(4, "little")):
                return

    def points(self, run_id: bytes, rows: Sequence[Row]) -> None:
        """Log several points (name, step, microseconds, value) in one write: all of them are acknowledged, or none."""
        while rows:
            file = self.file
            series = [] if file is None else [file.series.get((run_id, row[0])) for row in rows]
            if file is None or None in series:
                for row in rows:
                    self._declare(run_id, row[0])
                continue
            start = file.check_start
            bodies = [pack_point_body(number, *row[1:]) for number, row in zip(series, rows, strict=True)]
            if self._add(file, b"".join([body + crc32(body, start).to_bytes(4, "little") for body in bodies])):
                return

    def event(self, run_id: bytes, kind: str, time_us: int, body: dict[str, Any]) -> None:
        """Log something that happened to a run."""
        self._record(EVENT, (run_id, kind, time_us, body))

    def line(self, run_id: bytes, time_us: int, stream: str, text: str) -> None:
        """Log console text."""
        self._record(LINE, (run_id, time_us, stream, text))

    def call(self, run_id: bytes, row: tuple[Any, ...]) -> None:
        """Log the call of a step."""
        self._record(CALL, (run_id, *row))

    def opened(self, run_id: bytes, tick: Callable[[], None]) -> None:
        """A run is open in this process; `tick` is called from the background every few seconds."""
        with self._lock:
            self.open_runs[run_id] = tick
        self.mover.ensure_thread()

    def ended(self, run_id: bytes) -> None:
        """A run is open no more: what it logged may be moved."""
        with self._lock:
            self.open_runs.pop(run_id, None)
        if self.is_remote:
            self.mover.ask()

    # -- files -------------------------------------------------------------------------------------

    def seal(self) -> None:
        """End the present file, and leave it to the mover."""
        with self._lock:
            file, self.file = self.file, None
            if file is not None:
                file.appender.close()  # waits for whoever is appending: all that was acknowledged is in it
                self.waiting.append((file.storage, file.path))

    def show_life(self) -> None:
        """Have a file as long as a run is open: left behind, it tells that the process died."""
        with self._lock:
            if self.open_runs and self.file is None:
                self._open()

    def prefer_first_place(self) -> None:
        """The store takes records again."""
        self._first_place = 0

    def _record(self, kind: int, fields: tuple[Any, ...]) -> None:
        while True:
            file = self.file or self._open()
            if self._add(file, pack_record(file.check_start, kind, fields)):
                return

    def _add(self, file: SpoolFile, data: bytes) -> bool:
        """Append; False if the file was closed meanwhile, or failed and was replaced: do it again on the next one."""
        try:
            file.add(data)
        except StateError:
            return False
        except MlflowishError as error:
            self._replace(file, error)
            return False
        file.size_bytes += len(data)
        if file.size_bytes >= MOVE_BYTES:
            self._is_large(file)
        return True

    def _is_large(self, file: SpoolFile) -> None:
        if file.size_bytes >= SEAL_BYTES:
            self.seal()
        if not file.is_full:
            file.is_full = True
            self.mover.ask()

    def _declare(self, run_id: bytes, name: str) -> tuple[SpoolFile, int]:
        """The present file, and the number of a series in it."""
        while True:
            with self._lock:
                file = self.file or self._open()
                series = file.series.get((run_id, name))
                if series is not None:
                    return file, series
                count = file.counts.get(run_id)
                if count is None:
                    count = file.counts[run_id] = self._counts[run_id] = self._counts.get(run_id, -1) + 1
                series = next(file.numbers)
                if self._add(file, pack_record(file.check_start, SERIES, (run_id, count, series, name))):
                    file.series[run_id, name] = series
                    return file, series

    def _open(self) -> SpoolFile:
        """The present file, or a new one at the first place that takes it."""
        with self._lock:
            if (present := self._present()) is not None:
                return present
            for storage in self.places[self._first_place :]:
                try:
                    file = SpoolFile(storage, self._id, next(self._numbers))
                    for run_id in self.open_runs:
                        mark = pack_record(file.check_start, OPEN, (run_id,))
                        file.add(mark)
                        file.size_bytes = file.idle_bytes = file.size_bytes + len(mark)
                except MlflowishError as error:
                    self.mover.complain(storage, error)
                    continue
                if (other := self._present()) is not None:  # a signal handler has opened one meanwhile
                    file.appender.close()
                    self.waiting.append((file.storage, file.path))
                    return other
                self.file = file
                self._bound_memory(storage)
                self.mover.ensure_thread()
                if not self._knows_its_end:
                    self._knows_its_end = True
                    _finish_with_worker()
                return file
        raise StateError("Memory takes no records")  # pragma: no cover  the last place never fails

    def _present(self) -> SpoolFile | None:
        return self.file

    def _replace(self, file: SpoolFile, error: MlflowishError) -> None:
        """The disk took no more: go on at the next place."""
        with self._lock:
            if self.file is file:
                self.mover.complain(file.storage, error)
                self.seal()
                self._first_place = min(self.places.index(file.storage) + 1, len(self.places) - 1)

    def _bound_memory(self, storage: Storage) -> None:
        """Drop the oldest of what waits in memory, and say so, when there is too much."""
        if len(self.places) == 1 or not isinstance(storage, MemoryStorage):
            return
        sizes = {info.path: info.size_bytes for info in storage.list(FOLDER)}
        for waiting in [item for item in self.waiting if item[0] is storage]:
            if sum(sizes.values()) <= MEMORY_BYTES:
                return
            self._dropped_bytes += sizes.pop(waiting[1], 0)
            self.waiting.remove(waiting)
            storage.delete(waiting[1])
            _log.warning("Neither store nor disk takes what is logged: %d bytes of it are lost", self._dropped_bytes)


def writer_of(store: Store) -> Writer:
    """The writer of this process for a store."""
    found = _writers.get(store)
    if found is None:
        with _registry_lock:
            found = _writers.setdefault(store, Writer(store))
    return found


def known_writer(store: Store) -> Writer | None:
    """The writer of this process for a store, if it has logged anything."""
    return _writers.get(store)


def _after_fork() -> None:
    global _registry_lock
    _registry_lock = threading.Lock()
    for writer in list(_living):
        writer._begin_life()


def before_the_end(act: Callable[[], None]) -> None:
    """Do this when the process ends, before what was logged is moved."""
    _before_the_end.append(act)


def _finish() -> None:
    for act in _before_the_end:
        act()
    for writer in list(_living):
        writer.mover.close()


def _finish_with_worker() -> None:
    """Workers of multiprocessing end without what Python does at its exit; this is the one thing that they do."""
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        from multiprocessing.util import Finalize

        Finalize(None, _finish, exitpriority=10)


_writers: dict[Store, Writer] = {}
_living: weakref.WeakSet[Writer] = weakref.WeakSet()
_registry_lock = threading.Lock()
_before_the_end: list[Callable[[], None]] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
# As the journals do, and before them: what is registered last is called first.
getattr(threading, "_register_atexit", atexit.register)(_finish)
