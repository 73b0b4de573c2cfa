"""Storage in the memory of this process, shared by name: for whatever need not outlive the process."""

from __future__ import annotations

import os
import re
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

from mlflowish.errors import InvalidInputError, NotFoundError, StateError, StorageError
from mlflowish.storage.base import Buffer, Capabilities, ObjectInfo
from mlflowish.storage.paths import require_path, require_prefix

_NAME = re.compile(r"[A-Za-z0-9._/-]*\Z")


class MemoryStorage:
    """`memory://<name>`: every storage of one name in one process holds the same objects.

    Picklable by name; in another process it is another, empty storage (`Capabilities.shared` is False). A forked child
    begins with a copy.
    """

    def __init__(self, name: str = "") -> None:
        if not isinstance(name, str) or not _NAME.match(name):
            message = f"The name of a memory store has letters, digits and './_-', found {name!r}"
            raise InvalidInputError(message, found=name)
        self._name = name.strip("/")
        with _registry_lock:
            self._room = _rooms.setdefault(self._name, _Room())

    def __repr__(self) -> str:
        return f"MemoryStorage({self._name!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return MemoryStorage, (self._name,)

    @property
    def url(self) -> str:
        return f"memory://{self._name}"

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(append=True, shared=False, durable=False)

    def get(self, path: str, start: int = 0, end: int | None = None) -> bytes:
        held = self._held(path)
        if start <= 0 and end is None and type(held) is bytes:
            return held
        with self._room.lock:
            return bytes(held[max(start, 0) : end])

    def size(self, path: str) -> int:
        return len(self._held(path))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        folder = require_prefix(prefix)
        room = self._room
        with room.lock:
            found = [
                ObjectInfo(path, len(held), room.modified_s[path])
                for path, held in room.held.items()
                if path.startswith(folder)
            ]
        return iter(found)

    def local_path(self, path: str) -> str | None:
        require_path(path)
        return None

    def put_if_absent(self, path: str, data: Buffer) -> bool:
        whole = bytes(data)
        with self._room.lock:
            if require_path(path) in self._room.held:
                return False
            self._room.keep(path, whole)
            return True

    def put(self, path: str, data: Buffer) -> None:
        whole = bytes(data)
        with self._room.lock:
            self._room.keep(require_path(path), whole)

    def stage(self) -> MemoryStaging:
        return MemoryStaging(self)

    def delete(self, path: str) -> None:
        with self._room.lock:
            self._room.held.pop(require_path(path), None)
            self._room.modified_s.pop(path, None)

    def open_append(self, path: str) -> MemoryAppender:
        require_path(path)
        with self._room.lock:
            if path in self._room.held:
                raise StorageError(
                    f"Appending to {path} in {self.url}: it exists, and one writer makes each file", path=path
                )
            content = bytearray()
            self._room.keep(path, content)
            appender = MemoryAppender(path, self._room, content)
            self._room.claims[path] = weakref.ref(appender)
            return appender

    def is_claimed(self, path: str) -> bool:
        claim = self._room.claims.get(require_path(path))
        appender = claim() if claim is not None else None
        return appender is not None and appender.is_open and path in self._room.held

    def _held(self, path: str) -> bytes | bytearray:
        held = self._room.held.get(path)
        if held is None:
            require_path(path)
            raise NotFoundError(f"{path} in {self.url} is not there", path=path, url=self.url)
        return held


class MemoryStaging:
    """Pieces in a list until they are committed."""

    def __init__(self, storage: MemoryStorage) -> None:
        self._storage = storage
        self._pieces: list[bytes] | None = []

    def write(self, data: Buffer) -> None:
        self._open_pieces().append(bytes(data))

    def commit(self, path: str, *, subsecond_ns: int | None = None, is_synced: bool = True) -> bool:
        pieces = self._open_pieces()
        self.discard()
        return self._storage.put_if_absent(path, b"".join(pieces))

    def discard(self) -> None:
        self._pieces = None

    def _open_pieces(self) -> list[bytes]:
        if self._pieces is None:
            raise StateError(f"Writing to {self._storage.url}: this staging has ended; begin another with stage()")
        return self._pieces


class MemoryAppender:
    """Extends one entry of a room; other threads see it at once."""

    def __init__(self, path: str, room: _Room, content: bytearray) -> None:
        self.path = path
        self._room, self._content = room, content
        self._pid = os.getpid()
        self._is_closed = False

    @property
    def is_open(self) -> bool:
        return not self._is_closed and self._pid == os.getpid()

    def write(self, data: bytes) -> int:
        if not self.is_open:
            why = "it was closed" if self._is_closed else "it was opened before this process was forked"
            raise StateError(f"Appending to {self.path}: {why}; open one of your own", path=self.path)
        with self._room.lock:
            start = len(self._content)
            self._content += data
            if self.path in self._room.held:
                self._room.modified_s[self.path] = time.time()
            return start

    def add(self, data: bytes) -> None:
        self.write(data)

    def sync(self) -> None:
        """Nothing in memory survives power loss."""

    def close(self) -> None:
        self._is_closed = True


class _Room:
    """What one name holds."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.held: dict[str, bytes | bytearray] = {}
        self.modified_s: dict[str, float] = {}
        self.claims: dict[str, weakref.ref[MemoryAppender]] = {}

    def keep(self, path: str, data: bytes | bytearray) -> None:
        self.held[path] = data
        self.modified_s[path] = time.time()


def _renew_locks() -> None:
    global _registry_lock
    _registry_lock = threading.Lock()
    for room in _rooms.values():
        room.lock = threading.RLock()


_rooms: dict[str, _Room] = {}
_registry_lock = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)  # another thread of the parent may have held them
