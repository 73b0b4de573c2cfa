"""How the files of journals are read from each sort of storage: mapped where they are local, copied to a local cache
where they are far."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Protocol

from blake3 import blake3

from mlflowish.errors import NotFoundError, StorageError
from mlflowish.journals.frames import Mapped
from mlflowish.journals.segment import NAME_BYTES, map_file
from mlflowish.storage.base import Storage

BATCH_HASH_BYTES = 8
_SLAB_BYTES = 16 << 20


class Access(Protocol):
    """Reading for one storage. `NotFoundError` means that the file has vanished: somebody compacted it."""

    @property
    def grows(self) -> bool:
        """Can a journal become longer after it was read?"""

    def size(self, path: str) -> int: ...

    def read(self, path: str, start: int) -> bytes:
        """The bytes from `start` to the present end."""

    def map(self, path: str) -> Mapped:
        """The whole file, without a copy where that is possible."""

    def forget(self, path: str) -> None:
        """The file is gone from the store: so may be whatever was kept of it."""


def access_to(storage: Storage, cache_folder: Path) -> Access:
    """The way of reading that suits the storage."""
    if storage.capabilities.local_paths:
        return LocalAccess(storage)
    if storage.capabilities.append:
        return DirectAccess(storage)
    return CachedAccess(storage, cache_folder)


class LocalAccess:
    """Files of this machine: `stat`, `read` and `mmap`, without a way through the storage for each."""

    grows = True

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._known: dict[str, str] = {}

    def size(self, path: str) -> int:
        try:
            return os.stat(self._local(path)).st_size
        except OSError as error:
            raise _translated(error, path) from error

    def read(self, path: str, start: int) -> bytes:
        try:
            with open(self._local(path), "rb", buffering=0) as file:
                file.seek(start)
                return file.readall() or b""
        except OSError as error:
            raise _translated(error, path) from error

    def map(self, path: str) -> Mapped:
        try:
            return map_file(self._local(path))
        except OSError as error:
            raise _translated(error, path) from error

    def forget(self, path: str) -> None:
        self._known.pop(path, None)

    def _local(self, path: str) -> str:
        known = self._known.get(path)
        if known is None:
            known = self._storage.local_path(path)
            if known is None:
                raise StorageError(f"{self._storage.url} promises local paths and has none for {path}", path=path)
            self._known[path] = known
        return known


class DirectAccess:
    """Storages that append and have no files, such as memory."""

    grows = True

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def size(self, path: str) -> int:
        return self._storage.size(path)

    def read(self, path: str, start: int) -> bytes:
        return self._storage.get(path, start)

    def map(self, path: str) -> Mapped:
        return self._storage.get(path)

    def forget(self, path: str) -> None:
        """Nothing was kept."""


class CachedAccess:
    """Buckets: everything is immutable there, so one copy on the local disk serves all processes of this machine.

    Both names end in a hash of the content; a copy that does not match is used for what can be verified in it and not
    kept.
    """

    grows = False

    def __init__(self, storage: Storage, folder: Path) -> None:
        self._storage, self._folder = storage, folder

    def size(self, path: str) -> int:
        return len(self.map(path))

    def read(self, path: str, start: int) -> bytes:
        return self.map(path)[start:]

    def map(self, path: str) -> Mapped:
        copy = self._folder / path
        try:
            return map_file(str(copy))
        except FileNotFoundError:
            return self._fetch(path, copy)

    def forget(self, path: str) -> None:
        (self._folder / path).unlink(missing_ok=True)

    def _fetch(self, path: str, copy: Path) -> Mapped:
        hasher = blake3()
        try:
            copy.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=copy.parent, prefix=".fetch-") as file:
                start, slab = 0, self._storage.get(path, 0, _SLAB_BYTES)
                while slab:
                    hasher.update(slab)
                    file.write(slab)
                    start += len(slab)
                    slab = self._storage.get(path, start, start + _SLAB_BYTES) if len(slab) == _SLAB_BYTES else b""
                file.flush()
                mapped = map_file(file.name)
                if _hash_in(path) == hasher.hexdigest(NAME_BYTES)[: len(_hash_in(path))]:
                    self._keep(file.name, copy)
                return mapped
        except OSError as error:
            raise _translated(error, str(copy)) from error

    @staticmethod
    def _keep(fetched: str, copy: Path) -> None:
        try:
            os.link(fetched, copy)
        except FileExistsError:  # another process fetched the same bytes
            return


def _hash_in(path: str) -> str:
    stem = path.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    return stem.rsplit("-", 1)[-1]


def _translated(error: OSError, path: str) -> StorageError | NotFoundError:
    if isinstance(error, FileNotFoundError):
        return NotFoundError(f"{path} is not there any more", path=path)
    return StorageError(f"Reading {path} failed: {error}", path=path)
