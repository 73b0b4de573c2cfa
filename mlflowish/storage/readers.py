"""Reading one object back, checked before it is given away: mapped from a file, through the cache, or from memory."""

from __future__ import annotations

import errno
import mmap
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from blake3 import blake3

from mlflowish.errors import IntegrityError, NotFoundError, StorageError
from mlflowish.storage.base import Storage
from mlflowish.storage.cache import ObjectCache
from mlflowish.storage.seals import damaged, hash_file, misnamed, put_file_aside
from mlflowish.storage.settling import require_right

if TYPE_CHECKING:
    from mlflowish.storage.objects import ObjectRef, Verify

_SLAB_BYTES = 4 << 20
_FETCH_BYTES = 16 << 20
_COPY_BYTES = 256 << 10  # below, a copy is as fast as a map, and a map costs an open file for as long as it lives
_NO_MAPS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENODEV})
_READ = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_READ |= getattr(os, "O_NONBLOCK", 0)  # nobody waits for the other end of a pipe that stands where an object should


class ObjectReader(Protocol):
    """One object. Each call checks and reads anew; what it returned stays valid when the object is removed."""

    @property
    def size_bytes(self) -> int: ...

    def buffer(self) -> memoryview:
        """The bytes, writable and private to the caller: a copy-on-write map of the file if they are many."""

    def chunks(self) -> Iterator[bytes]:
        """The bytes in slabs."""

    def path(self) -> str | None:
        """A file with the bytes, for programs that want one; not to be written to. None if they rest in no file."""


class FileReader:
    """An object in a file of the store."""

    def __init__(self, storage: Storage, ref: ObjectRef, verify: Verify) -> None:
        self._storage, self._ref, self._verify = storage, ref, verify

    @property
    def size_bytes(self) -> int:
        return self._ref.size_bytes

    def buffer(self) -> memoryview:
        fd, _ = self._open()
        try:
            return _private(fd, self._ref)
        finally:
            os.close(fd)

    def chunks(self) -> Iterator[bytes]:
        fd, _ = self._open()
        try:
            yield from _slabs(fd, self._ref)
        finally:
            os.close(fd)

    def path(self) -> str | None:
        fd, full = self._open()
        os.close(fd)
        return full

    def check(self) -> None:
        """NotFoundError if it is not there, IntegrityError if it is damaged; it is put aside then."""
        self.path()

    def _open(self) -> tuple[int, str]:
        ref, storage = self._ref, self._storage
        full = storage.local_path(ref.path)
        if full is None:
            raise StorageError(f"{storage.url} promises local paths and has none for {ref.path}", path=ref.path)
        fd = _open_file(full, ref, storage)
        try:
            flush = storage.capabilities.durable
            require_right(fd, full, ref.digest, ref.size_bytes, self._verify, flush=flush)
        except IntegrityError:
            try:
                self._put_aside(fd, full)
            finally:
                os.close(fd)
            raise
        except BaseException:
            os.close(fd)
            raise
        return fd, full

    def _put_aside(self, fd: int, full: str) -> None:
        """Move the damaged file away. It stays if its bytes are those of its name: then what refers to it is wrong."""
        size_bytes = os.fstat(fd).st_size
        if size_bytes != self._ref.size_bytes and hash_file(fd, size_bytes) == self._ref.digest:
            raise misnamed(full, self._ref.size_bytes, size_bytes)
        target = self._storage.local_path(_quarantined(self._ref))
        if target is not None:
            put_file_aside(full, fd, target)


