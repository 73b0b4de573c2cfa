"""Files that one process extends and holds a claim on, which dies with the process whatever it dies of.

The claim is a flock on the open file: the kernel lets go of it. A forked child inherits the open file and would keep
the claim of its dead parent alive, so it closes it at once.
"""

from __future__ import annotations

import errno
import os
import threading
import weakref
from collections.abc import Callable

from mlflowish.errors import MlflowishError, StateError

try:
    import fcntl
except ImportError:  # Windows
    supports_claims = False
else:
    supports_claims = True

Failed = Callable[[str, str, OSError], MlflowishError]
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_CLOEXEC", 0)


class LocalAppender:
    """Appends to a file that it has made. Thread-safe. What `write` has returned from survives the process."""

    def __init__(self, path: str, temporary: str, *, is_synced: bool, failed: Failed) -> None:
        self.path = path
        self._failed = failed
        self._is_synced = is_synced
        self._unsynced_folder: str | None = None
        self._lock = threading.RLock()  # a signal handler may append in the middle of an append
        self._pid = os.getpid()
        with _opening:
            self._fd = _open_claimed(temporary)
            _open_appenders.add(self)

    def is_at(self, full: str) -> None:
        """It has got its name, which the first `sync` makes durable."""
        self._unsynced_folder = os.path.dirname(full)

    def write(self, data: bytes) -> int:
        if self._pid != os.getpid():
            raise self._not_mine()
        with self._lock:
            fd = self._fd
            if fd < 0:
                raise StateError(f"Appending to {self.path}: it was closed", path=self.path)
            try:
                start = os.lseek(fd, 0, os.SEEK_END)
                if os.write(fd, data) != len(data):
                    self._take_back(start)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                if self._is_synced:
                    os.fdatasync(fd)
            except OSError as error:
                self._take_back(start)
                raise self._failed("append to", self.path, error) from error
            return start

    def add(self, data: bytes) -> None:
        if self._pid != os.getpid():
            raise self._not_mine()
        with self._lock:
            fd = self._fd
            if fd < 0:
                raise StateError(f"Appending to {self.path}: it was closed", path=self.path)
            try:
                written = os.write(fd, data)
                if written != len(data):
                    self._take_back(os.lseek(fd, 0, os.SEEK_END) - written)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                if self._is_synced:
                    os.fdatasync(fd)
            except OSError as error:
                raise self._failed("append to", self.path, error) from error

    def sync(self) -> None:
        if self._pid != os.getpid():
            raise self._not_mine()
        with self._lock:
            try:
                os.fdatasync(self._fd)
                if self._unsynced_folder is not None:
                    _sync_folder(self._unsynced_folder)
                    self._unsynced_folder = None
            except OSError as error:
                raise self._failed("sync", self.path, error) from error

    def close(self) -> None:
        if self._fd >= 0:
            with self._lock:
                fd, self._fd = self._fd, -1
                if fd >= 0:
                    os.close(fd)

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            os.close(self._fd)

    def _take_back(self, start: int) -> None:
        """Cut off what was written in part. If even that fails it stays, and the next write comes after it."""
        try:
            os.ftruncate(self._fd, start)
        except OSError:
            pass

    def _not_mine(self) -> StateError:
        return StateError(
            f"Appending to {self.path}: it was opened by process {self._pid} and this is {os.getpid()}, forked from "
            "it; open one of your own",
            path=self.path,
        )

    def _leave_to_parent(self) -> None:
        self._lock = threading.RLock()  # another thread of the parent may have held it
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def is_claimed(full: str) -> bool:
    """Does a living process hold the claim on this file? True when it cannot be found out."""
    try:
        fd = os.open(full, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0))
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    try:
        # Shared: two that ask at the same moment do not take each other for a writer.
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False


def _open_claimed(temporary: str) -> int:
    fd = os.open(temporary, _APPEND, 0o666)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(fd)
        os.unlink(temporary)
        raise
    return fd


def _sync_folder(folder: str) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _leave_all_to_parent() -> None:
    _opening.release()
    for appender in list(_open_appenders):
        appender._leave_to_parent()


_open_appenders: weakref.WeakSet[LocalAppender] = weakref.WeakSet()
_opening = threading.Lock()  # no fork between the opening of a file and its entry in the list
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_opening.acquire, after_in_parent=_opening.release, after_in_child=_leave_all_to_parent)
