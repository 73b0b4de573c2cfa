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
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, TypeVar

from mlflowish.errors import (
    CapabilityError,
    InvalidInputError,
    MlflowishError,
    NotFoundError,
    ReadOnlyError,
    StateError,
    StorageError,
)
from mlflowish.storage.appending import LocalAppender, is_claimed, supports_claims
from mlflowish.storage.base import Buffer, Capabilities, ObjectInfo
from mlflowish.storage.linking import CannotLink, link_new
from mlflowish.storage.paths import RESERVED, is_path, require_path, require_prefix
from mlflowish.storage.seals import mark_ns
from mlflowish.storage.settling import sync_folder

Fsync = Literal["objects", "always", "never"]
T = TypeVar("T")

_READ = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_FIRST_READ = 32 << 10
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR})
_REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_MOST_FOLDERS_KNOWN = 4096


class LocalStorage:
    """Objects as files below `root`, which is made by the first write.

    `fsync`: "objects" flushes what is put if absent or staged before it is acknowledged (survives power loss), unless
    the caller flushes it later, "always" also what is replaced or appended, "never" nothing (survives the death of the
    process only).
    """

    def __init__(self, root: str | os.PathLike[str], fsync: Fsync = "objects") -> None:
        if fsync not in ("objects", "always", "never"):
            raise InvalidInputError(f"fsync is 'objects', 'always' or 'never', found {fsync!r}", found=fsync)
        folder = os.fspath(root)
        if not isinstance(folder, str) or not folder or "\0" in folder:
            raise InvalidInputError(f"The root of a local storage is the path of a folder, found {root!r}", found=root)
        self._root = os.path.abspath(os.path.expanduser(folder))
        self._base = os.path.join(self._root, "")
        self._fsync = fsync
        self._links = True
        self._known_folders: set[str] = set()

    def __repr__(self) -> str:
        return f"LocalStorage({self._root!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return LocalStorage, (self._root, self._fsync)

    @property
    def url(self) -> str:
        return self._root

    @property
    def capabilities(self) -> Capabilities:
        """`put_if_absent` turns False once the filesystem has shown that it can do it in no way."""
        return Capabilities(
            put_if_absent=self._links,
            append=supports_claims and self._links,
            local_paths=True,
            durable=self._fsync != "never",
            multi_writer=self._links,
        )

    # -- reading -----------------------------------------------------------------------------------

    def get(self, path: str, start: int = 0, end: int | None = None) -> bytes:
        full = self._full(path)
        try:
            fd = os.open(full, _READ)
            try:
                return _read_all(fd) if start <= 0 and end is None else _read_range(fd, start, end)
            finally:
                os.close(fd)
        except OSError as error:
            raise self._failed("read", path, error) from error

    def size(self, path: str) -> int:
        full = self._full(path)
        try:
            found = os.lstat(full)
        except OSError as error:
            raise self._failed("stat", path, error) from error
        if not stat.S_ISREG(found.st_mode):
            raise self._failed("stat", path, OSError(errno.ENOENT, "not a file"))
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
        return self._full(path)

    # -- writing -----------------------------------------------------------------------------------

    def put_if_absent(self, path: str, data: Buffer) -> bool:
        full = self._full(path)
        if os.path.lexists(full):
            return False
        staging = LocalStaging(self)
        staging.write(data)
        return staging.commit(path)

    def put(self, path: str, data: Buffer) -> None:
        full = self._full(path)
        staging = LocalStaging(self)
        try:
            staging.write(data)
            temporary = staging.finish(is_synced=self._fsync == "always")
            self._in_folder(full, lambda: os.replace(temporary, full))
        except OSError as error:
            staging.discard()
            raise self._failed("replace", path, error) from error
        staging.consumed()
        if self._fsync == "always":
            self._sync_folder_of(full)

    def stage(self) -> LocalStaging:
        return LocalStaging(self)

    def delete(self, path: str) -> None:
        full = self._full(path)
        try:
            os.unlink(full)
        except OSError as error:
            if error.errno in _ABSENT or (error.errno == errno.EPERM and os.path.isdir(full)):
                return
            raise self._failed("delete", path, error) from error
        if self._fsync == "always":
            self._sync_folder_of(full)

    def open_append(self, path: str) -> LocalAppender:
        full = self._full(path)
        if not supports_claims:
            raise CapabilityError(
                f"Appending to {path} in {self.url} needs flock, which {sys.platform} has not", path=path, url=self.url
            )
        temporary = self._new_temporary()
        try:
            appender = self._in_folder(
                temporary,
                lambda: LocalAppender(path, temporary, is_synced=self._fsync == "always", failed=self._failed),
            )
        except OSError as error:
            raise self._failed("append to", path, error) from error
        try:
            # It is claimed before it can be seen, so nobody takes a new journal for that of a dead process.
            if not self._link(temporary, full, path):
                message = f"Appending to {path} in {self.url}: it exists, and one writer makes each file"
                raise StorageError(message, path=path)
        except BaseException:
            appender.close()
            raise
        finally:
            _unlink_quietly(temporary)
        appender.is_at(full)
        if self._fsync == "always":
            self._sync_folder_of(full)
        return appender

    def is_claimed(self, path: str) -> bool:
        return is_claimed(self._full(path))

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
                raise self._failed("delete", f"{RESERVED}/{entry.name}", error) from error
        return removed

    # -- how it is done ----------------------------------------------------------------------------

    def _full(self, path: str) -> str:
        require_path(path)
        folder = path.rpartition("/")[0]
        if folder and folder not in self._known_folders:
            self._require_inside(folder)
        return self._base + path

    def _require_inside(self, folder: str) -> None:
        real, root = os.path.realpath(self._base + folder), os.path.realpath(self._root)
        if real != os.path.join(root, *folder.split("/")):
            raise StorageError(
                f"{folder}/ in {self.url} leads to {real} through a symbolic link, which is refused; move the files "
                "into the store, or point to the store where they are",
                path=folder,
                url=self.url,
            )
        if len(self._known_folders) >= _MOST_FOLDERS_KNOWN:
            self._known_folders.clear()
        if os.path.isdir(real):
            self._known_folders.add(folder)

    def _entries(self, folder: str) -> Sequence[tuple[os.DirEntry[str], bool]]:
        try:
            with os.scandir(self._base + folder) as entries:
                # Symbolic links are not ours: we never write any.
                return [(entry, entry.is_dir(follow_symlinks=False)) for entry in entries if not entry.is_symlink()]
        except OSError as error:
            if error.errno in _ABSENT:
                return []
            raise self._failed("list", folder, error) from error

    def _info(self, entry: os.DirEntry[str], path: str) -> ObjectInfo | None:
        try:
            found = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failed("list", path, error) from error
        return ObjectInfo(path, found.st_size, found.st_mtime) if stat.S_ISREG(found.st_mode) else None

    def _new_temporary(self) -> str:
        return f"{self._base}{RESERVED}/{os.getpid():x}-{os.urandom(8).hex()}"

    def _link(self, temporary: str, full: str, path: str) -> bool:
        try:
            return self._in_folder(full, lambda: link_new(temporary, full))
        except CannotLink as error:
            self._links = False
            raise CapabilityError(
                f"{self.url} lies on a filesystem that has neither hard links nor a rename that keeps what is there "
                f"({error}): {path} cannot be created safely. Put the store on another filesystem, or in a bucket.",
                path=path,
                url=self.url,
            ) from error
        except OSError as error:
            raise self._failed("create", path, error) from error

    def _in_folder(self, full: str, act: Callable[[], T]) -> T:
        """Do it; if the folder of `full` is missing make it and do it again."""
        try:
            return act()
        except FileNotFoundError:
            self._make_folder(os.path.dirname(full))
            return act()

    def _make_folder(self, folder: str) -> None:
        missing = []
        while not os.path.isdir(folder) and os.path.dirname(folder) != folder:
            missing.append(folder)
            folder = os.path.dirname(folder)
        for folder in reversed(missing):
            try:
                os.mkdir(folder)
            except FileExistsError:
                continue
            if self._fsync != "never":
                self._sync_folder_of(folder)

    def _sync_folder_of(self, full: str) -> None:
        """Make the name durable as well."""
        try:
            sync_folder(os.path.dirname(full))
        except OSError as error:
            raise self._failed("sync", os.path.relpath(full, self._root), error) from error

    def _failed(self, what: str, path: str, error: OSError) -> MlflowishError:
        where, why = f"{path} in {self.url}", error.strerror or str(error)
        if what in ("read", "stat", "list"):
            if error.errno in _ABSENT:
                return NotFoundError(f"{where} is not there", path=path, url=self.url)
            if error.errno == errno.ELOOP:
                why = "it is a symbolic link, which no store writes"
        elif error.errno in _REFUSED:
            message = f"Could not {what} {where}: {why}. Make the folder writable for this user, or use another store."
            return ReadOnlyError(message, path=path, url=self.url)
        hint = ". Free some space: what was there is unchanged" if error.errno in _FULL else ""
        return StorageError(f"Could not {what} {where}: {why}{hint}", path=path, url=self.url)


