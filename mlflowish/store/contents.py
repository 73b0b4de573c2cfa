"""Which content a local file has: read once, and known from then on as long as it looks the same.

By (path, size, mtime, ctime, inode), except for files changed within the last two seconds: a change within the clock's
granularity would not show. Large files are remembered by the store as well, for other processes.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from stat import S_ISDIR, S_ISREG

from blake3 import blake3

from mlflowish.codecs.base import Buffer
from mlflowish.errors import InvalidInputError, NotFoundError, StorageError
from mlflowish.store import remembered

SLAB_BYTES = 4 << 20
DIGEST_BYTES = 16
_DISTRUST_S = 2.0
_WORTH_A_RECORD_BYTES = 256 << 10  # below, reading is as quick as looking up
_COARSE_NS = 1_000_000_000
_Identity = tuple[str, int, int, int, int, int]
_memo: dict[_Identity, bytes] = {}


def local_digest(path: str) -> bytes:
    """BLAKE3-128 of the content: the file is read, unless it is known and looks unchanged. NotFoundError,
    InvalidInputError if it is no file, StorageError."""
    stat = require_file(path)
    # Which file it is, its inode says: the path is for filesystems that make inodes up.
    identity = (path, stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    if (known := _memo.get(identity)) is not None:
        return known
    key = _record_key(path, stat)
    if key is not None and (stored := remembered.recall(key)) is not None:
        return _memorized(identity, stored[:DIGEST_BYTES])
    try:
        with open(path, "rb") as stream:
            content = content_of(iter(lambda: stream.read(SLAB_BYTES), b""))
            after = os.fstat(stream.fileno())
    except OSError as error:
        raise StorageError(f"Reading {path} failed: {error}", path=path) from error
    unchanged = (after.st_size, after.st_mtime_ns, after.st_ctime_ns) == identity[3:]
    if not unchanged or time.time() - max(stat.st_mtime, stat.st_ctime) <= _DISTRUST_S:
        return content[:DIGEST_BYTES]
    if key is not None:
        remembered.remember(key, content)
    return _memorized(identity, content[:DIGEST_BYTES])


def require_file(path: str) -> os.stat_result:
    """What the file looks like; NotFoundError, InvalidInputError if it is none, StorageError."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        raise_missing(path, "file")
        raise
    except OSError as error:
        raise StorageError(f"Looking at {path} failed: {error}", path=path) from error
    if S_ISDIR(found.st_mode):
        raise InvalidInputError(f"{path} is a folder; use Dir for folders", path=path)
    if not S_ISREG(found.st_mode):
        raise InvalidInputError(
            f"{path} is a pipe, socket or device: it has no content that could be read twice. "
            "Write what comes from it into a file first, or keep it outside of the folder.",
            path=path,
        )
    return found


def raise_missing(path: str, kind: str) -> None:
    """NotFoundError for a local file or folder."""
    raise NotFoundError(f"There is no {kind} at {path} (working directory: {os.getcwd()}). Check the path.", path=path)


def content_of(chunks: Iterator[Buffer]) -> bytes:
    """BLAKE3-256 of what is in the chunks; its first 16 bytes are the digest."""
    hasher = blake3()
    for chunk in chunks:
        hasher.update(chunk)
    return bytes(hasher.digest())


def _memorized(identity: _Identity, digest: bytes) -> bytes:
    if len(_memo) > 100_000:
        _memo.clear()
    _memo[identity] = digest
    return digest


def _record_key(path: str, stat: os.stat_result) -> bytes | None:
    """What names this look of the file among those of all machines; None if it is not worth a record, or its
    filesystem counts whole seconds, in which a clone of this machine may have written another content."""
    if stat.st_size < _WORTH_A_RECORD_BYTES or not (stat.st_mtime_ns % _COARSE_NS or stat.st_ctime_ns % _COARSE_NS):
        return None
    real = os.path.realpath(path).encode("utf-8", "surrogateescape")
    where = socket.gethostname().encode() + b"\0" + len(real).to_bytes(8, "little") + real
    looks = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
    numbers = b"".join(number.to_bytes(16, "little", signed=True) for number in looks)
    return bytes(blake3(b"mlf1.near\0" + where + numbers).digest(length=16))
