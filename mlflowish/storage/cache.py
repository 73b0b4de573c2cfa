"""Local files of objects that rest far away: read and written through, shared by all stores of a user, bounded in size.

Content-addressed files of any store are the same files, so nothing here is ever stale: a file is right, or damaged,
or absent.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from blake3 import blake3

from mlflowish import settings
from mlflowish.errors import InvalidInputError, StorageError
from mlflowish.storage.base import Buffer
from mlflowish.storage.local import LocalStorage
from mlflowish.storage.seals import seal_ns
from mlflowish.storage.settling import settle_later
from mlflowish.storage.staging import LocalStaging

LIMIT_VARIABLE = "MLFLOWISH_CACHE_BYTES"
DEFAULT_LIMIT_BYTES = 20 << 30
_TOUCH_AFTER_S = 3600.0  # many mounts keep no times of reading: we do, once an hour per file
_KEEP_SHARE = 0.9  # an eviction makes room for more than the one object that made it necessary
_log = logging.getLogger("mlflowish.storage")


class ObjectCache:
    """Files `<folder>/<hh>/<hash>` of at most `limit_bytes` in all; what was read longest ago goes first.

    Thread-safe and process-safe. `limit_bytes` defaults to $MLFLOWISH_CACHE_BYTES, else 20 GiB.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None, limit_bytes: int | None = None) -> None:
        self.folder = os.fspath(folder) if folder is not None else str(settings.cache_dir() / "objects")
        self.limit_bytes = _limit_in_environment() if limit_bytes is None else limit_bytes
        # Losing a cached file to a power cut costs a download, and its hash tells: it is sealed after it was flushed.
        self._files = LocalStorage(self.folder, fsync="never")
        self._known_bytes: int | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return ObjectCache, (self.folder, self.limit_bytes)

    def path(self, digest: str) -> str:
        """Where the file of this hash is, or would be."""
        return os.path.join(self.folder, digest[:2], digest)

    def stage(self) -> LocalStaging:
        """Begin a file, to be kept under the hash that its bytes turn out to have."""
        return self._files.stage()

    def keep(self, staging: LocalStaging, digest: str, size_bytes: int) -> None:
        """Keep the bytes, verified by the caller, and make room for them. What is too large is discarded."""
        if size_bytes > self.limit_bytes:
            staging.discard()
            return
        if staging.commit(f"{digest[:2]}/{digest}", subsecond_ns=seal_ns(digest)):
            settle_later(self.path(digest), digest)
            self._make_room(size_bytes)

    def forget(self, digest: str) -> None:
        """Remove a damaged copy."""
        self._files.delete(f"{digest[:2]}/{digest}")

    def try_to_keep(self, pieces: Callable[[], Iterable[Buffer]], digest: str, size_bytes: int) -> None:
        """Keep a copy if that can be done: a cache that is full or read-only is no reason to fail."""
        if size_bytes > self.limit_bytes or os.path.exists(self.path(digest)):
            return
        staging, hasher = self.stage(), blake3()
        try:
            for piece in pieces():
                hasher.update(piece)
                staging.write(piece)
            if hasher.hexdigest() == digest:
                self.keep(staging, digest, size_bytes)
        except StorageError as error:
            _log.info("Object %s.. is not kept in the cache: %s", digest[:16], error)
        finally:
            staging.discard()

    def note_use(self, fd: int) -> None:
        """Remember that the open file was read, for the order of eviction."""
        found = os.fstat(fd)
        now = time.time()
        if now - found.st_atime > _TOUCH_AFTER_S and os.utime in os.supports_fd:
            try:
                os.utime(fd, ns=(int(now * 1e9), found.st_mtime_ns))
            except OSError:  # another user's cache, or a read-only one: it keeps its order
                pass

    def size_bytes(self) -> int:
        """How much rests here, counted now."""
        return sum(size for _, size, _ in self._kept())

    def _make_room(self, added_bytes: int) -> None:
        if self._known_bytes is None:
            self._known_bytes = self.size_bytes()
        else:
            self._known_bytes += added_bytes
        if self._known_bytes <= self.limit_bytes:
            return
        kept = sorted(self._kept())
        total = sum(size for _, size, _ in kept)
        # Other processes count for themselves, so this one looks at what is really there before it removes anything.
        if total > self.limit_bytes:
            for _, size, path in kept[:-1]:
                if total <= self.limit_bytes * _KEEP_SHARE:
                    break
                self._files.delete(path)
                total -= size
        self._known_bytes = total

    def _kept(self) -> Iterator[tuple[float, int, str]]:
        """(last read, size, path) of each file."""
        for info in self._files.list(""):
            try:
                used_s = os.stat(os.path.join(self.folder, info.path)).st_atime
            except FileNotFoundError:
                continue
            yield used_s, info.size_bytes, info.path


def _limit_in_environment() -> int:
    text = os.environ.get(LIMIT_VARIABLE)
    if text is None:
        return DEFAULT_LIMIT_BYTES
    try:
        limit = int(text)
    except ValueError:
        limit = -1
    if limit < 0:
        raise InvalidInputError(f"${LIMIT_VARIABLE} is a number of bytes, found {text!r}", found=text)
    return limit
