"""Records on their way to a bucket: appended to a file of this machine, shipped in batches behind the program's back.

A batch's name is a function of its spool file (its nonce, and the hash of its bytes), so an answer that was lost, a
crash between shipping and deleting, or two processes that ship the same file all end in the same one object. A spool
file whose writer died is shipped by the next process.
"""

from __future__ import annotations

import atexit
import logging
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

from blake3 import blake3

from mlflowish.errors import NotFoundError, StorageError
from mlflowish.journals.access import BATCH_HASH_BYTES
from mlflowish.journals.frames import FILE_HEAD_BYTES, KEY_BYTES, nonce_of_name, scan_frames
from mlflowish.journals.view import Tail, View, journal_start
from mlflowish.journals.writer import Fsync, OwnJournal
from mlflowish.storage.base import Storage
from mlflowish.storage.local import LocalStorage

BATCH_BYTES = 4 << 20
BATCH_RECORDS = 64_000
LONGEST_PAUSE_S = 60.0
CLOSE_S = 30.0
_log = logging.getLogger("mlflowish.journals")


class SpoolWriter:
    """Appends to `<folder>/<nonce>.log` and ships it as `journals/<kind>/<nonce>-<hash>.log`."""

    def __init__(
        self,
        storage: Storage,
        kind: str,
        view: View,
        lock: threading.RLock,
        *,
        folder: Path,
        fsync: Fsync,
        ship_every_s: float,
        after_shipping: Callable[[], None],
    ) -> None:
        self._storage, self._kind, self._view, self._lock = storage, kind, view, lock
        self._spool = LocalStorage(str(folder))
        self._folder, self._fsync = folder, fsync
        self._ship_every_s, self._after_shipping = ship_every_s, after_shipping
        self._start()
        _open_spools.add(self)

    def _start(self) -> None:
        self._own: OwnJournal | None = None
        self._count = 0
        self._waiting: list[Tail] = []
        self._shipping = threading.Lock()
        self._wake = threading.Event()
        self._is_closed = False
        self._thread: threading.Thread | None = None
        self._has_complained = self._has_shipped = False
        self._pause_s = self._ship_every_s

    def append(self, key: bytes, payload: bytes) -> None:
        own = self._own or self._begin()
        size = own.append(key, payload)
        self._view.note(own.tail, key, payload)
        self._count += 1
        if size >= BATCH_BYTES or self._count >= BATCH_RECORDS:
            self.seal()
            self._wake.set()

    def take_over(self) -> None:
        """Make spool files of dead processes ours: their records are known here from now on, and shipped."""
        if not self._folder.is_dir():
            return
        for info in self._spool.list(""):
            path = info.path
            if not info.size_bytes or nonce_of_name(path) is None or self._spool.is_claimed(path):
                continue
            try:
                self._take_over(path)
            except NotFoundError:  # another process shipped it
                continue
        if self._waiting:
            self._ensure_thread()

    def seal(self) -> None:
        """End the batch that is being written; it is shipped next."""
        with self._lock:
            own, self._own = self._own, None
            if own is not None:
                own.close()
                self._waiting.append(own.tail)
                self._count = 0

    def flush(self) -> None:
        """Ship everything now; StorageError if the store cannot be reached (the spool keeps it)."""
        self.seal()
        with self._shipping:
            while self._ship_next():
                pass

    def close(self) -> None:
        """Ship what there is, if that takes no longer than `CLOSE_S`: else the spool keeps it for the next process."""
        _open_spools.discard(self)
        self.seal()
        self._is_closed = True
        if self._waiting:
            self._ensure_thread()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=CLOSE_S)

    def after_fork(self) -> None:
        _open_spools.discard(self)

    def _begin(self) -> OwnJournal:
        own = self._own = OwnJournal(self._spool, self._kind, "", fsync=self._fsync)
        self._view.adopt(own.tail)
        self._ensure_thread()
        return own

    def _take_over(self, path: str) -> None:
        data = self._spool.get(path)
        tail = Tail(path, is_own=True)
        if len(data) >= FILE_HEAD_BYTES:
            start, tail.seal = journal_start(data, path, self._kind)
            for _, item in scan_frames(data, tail.seal, start).items:
                tail.add(item[:KEY_BYTES], item[KEY_BYTES:])
        if not tail.records:
            self._spool.delete(path)
            return
        self._view.adopt(tail)
        self._waiting.append(tail)

    def _ship_next(self) -> bool:
        """Ship the oldest waiting batch; False if there is none."""
        with self._lock:
            tail = self._waiting[0] if self._waiting else None
        if tail is None:
            return False
        path = self._put(tail)
        with self._lock:
            self._waiting.remove(tail)
            self._view.shipped(tail, path)
            self._has_complained, self._has_shipped = False, True
        return True

    def _put(self, tail: Tail) -> str:
        try:
            data = self._spool.get(tail.path)
        except NotFoundError:  # another process took it for a dead one's and shipped it
            return f"journals/{self._kind}/{tail.path}"
        path = f"journals/{self._kind}/{tail.path.removesuffix('.log')}-{blake3(data).hexdigest(BATCH_HASH_BYTES)}.log"
        self._storage.put_if_absent(path, data)
        self._spool.delete(tail.path)
        return path

    def _ensure_thread(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            arguments = (weakref.ref(self), self._wake, self._ship_every_s)
            self._thread = threading.Thread(target=_ship_forever, args=arguments, name="mlflowish-spool", daemon=True)
            self._thread.start()

    def _round(self) -> float:
        """One turn of the background thread; the seconds until the next, 0 to end."""
        is_last = self._is_closed
        if not self._flush_or_complain():
            self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)
        else:
            self._pause_s = self._ship_every_s
            has_shipped, self._has_shipped = self._has_shipped, False
            if has_shipped and not is_last:
                self._after_shipping()
        return 0.0 if is_last else self._pause_s

    def _flush_or_complain(self) -> bool:
        try:
            self.flush()
        except StorageError as error:
            if not self._has_complained:
                self._has_complained = True
                _log.warning(
                    "%s cannot be reached (%s). Records of %s are kept in %s and shipped as soon as it can.",
                    self._storage.url,
                    error,
                    self._kind,
                    self._folder,
                )
            return False
        return True


def _ship_forever(reference: weakref.ref[SpoolWriter], wake: threading.Event, pause_s: float) -> None:
    while True:
        wake.wait(pause_s)
        wake.clear()
        spool = reference()
        if spool is None:
            return
        pause_s = spool._round()
        del spool
        if not pause_s:
            return


def _ship_at_exit() -> None:
    for spool in list(_open_spools):
        spool.close()


_open_spools: weakref.WeakSet[SpoolWriter] = weakref.WeakSet()
# An S3 client resolves names in a pool of threads, which refuses work once `threading` has shut down; `atexit` comes
# after that. A private name, stable since 3.9; without it the last batch waits in the spool for the next process.
getattr(threading, "_register_atexit", atexit.register)(_ship_at_exit)
