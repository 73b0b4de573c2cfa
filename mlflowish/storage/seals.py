"""Trust in files that are named by their hash: a seal in the time of modification, so that hits hash no gigabytes.

Whoever has written or verified an object file, and flushed it to the disk, sets the part below a second of its time of
modification to a number that follows from the hash. Any later write changes that time, and the number fits again by
chance once in 10^9. A file without the seal is not wrong, it is unknown: it is hashed, and sealed if it is right.

The flush comes first because after a power cut a filesystem may show a file with its size and its time, and other bytes
in it. Until it is over the file bears a mark, another number: `settling.py` says who may take it for an answer.
"""

from __future__ import annotations

import errno
import os

from blake3 import blake3

from mlflowish.errors import IntegrityError

_SECOND_NS = 1_000_000_000
_SLAB_BYTES = 4 << 20


def seal_ns(digest: str) -> int:
    """The part below a second that a file of this hash (hex) bears."""
    return (int(digest[-8:], 16) >> 2) % _SECOND_NS


def mark_ns(sealed_ns: int) -> int:
    """The part below a second that a file bears before it is flushed and gets that seal."""
    return (sealed_ns + _SECOND_NS // 2) % _SECOND_NS


def is_sealed(found: os.stat_result, digest: str) -> bool:
    """Has nobody written to the file since it was last known to be right?"""
    return found.st_mtime_ns % _SECOND_NS == seal_ns(digest)


def is_marked(found: os.stat_result, digest: str) -> bool:
    """Has nobody written to the file since somebody knew that it was right?"""
    return found.st_mtime_ns % _SECOND_NS == mark_ns(seal_ns(digest))


def seal(fd: int, found: os.stat_result, digest: str) -> None:
    """Seal an open file that was flushed, and whose content was right while it had these times."""
    _set_subsecond(fd, found, seal_ns(digest))


def mark(fd: int, found: os.stat_result, digest: str) -> None:
    """Mark an open file whose content was right while it had these times."""
    _set_subsecond(fd, found, mark_ns(seal_ns(digest)))


def _set_subsecond(fd: int, found: os.stat_result, subsecond_ns: int) -> None:
    now = os.fstat(fd)
    if now.st_mtime_ns != found.st_mtime_ns or os.utime not in os.supports_fd:
        return
    modified_ns = found.st_mtime_ns - found.st_mtime_ns % _SECOND_NS + subsecond_ns
    try:
        os.utime(fd, ns=(now.st_atime_ns, modified_ns))
    except OSError as error:
        # Not our file, or a read-only disk: it stays without a seal, and is hashed the next time as well.
        if error.errno not in (errno.EPERM, errno.EACCES, errno.EROFS):
            raise


def hash_file(fd: int, size_bytes: int) -> str:
    """The BLAKE3-256 (hex) of the first `size_bytes` of an open file, read slab by slab: mapped pages would count
    against the process."""
    hasher = blake3()
    slab = memoryview(bytearray(min(size_bytes, _SLAB_BYTES)))
    position = 0
    while position < size_bytes and (count := os.preadv(fd, [slab[: size_bytes - position]], position)):
        hasher.update(slab[:count])
        position += count
    return hasher.hexdigest()


def damaged(where: str, digest: str, what: str) -> IntegrityError:
    """The error for an object whose bytes are not those of its name."""
    return IntegrityError(
        f"{where} is damaged: it should hold the bytes of hash {digest[:16]}.., and is {what}. "
        "It is put aside where that is possible; what is computed again takes its place.",
        path=where,
        expected=digest,
    )


def misnamed(where: str, said_bytes: int, size_bytes: int) -> IntegrityError:
    """The error for an object that is right, while what refers to it is not."""
    return IntegrityError(
        f"What refers to {where} says that it is {said_bytes} bytes long, and it is {size_bytes}, as its name says. "
        "The reference is damaged, or somebody made it up; the object stays.",
        path=where,
    )


def put_file_aside(full: str, fd: int, target: str) -> None:
    """Move the damaged file that is open as `fd` to `target`; where that cannot be done it stays.

    If another process has put a good file in its place meanwhile, that one stays.
    """
    try:
        if not os.path.samestat(os.lstat(full), os.fstat(fd)):
            return
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.rename(full, target)
        if not os.path.samestat(os.lstat(target), os.fstat(fd)):
            os.link(target, full)  # somebody was quicker than the check above
            os.unlink(target)
    except OSError:
        # A read-only store keeps its damaged file. The caller raises IntegrityError either way, or tries to write.
        return
