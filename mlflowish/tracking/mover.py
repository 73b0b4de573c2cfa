"""From spool files to journals, behind the program's back: its own files, and those that dead processes left.

A file is deleted after everything in it is in the journals. Done twice, or by two processes at once, it gives the same
records. Readers look at spool files first and at journals after, so nothing is out of sight on its way.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING

# Its exit handler ships what the journals spooled: it has to be registered before ours, and so is called after it.
import mlflowish.journals.spool  # noqa: F401
from mlflowish.errors import FormatVersionError, MlflowishError, NotFoundError
from mlflowish.storage import Storage
from mlflowish.store import Store
from mlflowish.tracking.artifacts import release, settle, unsettled
from mlflowish.tracking.host import machine_id
from mlflowish.tracking.places import FOLDER, shared_places_of
from mlflowish.tracking.reading import bury
from mlflowish.tracking.records import KINDS, RUNS, Batch, Event, pack_batch
from mlflowish.tracking.spool import HEADER_BYTES, Spooled, read_header

if TYPE_CHECKING:
    from mlflowish.tracking.writer import Writer

LOCAL_S = 30.0  # every reader of a local store reads the spool as well: moving is only tidying
REMOTE_S, REMOTE_SLOWEST_S = 2.0, 15.0
LOOK_AROUND_S = 60.0
LONGEST_PAUSE_S = 60.0
TICK_S = 2.0
EXIT_S = 30.0
_TRIES = 3  # each time a collection would have to choose the same object again

_log = logging.getLogger("mlflowish.tracking")


class Mover:
    """Moves what one writer spools. Its thread begins with the first record and ends with the process."""

    def __init__(self, writer: Writer) -> None:
        self._writer = weakref.proxy(writer)
        self._reference = weakref.ref(writer)
        self._moving = threading.Lock()
        self._starting = threading.RLock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_ending = False
        self._has_complained = False
        self._began_s = self._looked_s = time.monotonic()
        self._not_before_s = 0.0
        self._pause_s = 0.0

    def move(self) -> None:
        """Move everything into the journals now; StorageError if the store cannot take it (the spool keeps it)."""
        writer = self._writer
        with self._moving:
            if writer.file is not None and writer.file.has_records:
                writer.seal()
            while writer.waiting:
                storage, path = item = writer.waiting[0]
                move_file(writer.store, storage, path)
                if item in writer.waiting:
                    writer.waiting.remove(item)
            writer.show_life()

    def move_and_ship(self) -> None:
        """Move everything, and let other machines see it, before this returns; what the store does not take now is
        kept."""
        self._try_to_move(ships=True)

    def ask(self) -> None:
        """Move soon."""
        self.ensure_thread()
        self._wake.set()

    def complain(self, storage: Storage, error: MlflowishError) -> None:
        """Warn once for each time that the store is out of reach."""
        if self._has_complained:
            return
        self._has_complained = True
        _log.warning(
            "What is logged cannot be written to %s now (%s). It is kept in %s and written as soon as it can be; "
            "`mlflowish sync` writes it by hand.",
            storage.url,
            error,
            self._writer.places[-2 if len(self._writer.places) > 1 else 0].url,
        )

    def close(self) -> None:
        """Move and ship what there is, for at most `EXIT_S`: the rest waits in the spool."""
        writer = self._writer
        with writer._lock:
            writer.open_runs.clear()
        if writer.file is None and not writer.waiting:
            return
        if writer.file is not None and not writer.file.has_records:
            writer.seal()
        if not writer.is_remote:
            self._try_to_move()
            return
        if self._has_complained:  # out of reach: nobody should wait for it now
            return
        self._is_ending = True
        self.ask()
        if self._thread is not None:
            self._thread.join(timeout=EXIT_S)

    def ensure_thread(self) -> None:
        """Begin the thread, unless it runs."""
        if self._thread is not None and self._thread.is_alive():
            return
        with self._starting:
            if self._thread is not None and self._thread.is_alive():
                return
            arguments = (self._reference, self, self._wake)
            thread = threading.Thread(target=_move_forever, args=arguments, name="mlflowish-tracking", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the interpreter is ending: `close` moves, or the next process does
                return
            self._thread = thread

    def _round(self) -> bool:
        """One turn of the thread; False to end it."""
        is_last, writer = self._is_ending, self._writer
        for tick in list(writer.open_runs.values()):
            tick()
        now = time.monotonic()
        if is_last or (now >= self._not_before_s and self._is_due(now)):
            self._try_to_move(ships=is_last)
        if now - self._looked_s > LOOK_AROUND_S:
            self._looked_s = now
            self._look_around()
        return not is_last

    def _is_due(self, now: float) -> bool:
        writer = self._writer
        file = writer.file
        if writer.waiting:
            return True
        if file is None or not file.has_records:
            return False
        if not writer.is_remote:
            return bool(file.is_full or now - file.began_s >= LOCAL_S)
        every_s = min(REMOTE_S + (now - self._began_s) / 100, REMOTE_SLOWEST_S)
        return bool(file.is_full or not writer.open_runs or now - file.began_s >= every_s)

    def _try_to_move(self, *, ships: bool = False) -> None:
        writer = self._writer
        try:
            self.move()
            if ships:
                ship(writer.store)
        except MlflowishError as error:
            self.complain(writer.store.storage, error)
            self._pause_s = min(max(self._pause_s * 2, 1.0), LONGEST_PAUSE_S)
            self._not_before_s = time.monotonic() + self._pause_s
        else:
            self._has_complained = False
            self._pause_s = self._not_before_s = 0.0
            writer.prefer_first_place()

    def _look_around(self) -> None:
        try:
            move_left_behind(self._writer.store)
        except MlflowishError as error:
            _log.info("Spool files of ended processes are moved later: %s", error)


def move_left_behind(store: Store) -> int:
    """Move the spool files that dead processes of this machine left, and say of their runs that they ended."""
    moved = 0
    for storage in shared_places_of(store):
        for info in list(storage.list(FOLDER)):
            if info.size_bytes < HEADER_BYTES or storage.is_claimed(info.path):
                continue
            try:
                header = read_header(storage.get(info.path, 0, HEADER_BYTES), info.path)
            except NotFoundError:
                continue
            except FormatVersionError as error:
                _log.warning("%s", error)
                continue
            # A claim says nothing about a process on another machine, where disks are shared.
            if header is not None and header.machine == machine_id():
                moved += 1
                for run_id in move_file(store, storage, info.path):
                    bury(store, run_id)
    return moved


def move_file(store: Store, storage: Storage, path: str) -> list[bytes]:
    """Move one spool file that nobody writes to any more; the runs that it speaks of. Objects that its events name are
    in the store before the events are."""
    try:
        data = storage.get(path)
    except NotFoundError:  # another process took it for a dead one's, and moved it
        return []
    spooled = Spooled(path)
    spooled.feed(data)
    if spooled.damaged_slots:
        _log.warning("Passed over %d damaged slots of %s; their neighbours are kept", spooled.damaged_slots, path)
    if any(True for _ in spooled.records()):
        store.create()
        for run in spooled.runs.values():
            run.events = settle(store, run.events)
        for kind, key, payload in spooled.records():
            store.journals(kind).append(key, payload)
        for run_id, run in spooled.runs.items():
            _name_anew(store, run_id, run.events)
    storage.delete(path)
    for run in spooled.runs.values():
        release(store, run.events)
    return list(spooled.runs)


def _name_anew(store: Store, run_id: bytes, events: Sequence[Event]) -> None:
    """A collection that came between settling and recording takes what was settled for nobody's: that is stored again,
    under another name, and said again."""
    for _ in range(_TRIES):
        events = unsettled(store, events)
        if not events:
            return
        later = [Event(event.kind, event.time_us + 1, event.body) for event in events]
        events = settle(store, later)
        store.journals(RUNS).append(run_id, pack_batch(Batch(os.urandom(16), 0, tuple(events))))


def ship(store: Store) -> None:
    """Ship what the journals of a remote store hold on this machine; StorageError if that fails."""
    for kind in KINDS:
        store.journals(kind).flush()


def _move_forever(reference: weakref.ref[Writer], mover: Mover, wake: threading.Event) -> None:
    while True:
        wake.wait(TICK_S)
        wake.clear()
        writer = reference()
        if writer is None:
            return
        try:
            goes_on = mover._round()
        except Exception:  # noqa: BLE001  the thread must not end: what is spooled waits for it
            _log.exception("Moving what was logged failed; it stays in the spool")
            goes_on = not mover._is_ending
        del writer
        if not goes_on:
            return
