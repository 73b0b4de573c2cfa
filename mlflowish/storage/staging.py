"""A file on its way into a local storage: written in `tmp/`, flushed as asked, then linked to its name, whole."""

from __future__ import annotations

import os
import time

from mlflowish.errors import MlflowishError, StateError
from mlflowish.storage.base import Buffer
from mlflowish.storage.paths import RESERVED
from mlflowish.storage.root import Root
from mlflowish.storage.seals import mark_ns

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NEW, _CLOSED, _ENDED = -1, -2, -3


class LocalStaging:
    """A file in `tmp/` until it is committed. The state is the file descriptor, or one of the three numbers above."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self.temporary = root.new_temporary()
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
        root = self._root
        is_synced = root.fsync != "never" and (is_synced or root.fsync == "always")
        if subsecond_ns is not None and not is_synced:
            subsecond_ns = mark_ns(subsecond_ns)
        try:
            full = root.full(path)
            temporary = self.finish(is_synced=is_synced, subsecond_ns=subsecond_ns)
            is_new = root.link(temporary, full, path)
        finally:
            self.discard()
        if is_synced:
            root.sync_folder_of(full)
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
            unlink_quietly(self.temporary)

    def __del__(self) -> None:
        # A caller that forgot it, or died of an exception: its bytes are nobody's.
        if getattr(self, "_fd", _ENDED) not in (_NEW, _ENDED):
            self.discard()

    def _open(self) -> None:
        if self._fd != _NEW:
            raise StateError(f"Writing to {self._root.folder}: this staging has ended; begin another with stage()")
        self._fd = self._root.in_folder(self.temporary, lambda: os.open(self.temporary, _CREATE, 0o666))

    def _failed(self, error: OSError) -> MlflowishError:
        return self._root.failed("write", f"{RESERVED}/{os.path.basename(self.temporary)}", error)


def unlink_quietly(temporary: str) -> None:
    """Remove what is left in `tmp/`."""
    try:
        os.unlink(temporary)
    except OSError:  # gone already, or the disk has turned read-only: it is litter and no more
        pass


def _write_rest(fd: int, rest: memoryview) -> None:
    while rest.nbytes:
        rest = rest[os.write(fd, rest) :]
