"""Records as bytes: the frame around one record and the header of a file of them. Pure; `docs/format-journals.md`
specifies it.

A frame is `magic, length, key, payload, check`. The check is a BLAKE3 over a *seal* and the frame. The seal is
derived from the kind and the file's own nonce, so the bytes of another journal, stored as somebody's payload, can
never be taken for records of this one when a damaged file is searched for its next frame. The nonce stands in the
header and in the file's name: damage to one costs nothing.
"""

from __future__ import annotations

import mmap
import os
import time
from struct import Struct
from typing import NamedTuple

from blake3 import blake3

from mlflowish.errors import FormatVersionError

VERSION = 1
JOURNAL_MAGIC = b"\x89mfjnl\r\n"
SEGMENT_MAGIC = b"\x89mfseg\r\n"
FRAME_MAGIC = b"\xf5mfr"
KEY_BYTES = 16
CHECK_BYTES = 8
NONCE_BYTES = 16
FRAME_HEAD = Struct("<4sI")
FRAME_OVERHEAD = FRAME_HEAD.size + KEY_BYTES + CHECK_BYTES
MAX_PAYLOAD_BYTES = 1 << 30
FILE_HEAD = Struct("<8sHHI16s24s")
FILE_HEAD_BYTES = FILE_HEAD.size + CHECK_BYTES
MAX_KIND_BYTES = 24

Mapped = bytes | mmap.mmap


class Scan(NamedTuple):
    """What a stretch of frames holds: `items` are (offset, key followed by payload); `position` is where the next
    frame begins or will begin; `damaged_bytes` were skipped."""

    items: list[tuple[int, bytes]]
    position: int
    damaged_bytes: int


def new_nonce() -> bytes:
    """16 bytes nobody else has: 6 of milliseconds since 1970, so that names sort by age, and 10 of randomness."""
    return (time.time_ns() // 1_000_000).to_bytes(6, "big") + os.urandom(10)


def seal_of(kind: str, nonce: bytes) -> bytes:
    """The secret-free salt of every check in the file with this nonce."""
    return blake3(b"mlflowish journal seal\0" + kind.encode() + b"\0" + nonce).digest(16)


def frame(seal: bytes, item: bytes) -> bytes:
    """The frame of one record; `item` is its key followed by its payload."""
    body = seal + FRAME_HEAD.pack(FRAME_MAGIC, len(item) - KEY_BYTES) + item
    return body[16:] + blake3(body).digest(CHECK_BYTES)


def read_frame(data: Mapped, seal: bytes, start: int) -> bytes | None:
    """Key and payload of the frame at `start`; None unless it is whole and its check is right."""
    if start < 0 or start + FRAME_OVERHEAD > len(data):
        return None
    magic, length = FRAME_HEAD.unpack_from(data, start)
    end = start + FRAME_OVERHEAD + length
    if magic != FRAME_MAGIC or end > len(data):
        return None
    whole = data[start:end]
    body = whole[:-CHECK_BYTES]
    if blake3(seal + body).digest(CHECK_BYTES) != whole[-CHECK_BYTES:]:
        return None
    return body[FRAME_HEAD.size :]


def view_frame(data: memoryview, seal: bytes, start: int, *, key: bytes, is_checked: bool) -> memoryview | None:
    """The payload of the frame of `key` at `start`, not copied; None as `read_frame`. `is_checked`: its check was
    found right before, and costs as much as reading all of it."""
    if start < 0 or start + FRAME_OVERHEAD > len(data):
        return None
    magic, length = FRAME_HEAD.unpack_from(data, start)
    payload = start + FRAME_HEAD.size + KEY_BYTES
    end = payload + length
    if magic != FRAME_MAGIC or end + CHECK_BYTES > len(data) or data[start + FRAME_HEAD.size : payload] != key:
        return None
    if not is_checked:
        hasher = blake3(seal)
        hasher.update(data[start:end])
        if hasher.digest(CHECK_BYTES) != data[end : end + CHECK_BYTES]:
            return None
    return data[payload:end]


def scan_frames(data: Mapped, seal: bytes, start: int = 0) -> Scan:
    """Every whole record from `start`. What is damaged is skipped up to the next frame that is right.

    Bytes after the last record stay unread (`position` is before them): they may be a frame that is just being written.
    """
    items: list[tuple[int, bytes]] = []
    damaged = 0
    position, size = start, len(data)
    while position + FRAME_OVERHEAD <= size:
        item = read_frame(data, seal, position)
        if item is None:
            following = _next_frame(data, seal, position + 1)
            if following < 0:
                break
            damaged += following - position
            position = following
            continue
        items.append((position, item))
        position += len(item) + FRAME_HEAD.size + CHECK_BYTES
    return Scan(items, position, damaged)


def _next_frame(data: Mapped, seal: bytes, start: int) -> int:
    found = data.find(FRAME_MAGIC, start)
    while found >= 0 and read_frame(data, seal, found) is None:
        found = data.find(FRAME_MAGIC, found + 1)
    return found


def file_header(magic: bytes, kind: str, nonce: bytes) -> bytes:
    """The 64 bytes that begin a journal or a segment."""
    head = FILE_HEAD.pack(magic, VERSION, 0, 0, nonce, kind.encode())
    return head + blake3(head).digest(CHECK_BYTES)


def read_header(data: Mapped, magic: bytes, *, path: str) -> bytes | None:
    """The nonce in the header; None if it is torn or damaged. FormatVersionError if a newer version wrote it."""
    head = data[: FILE_HEAD.size]
    if blake3(head).digest(CHECK_BYTES) != data[FILE_HEAD.size : FILE_HEAD_BYTES]:
        return None
    found_magic, version, _flags, _reserved, nonce, _kind = FILE_HEAD.unpack(head)
    if found_magic != magic:
        return None
    if version > VERSION:
        raise newer_format(path, version)
    return bytes(nonce)


def newer_format(path: str, version: int) -> FormatVersionError:
    """The error for a file that this release is too old to read."""
    return FormatVersionError(
        f"Cannot read {path}: it has journal format {version}, this release reads up to {VERSION}. "
        "Upgrade mlflowish; nothing was changed.",
        path=path,
        found=version,
        supported=VERSION,
    )


def nonce_of_name(name: str) -> bytes | None:
    """The nonce that the name of a journal (`<32 hex digits>[-writer].log`) carries; None for a foreign file."""
    digits = name.rsplit("/", 1)[-1][: 2 * NONCE_BYTES]
    try:
        nonce = bytes.fromhex(digits)
    except ValueError:
        return None
    return nonce if len(nonce) == NONCE_BYTES else None
