"""Large objects on their way to a bucket: kept in memory while they are small, in a local file from then on."""

from __future__ import annotations

import os
from typing import Protocol

from mlflowish import settings
from mlflowish.errors import StateError, StorageError
from mlflowish.storage.base import Buffer
from mlflowish.storage.local import LocalStorage
from mlflowish.storage.staging import LocalStaging

_IN_MEMORY_BYTES = 8 << 20


class Target(Protocol):
    """What a staging needs of its storage."""

    @property
    def url(self) -> str: ...

    def put_if_absent(self, path: str, data: Buffer) -> bool: ...

    def create_from_file(self, path: str, local: str) -> bool: ...


class RemoteStaging:
    """Nothing is sent before `commit`, so what is discarded costs no traffic."""

    def __init__(self, storage: Target) -> None:
        self._storage = storage
        self._pieces: list[bytes] | None = []
        self._size_bytes = 0
        self._spill: LocalStaging | None = None

    def write(self, data: Buffer) -> None:
        pieces = self._require_open()
        self._size_bytes += data.nbytes if isinstance(data, memoryview) else len(data)
        if self._spill is None and self._size_bytes <= _IN_MEMORY_BYTES:
            pieces.append(bytes(data))
            return
        if self._spill is None:
            self._spill = _uploads().stage()
            for piece in pieces:
                self._spill.write(piece)
            pieces.clear()
        self._spill.write(data)

    def commit(self, path: str, *, subsecond_ns: int | None = None, is_synced: bool = True) -> bool:
        pieces = self._require_open()
        try:
            if self._spill is None:
                return self._storage.put_if_absent(path, b"".join(pieces))
            return self._storage.create_from_file(path, self._spill.finish(is_synced=False))
        finally:
            self.discard()

    def discard(self) -> None:
        self._pieces = None
        if self._spill is not None:
            self._spill.discard()
            self._spill = None

    def _require_open(self) -> list[bytes]:
        if self._pieces is None:
            raise StateError(f"Writing to {self._storage.url}: this staging has ended; begin another with stage()")
        return self._pieces


def _uploads() -> LocalStorage:
    """Where files wait; what crashed processes left there is removed once per process."""
    global _cleaned_by
    folder = LocalStorage(settings.cache_dir() / "uploads", fsync="never")
    if _cleaned_by != os.getpid():
        _cleaned_by = os.getpid()
        try:
            folder.remove_leftovers()
        except StorageError:  # another user's files; they are not in our way
            pass
    return folder


_cleaned_by = 0
