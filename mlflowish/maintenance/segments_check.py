"""The inside of a segment, read from the first frame to the footer, compared with what its records need."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from struct import Struct

from blake3 import blake3

from mlflowish.journals.frames import (
    CHECK_BYTES,
    FILE_HEAD_BYTES,
    FRAME_HEAD,
    KEY_BYTES,
    MAX_KIND_BYTES,
    VERSION,
    Mapped,
    newer_format,
    read_frame,
)
from mlflowish.journals.segment import ENTRY, ENTRY_BYTES, FOOTER, FOOTER_BYTES, FOOTER_MAGIC

_MAX_BITS = 32
_U32 = Struct("<I")


@dataclass(frozen=True, slots=True)
class Disorder:
    """What is wrong inside a segment ('' if nothing is), and how many records were read."""

    what: str
    records: int


def footer_nonce(data: Mapped, path: str) -> bytes | None:
    """The nonce in the footer, None if that is damaged; FormatVersionError if a newer version wrote it."""
    footer = _footer(data)
    if footer is None:
        return None
    if footer[1] > VERSION:
        raise newer_format(path, footer[1])
    return bytes(footer[4])


def disorder(data: Mapped, seal: bytes, kind: str) -> Disorder:
    """Read everything: frames, their order, buckets, fan-out table, footer."""
    footer = _footer(data)
    if footer is None:
        return Disorder("its footer is damaged", 0)
    _, _, _, bits, _, footer_kind, records, data_end, fan_out, low, high = footer
    index, what = _read_frames(data, seal, data_end)
    count = len(index) // ENTRY_BYTES
    if what:
        return Disorder(what, count)
    first, last = (
        bytes(index[:KEY_BYTES]) or b"\xff" * KEY_BYTES,
        bytes(index[-ENTRY_BYTES:][:KEY_BYTES]) or bytes(KEY_BYTES),
    )
    if footer_kind != kind.encode().ljust(MAX_KIND_BYTES, b"\0"):
        return Disorder("its footer is that of another kind", count)
    if (records, low, high) != (count, first, last):
        return Disorder("its footer does not fit its records", count)
    expected = _expected_index(index, bits, seal) if bits <= _MAX_BITS and 1 << bits <= max(len(data), 1) else None
    if (
        expected is None
        or data[data_end : len(data) - FOOTER_BYTES] != expected[0]
        or fan_out != data_end + expected[1]
    ):
        return Disorder("its index does not fit its records", count)
    return Disorder("", count)


def _footer(data: Mapped) -> tuple[bytes, int, int, int, bytes, bytes, int, int, int, bytes, bytes] | None:
    footer = data[-FOOTER_BYTES:] if len(data) >= FILE_HEAD_BYTES + FOOTER_BYTES else b""
    if len(footer) < FOOTER_BYTES or blake3(footer[: FOOTER.size]).digest(CHECK_BYTES) != footer[FOOTER.size :]:
        return None
    fields = FOOTER.unpack(footer[: FOOTER.size])
    return fields if fields[0] == FOOTER_MAGIC else None


def _read_frames(data: Mapped, seal: bytes, data_end: int) -> tuple[bytearray, str]:
    """The index that the frames make, and what is wrong with them."""
    index, position, before = bytearray(), FILE_HEAD_BYTES, b""
    around = FRAME_HEAD.size + CHECK_BYTES
    while position < data_end:
        item = read_frame(data, seal, position)
        if item is None:
            return index, f"the record at byte {position:,} is damaged"
        if item <= before:
            return index, f"the record at byte {position:,} is out of order"
        index += ENTRY.pack(item[:KEY_BYTES], position)
        before, position = item, position + len(item) + around
    return index, "" if position == data_end else "its records do not end where its index begins"


def _expected_index(index: bytearray, bits: int, seal: bytes) -> tuple[bytes, int]:
    """Buckets and fan-out table as they have to be, and where in them the table begins."""
    starts, shift = array("I", [0] * ((1 << bits) + 1)), 32 - bits
    for (prefix,) in Struct(f">I{ENTRY_BYTES - 4}x").iter_unpack(index):
        starts[(prefix >> shift) + 1] += 1
    for bucket in range(1 << bits):
        starts[bucket + 1] += starts[bucket]
    made = bytearray()
    for bucket in range(1 << bits):
        entries = bytes(index[starts[bucket] * ENTRY_BYTES : starts[bucket + 1] * ENTRY_BYTES])
        made += entries + blake3(seal + _U32.pack(bucket) + entries).digest(CHECK_BYTES)
    return bytes(made) + b"".join(map(_U32.pack, starts)), len(made)
