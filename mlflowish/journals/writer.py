"""This process's own journal in a storage that can append: the file is the acknowledgement."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Literal, Protocol

from mlflowish.errors import MlflowishError
from mlflowish.journals.compaction import merge
from mlflowish.journals.frames import JOURNAL_MAGIC, file_header, frame, new_nonce, seal_of
from mlflowish.journals.view import Tail, View
from mlflowish.storage.base import Storage

# Whoever opens the store next would parse it, record by record; a segment is mapped.
SEAL_AT_CLOSE_BYTES = 256 << 10

Fsync = Literal["process", "always"]
_log = logging.getLogger("mlflowish.journals")


class Writer(Protocol):
    """Takes in records. `append` is called under the lock of `Journals`; the rest take it where they need it."""

    def append(self, key: bytes, payload: bytes) -> None: ...

    def seal(self) -> None:
        """Make what was appended mergeable."""

    def flush(self) -> None: ...

    def close(self) -> None: ...

    def after_fork(self) -> None:
        """This is the child: what the parent holds stays the parent's."""


class OwnJournal:
    """A journal that this process has created and holds the claim of."""

    def __init__(self, storage: Storage, kind: str, folder: str, *, fsync: Fsync) -> None:
        nonce = new_nonce()
        path = f"{folder}{nonce.hex()}.log"
        self._seal = seal_of(kind, nonce)
        self._is_synced = fsync == "always"
        self._appender = storage.open_append(path)
        self._write = self._appender.write
        header = file_header(JOURNAL_MAGIC, kind, nonce)
        try:
            position = self._write(header) + len(header)
        except BaseException:
            self._appender.close()
            raise
        self.tail = Tail(path, is_own=True, seal=self._seal, position=position)

    def append(self, key: bytes, payload: bytes) -> int:
        """Append one record and return the size of the journal; StorageError if it could not be acknowledged.

        After a failure the file may end in a torn frame: readers skip it, and the next record follows it.
        """
        data = frame(self._seal, key + payload)
        self.tail.position = position = self._write(data) + len(data)
        if self._is_synced:
            self._appender.sync()
        return position

    def sync(self) -> None:
        self._appender.sync()

    def close(self) -> None:
        """Let go of the claim."""
        self._appender.close()

    def disown(self) -> None:
        """Its tail is to be followed like that of any other process from now on."""
        self.tail.is_own = False
        self.tail.seen_bytes = self.tail.position


class JournalWriter:
    """Appends to `journals/<kind>/<nonce>.log`, made at the first append, turned into a segment when it is
    `roll_bytes` long."""

    def __init__(
        self,
        storage: Storage,
        kind: str,
        view: View,
        lock: threading.RLock,
        *,
        roll_bytes: int,
        fsync: Fsync,
        after_sealing: Callable[[], object],
    ) -> None:
        self._storage, self._kind, self._view, self._lock = storage, kind, view, lock
        self._roll_bytes, self._roll_at, self._fsync = roll_bytes, roll_bytes, fsync
        self._after_sealing = after_sealing
        self._own: OwnJournal | None = None

    def append(self, key: bytes, payload: bytes) -> None:
        own = self._own
        if own is None or not self._view.knows(own.tail):  # none yet, or somebody removed the file under us
            own = self._begin()
        tail = own.tail
        if payload in tail.records.get(key, ()):
            return
        size = own.append(key, payload)
        self._view.note(tail, key, payload)
        if size >= self._roll_at:
            self._try_to_seal(size)

    def seal(self) -> None:
        """Turn the journal into a segment; a later append begins a new one."""
        with self._lock:
            own = self._own
            if own is None:
                return
            if own.tail.records and self._view.knows(own.tail):
                merge(self._storage, self._kind, [iter(own.tail.items())], names=[own.tail.path])
                self._storage.delete(own.tail.path)
            # The claim outlives the file, so that nobody compacts it beside us.
            self._let_go()
            self._view.refresh(force=True)

    @property
    def record_count(self) -> int:
        """How many keys the journal holds now."""
        own = self._own
        return 0 if own is None else len(own.tail.records)

    def flush(self) -> None:
        with self._lock:
            if self._own is not None:
                self._own.sync()

    def close(self) -> None:
        with self._lock:
            own = self._own
            if own is not None and own.tail.position >= SEAL_AT_CLOSE_BYTES:
                self._try_to_seal(own.tail.position)
            self._let_go()

    def after_fork(self) -> None:
        if self._own is not None:
            self._own.disown()

    def _begin(self) -> OwnJournal:
        self._let_go()
        own = self._own = OwnJournal(self._storage, self._kind, f"journals/{self._kind}/", fsync=self._fsync)
        self._roll_at = self._roll_bytes
        self._view.adopt(own.tail)
        return own

    def _let_go(self) -> None:
        own, self._own = self._own, None
        if own is not None:
            own.disown()
            own.close()

    def _try_to_seal(self, size: int) -> None:
        try:
            self.seal()
        except MlflowishError as error:
            # The record is safe where it is: an append must not fail because there is no room for a segment. Try
            # again later.
            self._roll_at = size + max(self._roll_bytes // 4, 1)
            _log.warning("Could not turn a journal of %s into a segment yet: %s", self._kind, error)
        else:
            self._after_sealing()
