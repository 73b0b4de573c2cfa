"""Files that are right but perhaps not on the disk yet: flushed and sealed in the background, trusted here until then.

A seal (`seals.py`) may outlive a power cut that the bytes do not: a filesystem can show a file of the right size and
time, and zeros in it. So no file is sealed before it was flushed. Until then it bears a mark instead, which any later
write destroys as well; only the process that wrote or hashed the file, and that would learn of a failing flush, takes
the mark for an answer. Everybody else hashes.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections import deque
from dataclasses import dataclass
from typing import Any

from mlflowish.errors import NotFoundError, StorageError
from mlflowish.storage.seals import damaged, hash_file, is_marked, is_sealed, mark, seal

_READ = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_MOST_TRUSTED = 4096
_log = logging.getLogger("mlflowish.storage")


@dataclass(frozen=True, slots=True)
class _Flush:
    """A file to be flushed, as it was when it was known to be right."""

    full: str
    digest: str
    modified_ns: int


class _Settling:
    """What one process trusts and has yet to flush. A forked child forgets it: it would not hear of a failing flush."""

    def __init__(self) -> None:
        self._trusted: dict[tuple[int, int], int] = {}  # device and inode -> time of modification
        self._named: dict[str, tuple[int, int, int]] = {}  # files whose name is durable, as they were then
        self._waiting: deque[_Flush] = deque()
        self._lock = threading.RLock()  # a signal handler may store something in the middle of storing something
        self._worker: threading.Thread | None = None

    def trusts(self, found: os.stat_result) -> bool:
        return self._trusted.get((found.st_dev, found.st_ino)) == found.st_mtime_ns

    def trust(self, found: os.stat_result) -> None:
        self._note(self._trusted, (found.st_dev, found.st_ino), found.st_mtime_ns)

    def distrust(self, found: os.stat_result) -> None:
        with self._lock:
            self._trusted.pop((found.st_dev, found.st_ino), None)

    def is_named(self, full: str, found: os.stat_result) -> bool:
        """Is it known that this name of this very file is on the disk? A file that is linked, renamed, removed or made
        anew has another time of change, or is another inode."""
        return self._named.get(full) == (found.st_dev, found.st_ino, found.st_ctime_ns)

    def note_named(self, full: str, found: os.stat_result) -> None:
        self._note(self._named, full, (found.st_dev, found.st_ino, found.st_ctime_ns))

    def _note(self, known: dict[Any, Any], key: object, value: object) -> None:
        with self._lock:  # what goes is found by iterating, which nobody may disturb
            while len(known) >= _MOST_TRUSTED:
                known.pop(next(iter(known)))
            known[key] = value

    def flush_later(self, flush: _Flush) -> None:
        with self._lock:
            self._waiting.append(flush)
            if self._worker is not None:
                return
            # No daemon: the interpreter waits for it, as it would have for the flush.
            worker = threading.Thread(target=self._work, name="mlflowish-settle")
            try:
                worker.start()
            except RuntimeError:  # the interpreter is ending: the next reader hashes
                self._waiting.clear()
                return
            self._worker = worker

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._worker = None
                    return
                flush = self._waiting.popleft()
            try:
                _settle(flush)
            except FileNotFoundError:  # removed meanwhile
                continue
            except OSError as error:
                _log.warning("%s is right, but could not be flushed: %s", flush.full, error)

    def wait(self) -> None:
        while (worker := self._worker) is not None:
            worker.join()


_settling = _Settling()


def require_right(fd: int, full: str, digest: str, size_bytes: int, verify: str, *, flush: bool = True) -> None:
    """IntegrityError unless the open file is what its name says, as far as `verify` wants to know.

    A right one without a seal gets it in the background, if `flush` says that this storage flushes at all.
    """
    found = os.fstat(fd)
    if found.st_size != size_bytes:
        raise damaged(full, digest, f"{found.st_size} bytes long instead of {size_bytes}")
    if verify == "never" or (verify == "sealed" and (is_sealed(found, digest) or _settling.trusts(found))):
        return
    actual = hash_file(fd, size_bytes)
    if actual != digest:
        raise damaged(full, digest, f"of hash {actual[:16]}..")
    if not is_sealed(found, digest):
        mark(fd, found, digest)
        _settle_later(full, digest, os.fstat(fd), flush=flush)


def settle_later(full: str, digest: str, *, flush: bool = True) -> None:
    """Trust a file that this process wrote; flush and seal it in the background, if `flush` says so."""
    try:
        _settle_later(full, digest, os.stat(full), flush=flush)
    except OSError:  # removed or hidden already: whoever looks for it next finds that out
        return


def _settle_later(full: str, digest: str, found: os.stat_result, *, flush: bool) -> None:
    if is_marked(found, digest):
        _settling.trust(found)
        if flush:
            _settling.flush_later(_Flush(full, digest, found.st_mtime_ns))


def settle(full: str, digest: str) -> None:
    """Flush a file that is right, and its name, and seal it; NotFoundError, StorageError."""
    try:
        found = os.stat(full)
        if is_sealed(found, digest):
            if not _settling.is_named(full, found):  # who wrote it may have died before that
                sync_folder(os.path.dirname(full))
                _settling.note_named(full, found)
        else:
            _settle(_Flush(full, digest, found.st_mtime_ns))
    except FileNotFoundError as error:
        raise NotFoundError(f"{full} was removed before it was flushed", path=full) from error
    except OSError as error:
        raise StorageError(f"Could not flush {full} to the disk: {error.strerror}", path=full) from error


def is_known(full: str, digest: str, size_bytes: int) -> bool:
    """Is a file of this size there that bears its seal, and whose name is known to be on the disk?"""
    try:
        found = os.lstat(full)
    except OSError:  # whoever opens it says why
        return False
    return found.st_size == size_bytes and is_sealed(found, digest) and _settling.is_named(full, found)


def wait_until_settled() -> None:
    """Return when everything is flushed that was to be."""
    _settling.wait()


def _settle(flush: _Flush) -> None:
    fd = os.open(flush.full, _READ)
    try:
        found = os.fstat(fd)
        if found.st_mtime_ns != flush.modified_ns:
            return
        try:
            os.fsync(fd)
            sync_folder(os.path.dirname(flush.full))
        except OSError:
            _settling.distrust(found)
            raise
        seal(fd, found, flush.digest)
        sealed = os.fstat(fd)
        if is_sealed(sealed, flush.digest):
            _settling.distrust(found)
            _settling.note_named(flush.full, sealed)
    finally:
        os.close(fd)


def sync_folder(folder: str) -> None:
    """Make the names in a folder durable. Where folders cannot be opened (Windows) the filesystem's journal does it."""
    if os.name == "nt":
        return
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network filesystems have no fsync for folders
            raise
    finally:
        os.close(fd)


def _forget() -> None:
    _settling.__init__()  # type: ignore[misc]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
