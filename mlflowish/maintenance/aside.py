"""Putting damaged files aside, so that nothing is thrown away unseen, and finding good copies of objects."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from blake3 import blake3

from mlflowish.errors import NotFoundError, StateError
from mlflowish.storage import ObjectRef
from mlflowish.storage.base import Storage
from mlflowish.storage.readers import remove_if_damaged
from mlflowish.storage.seals import hash_file, is_sealed, put_file_aside, seal_ns
from mlflowish.store import Store

_SLAB_BYTES = 16 << 20
_READ = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_READ |= getattr(os, "O_NONBLOCK", 0)  # as in `storage/local.py`


def set_aside(storage: Storage, path: str) -> None:
    """Copy a file to `quarantine/`, then remove it."""
    _copy_aside(storage, path)
    storage.delete(path)


def _copy_aside(storage: Storage, path: str) -> None:
    staging = storage.stage()
    try:
        for slab in slabs(storage, path):
            staging.write(slab)
        staging.commit(f"quarantine/{path.rpartition('/')[2]}-{os.urandom(6).hex()}")
    finally:
        staging.discard()


def set_object_aside(storage: Storage, ref: ObjectRef) -> None:
    """The same for a damaged object. A good one that a writer puts in its place meanwhile stays; where it is a file,
    also one that comes at that very moment."""
    local = storage.local_path(ref.path) if storage.capabilities.local_paths else None
    target = storage.local_path(f"quarantine/{ref.name}-{os.urandom(6).hex()}")
    if local is None or target is None:
        _copy_aside(storage, ref.path)
        with contextlib.suppress(NotFoundError):  # somebody else was as quick
            remove_if_damaged(storage, ref)
        return
    try:
        fd = os.open(local, _READ)
    except FileNotFoundError:
        return
    try:
        put_file_aside(local, fd, target)
        if os.path.exists(local) and os.path.samestat(os.lstat(local), os.fstat(fd)):
            storage.delete(ref.path)  # it could not be moved: the error says why
    finally:
        os.close(fd)


def copy_to(storage: Storage, pieces: Iterator[bytes], path: str, digest: str) -> bool:
    """Write an object from pieces if they have its hash. Did they?"""
    hasher, staging = blake3(), storage.stage()
    try:
        for piece in pieces:
            hasher.update(piece)
            staging.write(piece)
        if hasher.hexdigest() != digest:
            return False
        staging.commit(path, subsecond_ns=seal_ns(digest))
        return True
    finally:
        staging.discard()


def slabs(storage: Storage, path: str) -> Iterator[bytes]:
    """The bytes of a file, past every cache: NotFoundError."""
    start = 0
    while slab := storage.get(path, start, start + _SLAB_BYTES):
        yield slab
        start += len(slab)
        if len(slab) < _SLAB_BYTES:
            return


def is_right(storage: Storage, path: str, digest: str, *, trusts_seals: bool) -> bool:
    """Do the bytes of a file have this hash? NotFoundError if it has gone."""
    local = storage.local_path(path) if storage.capabilities.local_paths else None
    if local is None:
        return (trusts_seals and storage.capabilities.shared) or _hash_of(storage, path) == digest
    try:
        fd = os.open(local, _READ)
    except FileNotFoundError as error:
        raise NotFoundError(f"{path} is not there any more", path=path) from error
    except OSError:
        return _hash_of(storage, path) == digest  # a StorageError that says what is in the way
    try:
        found = os.fstat(fd)
        return (trusts_seals and is_sealed(found, digest)) or hash_file(fd, found.st_size) == digest
    finally:
        os.close(fd)


def put_good_copy(store: Store, ref: ObjectRef) -> None:
    """Write an object again from a copy of its bytes: in `quarantine/`, under another generation, or in the local
    cache; StateError if there is none."""
    for pieces in _copies(store, ref):
        try:
            if copy_to(store.storage, pieces, ref.path, ref.digest):
                return
        except NotFoundError:  # collected at this moment
            continue
    raise StateError(f"No good copy of {ref.path} is at hand", path=ref.path)


def _copies(store: Store, ref: ObjectRef) -> Iterator[Iterator[bytes]]:
    storage = store.storage
    beside = [info for info in storage.list(f"objects/{ref.name[:2]}") if info.path != ref.path]
    for info in [*beside, *storage.list("quarantine")]:
        if info.path.rpartition("/")[2].startswith(ref.digest) and info.size_bytes == ref.size_bytes:
            yield slabs(storage, info.path)
    if store.objects.cache is not None:
        try:
            with open(store.objects.cache.path(ref.digest), "rb") as file:
                yield iter(lambda: file.read(_SLAB_BYTES), b"")
        except FileNotFoundError:
            return


def _hash_of(storage: Storage, path: str) -> str:
    hasher = blake3()
    for slab in slabs(storage, path):
        hasher.update(slab)
    return str(hasher.hexdigest())