_NEW, _CLOSED, _ENDED = -1, -2, -3


class LocalStaging:
    """A file in `tmp/` until it is committed. The state is the file descriptor, or one of the three numbers above."""

    def __init__(self, storage: LocalStorage) -> None:
        self._storage = storage
        self.temporary = storage._new_temporary()
        self._pid = os.getpid()
        self._fd = _NEW

    def write(self, data: Buffer) -> None:
        try:
            if self._fd < 0:
                self._open()
            written = os.write(self._fd, data)
            size = len(data) if isinstance(data, bytes) else memoryview(data).nbytes
            if written < size:
                _write_rest(self._fd, memoryview(data).cast("B")[written:])
        except OSError as error:
            self.discard()
            raise self._failed(error) from error

    def commit(self, path: str, *, subsecond_ns: int | None = None, is_synced: bool = True) -> bool:
        storage = self._storage
        is_synced = storage._fsync != "never" and (is_synced or storage._fsync == "always")
        if subsecond_ns is not None and not is_synced:
            subsecond_ns = mark_ns(subsecond_ns)
        try:
            full = storage._full(path)
            temporary = self.finish(is_synced=is_synced, subsecond_ns=subsecond_ns)
            is_new = storage._link(temporary, full, path)
        finally:
            self.discard()
        if is_synced:
            storage._sync_folder_of(full)
        return is_new

    def finish(self, *, is_synced: bool, subsecond_ns: int | None = None) -> str:
        """Close the file, flushed if asked for, and say where it is."""
        try:
            if self._fd < 0:
                self._open()
            if subsecond_ns is not None:
                now = time.time_ns()
                file = self._fd if os.utime in os.supports_fd else self.temporary
                os.utime(file, ns=(now, now - now % 1_000_000_000 + subsecond_ns))
            if is_synced:
                os.fsync(self._fd)
            os.close(self._fd)
        except OSError as error:
            self.discard()
            raise self._failed(error) from error
        self._fd = _CLOSED
        return self.temporary

    def consumed(self) -> None:
        """The file has been renamed: nothing is left to discard."""
        self._fd = _ENDED

    def discard(self) -> None:
        fd, self._fd = self._fd, _ENDED
        if fd >= 0:
            os.close(fd)
        if (fd >= 0 or fd == _CLOSED) and self._pid == os.getpid():
            _unlink_quietly(self.temporary)

    def __del__(self) -> None:
        # A caller that forgot it, or died of an exception: its bytes are nobody's.
        if getattr(self, "_fd", _ENDED) not in (_NEW, _ENDED):
            self.discard()

    def _open(self) -> None:
        if self._fd != _NEW:
            raise StateError(f"Writing to {self._storage.url}: this staging has ended; begin another with stage()")
        self._fd = self._storage._in_folder(self.temporary, lambda: os.open(self.temporary, _CREATE, 0o666))

    def _failed(self, error: OSError) -> MlflowishError:
        return self._storage._failed("write", f"{RESERVED}/{os.path.basename(self.temporary)}", error)


def _unlink_quietly(temporary: str) -> None:
    try:
        os.unlink(temporary)
    except OSError:  # gone already, or the disk has turned read-only: it is litter and no more
        pass


def _write_rest(fd: int, rest: memoryview) -> None:
    while rest.nbytes:
        rest = rest[os.write(fd, rest) :]


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