class CachedReader:
    """An object far away, of which a file is kept in the local cache; works without the storage once that is there."""

    def __init__(self, storage: Storage, ref: ObjectRef, verify: Verify, cache: ObjectCache) -> None:
        self._storage, self._ref, self._verify, self._cache = storage, ref, verify, cache

    @property
    def size_bytes(self) -> int:
        return self._ref.size_bytes

    def buffer(self) -> memoryview:
        fd = self._open()
        try:
            return _private(fd, self._ref)
        finally:
            os.close(fd)

    def chunks(self) -> Iterator[bytes]:
        fd = self._open()
        try:
            yield from _slabs(fd, self._ref)
        finally:
            os.close(fd)

    def path(self) -> str | None:
        os.close(self._open())
        full = self._cache.path(self._ref.digest)
        return full if os.path.exists(full) else None

    def _open(self) -> int:
        fd = self._cached()
        return fd if fd is not None else self._fetched()

    def _cached(self) -> int | None:
        digest = self._ref.digest
        full = self._cache.path(digest)
        try:
            fd = os.open(full, _READ)
        except OSError:  # not there, or not readable: the storage has it
            return None
        try:
            require_right(fd, full, digest, self._ref.size_bytes, self._verify)
        except IntegrityError:
            os.close(fd)
            self._forget()
            return None
        except BaseException:
            os.close(fd)
            raise
        self._cache.note_use(fd)
        return fd

    def _forget(self) -> None:
        try:
            self._cache.forget(self._ref.digest)
        except StorageError:  # a cache that cannot be written is passed by
            pass

    def _fetched(self) -> int:
        """An open file with the verified bytes. What arrives damaged is asked for once more before it is put aside."""
        for _ in range(2):
            fd = self._fetch()
            if fd is not None:
                return fd
        raise _put_aside_and_told(self._storage, self._ref)

    def _fetch(self) -> int | None:
        staging = self._cache.stage()
        try:
            try:
                staging.write(b"")
                fd = os.open(staging.temporary, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
            except (StorageError, OSError):
                return self._fetch_beside()
            is_kept = False
            try:
                if not self._copy_to(fd):
                    return None
                self._cache.keep(staging, self._ref.digest, self._ref.size_bytes)
                is_kept = True
                return fd
            finally:
                if not is_kept:
                    os.close(fd)
        finally:
            staging.discard()

    def _fetch_beside(self) -> int | None:
        """Without a cache that can be written: into a file without a name."""
        import tempfile

        with tempfile.TemporaryFile(prefix="mlflowish-") as file:
            return os.dup(file.fileno()) if self._copy_to(file.fileno()) else None

    def _copy_to(self, fd: int) -> bool:
        hasher, size = blake3(), 0
        for slab in remote_slabs(self._storage, self._ref):
            hasher.update(slab)
            size += len(slab)
            try:
                _write_all(fd, slab)
            except OSError as error:
                message = f"No room for a local copy of {self._ref.path} from {self._storage.url}: {error.strerror}"
                raise StorageError(message, path=self._ref.path) from error
        return size == self._ref.size_bytes and hasher.hexdigest() == self._ref.digest


class StoredReader:
    """An object read straight from its storage, whole; for storages in memory, and for checks."""

    def __init__(self, storage: Storage, ref: ObjectRef, verify: Verify = "always") -> None:
        self._storage, self._ref, self._verify = storage, ref, verify

    @property
    def size_bytes(self) -> int:
        return self._ref.size_bytes

    def buffer(self) -> memoryview:
        data = bytearray()
        for slab in self.chunks():
            data += slab
        return memoryview(data)

    def chunks(self) -> Iterator[bytes]:
        self.check()
        return remote_slabs(self._storage, self._ref)

    def path(self) -> str | None:
        self.check()
        return None

    def check(self) -> None:
        """NotFoundError if it is not there, IntegrityError if it is damaged; it is put aside then."""
        ref, hasher, size = self._ref, blake3(), 0
        for slab in remote_slabs(self._storage, ref):
            size += len(slab)
            if self._verify != "never":
                hasher.update(slab)
        if size != ref.size_bytes or (self._verify != "never" and hasher.hexdigest() != ref.digest):
            raise _put_aside_and_told(self._storage, ref)


def is_there_and_right(storage: Storage, ref: ObjectRef, verify: Verify) -> bool:
    """Can the object be referred to? A damaged one is put aside, so that it can be written anew.

    Files are checked as for reading, what is in memory is hashed, of what is far the size is asked (one request).
    """
    try:
        if storage.capabilities.local_paths:
            FileReader(storage, ref, verify).check()
        elif not storage.capabilities.shared:
            StoredReader(storage, ref, verify).check()
        elif storage.size(ref.path) != ref.size_bytes:
            put_aside(storage, ref)
            return False
    except (NotFoundError, IntegrityError):
        return False
    return True


def put_aside(storage: Storage, ref: ObjectRef) -> int | None:
    """Move a damaged object to `quarantine/`; where the storage cannot be written it stays. So does one whose bytes are
    those of its name, and its size is returned: what refers to it is wrong, and others may refer to it rightly."""
    try:
        staging, hasher, size_bytes = storage.stage(), blake3(), 0
        try:
            for slab in _stored_slabs(storage, ref.path, storage.size(ref.path)):
                hasher.update(slab)
                size_bytes += len(slab)
                staging.write(slab)
            if hasher.hexdigest() == ref.digest:
                return size_bytes
            staging.commit(_quarantined(ref))
        finally:
            staging.discard()
        remove_if_damaged(storage, ref)
    except (StorageError, NotFoundError):
        # The caller raises IntegrityError, or tries to write and says what happens then.
        return None
    return None


def remove_if_damaged(storage: Storage, ref: ObjectRef) -> None:
    """Remove a damaged object that was copied aside, unless a writer has put it right since. Copying may take minutes;
    a writer that comes between this look and the removal, a request later, is not noticed."""
    hasher = blake3()
    for slab in _stored_slabs(storage, ref.path, storage.size(ref.path)):
        hasher.update(slab)
    if hasher.hexdigest() != ref.digest:
        storage.delete(ref.path)


def _put_aside_and_told(storage: Storage, ref: ObjectRef) -> IntegrityError:
    """The error for an object that is not what was asked for, after it was put aside."""
    where, size_bytes = f"{ref.path} in {storage.url}", put_aside(storage, ref)
    if size_bytes is None or size_bytes == ref.size_bytes:
        return damaged(where, ref.digest, "something else")
    return misnamed(where, ref.size_bytes, size_bytes)


def remote_slabs(storage: Storage, ref: ObjectRef) -> Iterator[bytes]:
    """The bytes in ranged requests; a byte more than the reference says is asked for, and so noticed."""
    return _stored_slabs(storage, ref.path, ref.size_bytes + 1)


def _stored_slabs(storage: Storage, path: str, size_bytes: int) -> Iterator[bytes]:
    start = 0
    while start < size_bytes:
        end = min(start + _FETCH_BYTES, size_bytes)
        slab = storage.get(path, start, end)
        if slab:
            yield slab
        if len(slab) < end - start:
            return
        start = end


def _quarantined(ref: ObjectRef) -> str:
    return f"quarantine/{ref.name}-{os.urandom(6).hex()}"


def _open_file(full: str, ref: ObjectRef, storage: Storage) -> int:
    try:
        return os.open(full, _READ)
    except (FileNotFoundError, NotADirectoryError) as error:
        message = f"The object {ref.name[:16]}.. is not in {storage.url}"
        raise NotFoundError(message, path=ref.path, url=storage.url) from error
    except OSError as error:
        message = f"Could not read {ref.path} in {storage.url}: {error.strerror}"
        raise StorageError(message, path=ref.path, url=storage.url) from error


def _private(fd: int, ref: ObjectRef) -> memoryview:
    size = ref.size_bytes
    if size > _COPY_BYTES:
        try:
            return memoryview(_map(fd, size))
        except OSError as error:
            if error.errno not in _NO_MAPS:
                raise StorageError(f"Could not map {ref.path}: {error.strerror}", path=ref.path) from error
    data = bytearray(size)
    view, position = memoryview(data), 0
    while position < size and (count := os.preadv(fd, [view[position:]], position)):
        position += count
    if position != size:
        raise damaged(ref.path, ref.digest, "shorter than it was a moment ago")
    return view


def _map(fd: int, size: int) -> mmap.mmap:
    if sys.version_info >= (3, 13) and sys.platform != "win32":
        return mmap.mmap(fd, size, access=mmap.ACCESS_COPY, trackfd=False)
    return mmap.mmap(fd, size, access=mmap.ACCESS_COPY)  # keeps a file open for as long as the map lives


def _slabs(fd: int, ref: ObjectRef) -> Iterator[bytes]:
    position = 0
    while slab := os.pread(fd, min(_SLAB_BYTES, ref.size_bytes - position), position):
        yield slab
        position += len(slab)
    if position != ref.size_bytes:
        raise damaged(ref.path, ref.digest, "shorter than it was a moment ago")


def _write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest.nbytes:
        rest = rest[os.write(fd, rest) :]
