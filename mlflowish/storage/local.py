"""A folder of this machine (or of a shared disk) as a storage, with system calls of its own, past fsspec.

What is written appears under its name in one step, whole: a file in `tmp/`, flushed as the policy says, then linked to
its name (put-if-absent) or renamed over it (put). A crash leaves files in `tmp/` at worst.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from mlflowish.errors import CapabilityError, StorageError
from mlflowish.storage.appending import LocalAppender, is_claimed, supports_claims
from mlflowish.storage.base import Buffer, Capabilities, ObjectInfo
from mlflowish.storage.paths import RESERVED, is_path, require_prefix
from mlflowish.storage.root import ABSENT, Fsync, Root
from mlflowish.storage.staging import LocalStaging, unlink_quietly

_READ = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_READ |= getattr(os, "O_NONBLOCK", 0)  # nobody waits for the other end of a pipe that stands where a file should
_FIRST_READ = 32 << 10


class LocalStorage:
    """Objects as files below `root`, which is made by the first write.

    `fsync`: "objects" flushes what is put if absent or staged before it is acknowledged (survives power loss), unless
    the caller flushes it later, "always" also what is replaced or appended, "never" nothing (survives the death of the
    process only).
    """

    def __init__(self, root: str | os.PathLike[str], fsync: Fsync = "objects") -> None:
        self._in = Root(root, fsync)
        self._can: Capabilities | None = None

    def __repr__(self) -> str:
        return f"LocalStorage({self._in.folder!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return LocalStorage, (self._in.folder, self._in.fsync)

    @property
    def url(self) -> str:
        return self._in.folder

    @property
    def capabilities(self) -> Capabilities:
        """`put_if_absent` turns False once the filesystem has shown that it can do it in no way."""
        can, links = self._can, self._in.links
        if can is None or can.put_if_absent != links:
            can = self._can = Capabilities(
                put_if_absent=links,
                append=supports_claims and links,
                local_paths=True,
                durable=self._in.fsync != "never",
                multi_writer=links,
            )
        return can

    # -- reading -----------------------------------------------------------------------------------

    def get(self, path: str, start: int = 0, end: int | None = None) -> bytes:
        full = self._in.full(path)
        try:
            fd = os.open(full, _READ)
            try:
                return _read_all(fd) if start <= 0 and end is None else _read_range(fd, start, end)
            finally:
                os.close(fd)
        except OSError as error:
            raise self._in.failed("read", path, error) from error

    def size(self, path: str) -> int:
        full = self._in.full(path)
        try:
            found = os.lstat(full)
        except OSError as error:
            raise self._in.failed("stat", path, error) from error
        if not stat.S_ISREG(found.st_mode):
            raise self._in.failed("stat", path, OSError(errno.ENOENT, "not a file"))
        return found.st_size

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        waiting = [require_prefix(prefix)]
        while waiting:
            folder = waiting.pop()
            for entry, is_folder in self._entries(folder):
                path = folder + entry.name
                if is_folder:
                    if path != RESERVED:
                        waiting.append(path + "/")
                elif is_path(path) and (info := self._info(entry, path)) is not None:
                    yield info

    def local_path(self, path: str) -> str | None:
        return self._in.full(path)

    # -- writing -----------------------------------------------------------------------------------

    def put_if_absent(self, path: str, data: Buffer) -> bool:
        full = self._in.full(path)
        if os.path.lexists(full):
            return False
        staging = LocalStaging(self._in)
        staging.write(data)
        return staging.commit(path)

    def put(self, path: str, data: Buffer) -> None:
        full = self._in.full(path)
        staging = LocalStaging(self._in)
        try:
            staging.write(data)
            temporary = staging.finish(is_synced=self._in.fsync == "always")
            self._in.in_folder(full, lambda: os.replace(temporary, full))
        except OSError as error:
            staging.discard()
            raise self._in.failed("replace", path, error) from error
        staging.consumed()
        if self._in.fsync == "always":
            self._in.sync_folder_of(full)

    def stage(self) -> LocalStaging:
        return LocalStaging(self._in)

    def delete(self, path: str) -> None:
        full = self._in.full(path)
        try:
            os.unlink(full)
        except OSError as error:
            if error.errno in ABSENT or (error.errno == errno.EPERM and os.path.isdir(full)):
                return
            raise self._in.failed("delete", path, error) from error
        if self._in.fsync == "always":
            self._in.sync_folder_of(full)

    def open_append(self, path: str) -> LocalAppender:
        full = self._in.full(path)
        if not supports_claims:
            raise CapabilityError(
                f"Appending to {path} in {self.url} needs flock, which {sys.platform} has not", path=path, url=self.url
            )
        temporary = self._in.new_temporary()
        try:
            appender = self._in.in_folder(
                temporary,
                lambda: LocalAppender(path, temporary, is_synced=self._in.fsync == "always", failed=self._in.failed),
            )
        except OSError as error:
            raise self._in.failed("append to", path, error) from error
        try:
            # It is claimed before it can be seen, so nobody takes a new journal for that of a dead process.
            if not self._in.link(temporary, full, path):
                message = f"Appending to {path} in {self.url}: it exists, and one writer makes each file"
                raise StorageError(message, path=path)
        except BaseException:
            appender.close()
            raise
        finally:
            unlink_quietly(temporary)
        appender.is_at(full)
        if self._in.fsync == "always":
            self._in.sync_folder_of(full)
        return appender

    def is_claimed(self, path: str) -> bool:
        return is_claimed(self._in.full(path))

    def remove_leftovers(self, *, older_than_s: float = 86_400.0) -> int:
        """Remove unfinished files that dead processes left in `tmp/`; return how many. Younger ones may be in use."""
        removed = 0
        for entry, is_folder in self._entries(RESERVED + "/"):
            try:
                if not is_folder and time.time() - entry.stat(follow_symlinks=False).st_mtime > older_than_s:
                    os.unlink(entry.path)
                    removed += 1
            except FileNotFoundError:  # another process cleans as well
                continue
            except OSError as error:
                raise self._in.failed("delete", f"{RESERVED}/{entry.name}", error) from error
        return removed

    # -- how it is done ----------------------------------------------------------------------------

    def _entries(self, folder: str) -> Sequence[tuple[os.DirEntry[str], bool]]:
        if folder:
            self._in.require_inside(folder.rstrip("/"))
        try:
            with os.scandir(self._in.base + folder) as entries:
                # Symbolic links are not ours: we never write any.
                return [(entry, entry.is_dir(follow_symlinks=False)) for entry in entries if not entry.is_symlink()]
        except OSError as error:
            if error.errno in ABSENT:
                return []
            raise self._in.failed("list", folder, error) from error

    def _info(self, entry: os.DirEntry[str], path: str) -> ObjectInfo | None:
        try:
            found = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._in.failed("list", path, error) from error
        return ObjectInfo(path, found.st_size, found.st_mtime) if stat.S_ISREG(found.st_mode) else None


def _read_all(fd: int) -> bytes:
    pieces: list[bytes] = []
    while piece := os.read(fd, _FIRST_READ if not pieces else max(_FIRST_READ, os.fstat(fd).st_size)):
        pieces.append(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _read_range(fd: int, start: int, end: int | None) -> bytes:
    size = os.fstat(fd).st_size
    start, end = max(start, 0), size if end is None else min(end, size)
    data = os.pread(fd, max(end - start, 0), start)
    while len(data) < end - start and (piece := os.pread(fd, end - start - len(data), start + len(data))):
        data += piece
    return data
