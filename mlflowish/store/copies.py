"""Copies on this machine of files that rest far away: in the cache of objects, under the hash of their content.

What wants a path gets one that ends like the file's own name, since many programs look at the ending: a link to the
copy. Copies are bounded in size and verified like every cached object (`storage/cache.py`).
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from blake3 import blake3

from mlflowish import settings
from mlflowish.errors import IntegrityError, StorageError
from mlflowish.storage.base import Buffer
from mlflowish.storage.cache import LIMIT_VARIABLE, ObjectCache
from mlflowish.storage.settling import require_right
from mlflowish.storage.staging import LocalStaging

LIMIT = LIMIT_VARIABLE
_MOST_NAME_BYTES = 200
_log = logging.getLogger("mlflowish.store")


class Copy:
    """A copy as it is written. A cache that cannot be written to is no reason to fail: the content is hashed all the
    same."""

    def __init__(self, cache: ObjectCache, staging: LocalStaging | None) -> None:
        self._cache = cache
        self._staging = staging
        self._hasher = blake3()
        self._size = 0

    def write(self, slab: Buffer) -> None:
        """Add the next bytes."""
        self._hasher.update(slab)
        self._size += memoryview(slab).nbytes
        self._try(lambda staging: staging.write(slab))

    def finish(self) -> bytes:
        """Keep the copy; BLAKE3-256 of what was written."""
        self._try(lambda staging: self._cache.keep(staging, self._hasher.hexdigest(), self._size))
        return bytes(self._hasher.digest())

    def _try(self, act: Callable[[LocalStaging], None]) -> None:
        if self._staging is None:
            return
        try:
            act(self._staging)
        except StorageError as error:
            self._staging = None
            _log.info("No copy is kept of a remote file: %s", error)


@contextmanager
def keeping(size_bytes: int) -> Iterator[Copy]:
    """A copy to be written and finished in the block; one that was not finished leaves nothing behind."""
    cache = _cache()
    # What the server does not tell the size of may be too large for the disk.
    staging = cache.stage() if 0 <= size_bytes <= cache.limit_bytes else None
    try:
        yield Copy(cache, staging)
    finally:
        if staging is not None:
            staging.discard()


def path_of(content: bytes, *, name: str) -> str | None:
    """A path to the verified copy of this content, that ends in `name`; None if there is none (any more)."""
    digest, cache = content.hex(), _cache()
    full = cache.path(digest)
    try:
        fd = os.open(full, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except OSError:
        return None
    try:
        require_right(fd, full, digest, os.fstat(fd).st_size, "sealed")
        cache.note_use(fd)
    except IntegrityError:
        cache.forget(digest)
        return None
    finally:
        os.close(fd)
    return _named(full, digest, name)


def folder() -> str:
    """Where the copies are."""
    return _cache().folder


def _named(full: str, digest: str, name: str) -> str:
    """A link of that name to the file; the file itself where links cannot be made."""
    if name in ("", ".", "..") or set(name) & set("/\\:\0") or len(os.fsencode(name)) > _MOST_NAME_BYTES:
        return full
    link = os.path.join(settings.cache_dir(), "files", digest[:2], digest, name)
    try:
        if not os.path.lexists(link):
            os.makedirs(os.path.dirname(link), exist_ok=True)
            os.symlink(os.path.relpath(full, os.path.realpath(os.path.dirname(link))), link)
    except FileExistsError:  # another process was quicker
        pass
    except OSError as error:
        _log.info("No link of the name %s can be made: %s", name, error)
        return full
    return link if os.path.exists(link) else full


def _cache() -> ObjectCache:
    return _cache_in(str(settings.cache_dir()), os.environ.get(LIMIT_VARIABLE))


@functools.lru_cache(maxsize=8)
def _cache_in(place: str, limit: str | None) -> ObjectCache:
    return ObjectCache()
