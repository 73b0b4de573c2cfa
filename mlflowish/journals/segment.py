"""An immutable, sorted, memory-mapped file of records: how most records rest, and how one is found in microseconds.

Layout: header, frames in order, index buckets, fan-out table, footer. The leading bits of a key name its bucket; the
fan-out table says where the bucket lies; a bucket is the fixed-width list of (key, offset) with a check of its own,
verified when it is first touched: opening costs two small reads, whatever the size. Nothing in the index is trusted:
the frame that it leads to carries its key and its check, and a bucket that is damaged makes the segment be searched
frame by frame instead.
"""

from __future__ import annotations

import logging
import mmap
import sys
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from struct import Struct

from blake3 import blake3

from mlflowish.journals.frames import (
    CHECK_BYTES,
    FILE_HEAD_BYTES,
    FRAME_HEAD,
    FRAME_MAGIC,
    FRAME_OVERHEAD,
    KEY_BYTES,
    SEGMENT_MAGIC,
    VERSION,
    Mapped,
    file_header,
    newer_format,
    read_frame,
    read_header,
    scan_frames,
    seal_of,
    view_frame,
)

FOOTER_MAGIC = b"\x89mfsft\r\n"
FOOTER = Struct("<8sHHI16s24sQQQ16s16s8x")
FOOTER_BYTES = FOOTER.size + CHECK_BYTES
ENTRY = Struct("<16sQ")
ENTRY_BYTES = ENTRY.size
ENTRIES_PER_BUCKET = 24  # a bucket is about half a kilobyte: one find() in it costs less than a second level of search
SCANNED_BUCKET_BYTES = 64 * ENTRY_BYTES  # keys that are no hashes can crowd one bucket: above this it is bisected
CHUNK_BYTES = 1 << 20
MOST_KNOWN_RIGHT = 1 << 16  # whoever reads all of a large segment does not come back to a frame
NAME_BYTES = 16

_U32 = Struct("<I")
_U32_PAIR = Struct("<II")
_U64 = Struct("<Q")
_LOWEST, _HIGHEST = bytes(KEY_BYTES), b"\xff" * KEY_BYTES
_log = logging.getLogger("mlflowish.journals")


class SegmentWriter:
    """Makes a segment from records that come in order; `write` receives its bytes in pieces of about a MiB."""

    def __init__(self, write: Callable[[bytes], None], *, kind: str, nonce: bytes) -> None:
        self._write = write
        self._kind, self._nonce = kind, nonce
        self._seal = seal_of(kind, nonce)
        self._hasher = blake3()
        self._chunk = bytearray(file_header(SEGMENT_MAGIC, kind, nonce))
        self._written = 0
        self._index = bytearray()
        self.records_seen = 0

    @property
    def record_count(self) -> int:
        return len(self._index) // ENTRY_BYTES

    @property
    def size_bytes(self) -> int:
        """Bytes so far, without the index."""
        return self._written + len(self._chunk)

    def fill(self, items: Iterator[bytes], *, max_records: int, max_bytes: int) -> bytes | None:
        """Append records (key followed by payload) that come in order, duplicates once, until they end or the segment
        is full; the item that did not fit, if any. Never divides the records of one key.
        """
        # The loop of every compaction, some 3 us a record: hence frame() written out, and no calls of our own in it.
        seal, chunk, index = self._seal, self._chunk, self._index
        pack_entry, pack_head, written = ENTRY.pack, FRAME_HEAD.pack, self._written
        limit, last, is_full = max_records * ENTRY_BYTES, b"", False
        seen = 0
        for item in items:
            if is_full and item[:KEY_BYTES] != last[:KEY_BYTES]:
                self.records_seen += seen
                return item
            seen += 1
            if item == last:
                continue
            last = item
            index += pack_entry(item, written + len(chunk))  # of which it takes the 16 bytes of the key
            body = seal + pack_head(FRAME_MAGIC, len(item) - KEY_BYTES) + item
            chunk += body[16:]
            chunk += blake3(body).digest(CHECK_BYTES)
            if len(chunk) >= CHUNK_BYTES:
                self._flush()
                written = self._written
            is_full = len(index) >= limit or written + len(chunk) >= max_bytes
        self.records_seen += seen
        return None

    def finish(self) -> str:
        """Write index and footer; the name of the segment, from the hash of its bytes."""
        records, data_end = self.record_count, self.size_bytes
        low = bytes(self._index[:KEY_BYTES]) or _HIGHEST
        high = bytes(self._index[-ENTRY_BYTES:][:KEY_BYTES]) or _LOWEST
        bits = max(0, (max(records - 1, 0) // ENTRIES_PER_BUCKET).bit_length())
        starts = self._bucket_starts(bits)
        for bucket in range(1 << bits):
            entries = bytes(self._index[starts[bucket] * ENTRY_BYTES : starts[bucket + 1] * ENTRY_BYTES])
            self._put(entries + _bucket_check(self._seal, bucket, entries))
        fan_out = self.size_bytes
        self._put(b"".join(map(_U32.pack, starts)))
        footer = FOOTER.pack(
            FOOTER_MAGIC, VERSION, 0, bits, self._nonce, self._kind.encode(), records, data_end, fan_out, low, high
        )
        self._put(footer + blake3(footer).digest(CHECK_BYTES))
        self._flush()
        return str(self._hasher.hexdigest(NAME_BYTES))

    def _bucket_starts(self, bits: int) -> list[int]:
        prefixes = array("I", (prefix for (prefix,) in Struct(f">I{ENTRY_BYTES - 4}x").iter_unpack(self._index)))
        starts = [0]
        for bucket in range(1, 1 << bits):
            starts.append(bisect_left(prefixes, bucket << (32 - bits), starts[-1]))
        return [*starts, len(prefixes)]

    def _put(self, data: bytes) -> None:
        self._chunk += data
        if len(self._chunk) >= CHUNK_BYTES:
            self._flush()

    def _flush(self) -> None:
        piece = bytes(self._chunk)
        self._chunk.clear()
        self._hasher.update(piece)
        self._write(piece)
        self._written += len(piece)


class Segment:
    """One segment, open for reading; safe for many threads. `data` is its mapped file, or its bytes."""

    def __init__(self, data: Mapped, *, path: str, kind: str) -> None:
        self.path = path
        self._data = data
        self._recovered: dict[bytes, list[int]] | None = None
        self._is_whole: bool | None = None
        self._right: set[int] = set()
        self.record_count = 0
        self.low, self.high = _LOWEST, _HIGHEST
        nonce = read_header(data, SEGMENT_MAGIC, path=path)
        footer = _read_footer(data, path=path)
        found = nonce or (footer[0] if footer else None)
        self._seal = seal_of(kind, found) if found else b""
        if footer is None or footer[0] != found:
            self._recover("its footer is damaged")
            return
        _, self._bits, self.record_count, self._data_end, self._fan_out, self.low, self.high = footer
        self._shift = 32 - self._bits
        self._is_checked = bytearray(1 << self._bits)

    @property
    def size_bytes(self) -> int:
        return len(self._data)

    def get(self, key: bytes) -> list[bytes]:
        """The payloads under `key`, each verified; damaged ones are left out."""
        if not self.low <= key <= self.high:
            return []
        offsets = self._offsets(key) if self._recovered is None else self._recovered.get(key, ())
        found = []
        for offset in offsets:
            item = read_frame(self._data, self._seal, offset)
            if item is not None and item.startswith(key):
                found.append(item[KEY_BYTES:])
            else:
                _log.warning("Skipped a damaged record at byte %d of %s.", offset, self.path)
        return found

    def views(self, key: bytes) -> list[memoryview]:
        """The payloads under `key` as they rest, without a copy; each is verified when it is first asked for."""
        if not self.low <= key <= self.high:
            return []
        offsets = self._offsets(key) if self._recovered is None else self._recovered.get(key, ())
        data, found = memoryview(self._data), []
        for offset in offsets:
            view = view_frame(data, self._seal, offset, key=key, is_checked=offset in self._right)
            if view is None:
                _log.warning("Skipped a damaged record at byte %d of %s.", offset, self.path)
                continue
            if len(self._right) >= MOST_KNOWN_RIGHT:
                self._right.clear()
            self._right.add(offset)
            found.append(view)
        return found

    @property
    def is_indexed(self) -> bool:
        """Is its index right, as far as it was read?"""
        return self._recovered is None

    @property
    def data_end(self) -> int:
        """Where its records end; the first begins behind the header."""
        return self._data_end

    def entries(self) -> bytes:
        """The index as one: 24 bytes for each record in order, its key and the offset (uint64) of its frame. Verified;
        b"" if it is damaged, and `is_indexed` says so from then on.
        """
        if self._recovered is not None:
            return b""
        data, bits = self._data, self._bits
        starts = array("I")
        starts.frombytes(data[self._fan_out : self._fan_out + 4 * ((1 << bits) + 1)])
        if sys.byteorder == "big":
            starts.byteswap()
        found = []
        for bucket, (first, last) in enumerate(pairwise(starts)):
            start = self._data_end + first * ENTRY_BYTES + bucket * CHECK_BYTES
            end = start + (last - first) * ENTRY_BYTES
            entries = data[start:end]
            if _bucket_check(self._seal, bucket, entries) != data[end : end + CHECK_BYTES]:
                self._recover("its index is damaged")
                return b""
            found.append(entries)
        return b"".join(found)

    def items(self) -> Iterator[bytes]:
        """Every record (key followed by payload) in order. Checked as a whole first, so that intact ones need no
        check each."""
        if not self._whole():
            yield from sorted(item for _, item in scan_frames(self._data, self._seal).items)
            return
        data, position, end = self._data, FILE_HEAD_BYTES, self._data_end
        unpack, head, around = FRAME_HEAD.unpack_from, FRAME_HEAD.size, FRAME_OVERHEAD
        while position < end:
            following = position + around + unpack(data, position)[1]
            yield data[position + head : following - CHECK_BYTES]
            position = following

    def _whole(self) -> bool:
        if self._is_whole is None:
            name = self.path.rsplit("/", 1)[-1].removesuffix(".seg")
            with memoryview(self._data) as view:
                self._is_whole = self._recovered is None and blake3(view).hexdigest(NAME_BYTES) == name
        return self._is_whole

    def _offsets(self, key: bytes) -> Sequence[int]:
        bucket = int.from_bytes(key[:4], "big") >> self._shift
        first, last = _U32_PAIR.unpack_from(self._data, self._fan_out + 4 * bucket)
        start = self._data_end + first * ENTRY_BYTES + bucket * CHECK_BYTES
        end = start + (last - first) * ENTRY_BYTES
        is_crowded = end - start > SCANNED_BUCKET_BYTES
        if is_crowded and self._is_checked[bucket]:
            return self._bisected(start, end, key)
        entries = self._data[start:end]
        if not self._is_checked[bucket]:
            if _bucket_check(self._seal, bucket, entries) != self._data[end : end + CHECK_BYTES]:
                return self._recover("its index is damaged").get(key, ())
            self._is_checked[bucket] = 1
        if is_crowded:
            return self._bisected(start, end, key)
        at = entries.find(key)
        if at < 0:
            return ()
        if at % ENTRY_BYTES:
            at = _find_aligned(entries, key, at)
        offsets = []
        while 0 <= at < len(entries) and entries[at : at + KEY_BYTES] == key:
            offsets.append(_U64.unpack_from(entries, at + KEY_BYTES)[0])
            at += ENTRY_BYTES
        return offsets

    def _bisected(self, start: int, end: int, key: bytes) -> Sequence[int]:
        """The same in a bucket that lies at [start, end), where it rests: ids of runs begin with the time, and may all
        share one of many megabytes."""
        data = self._data
        places = range(start, end, ENTRY_BYTES)
        offsets = []
        for at in places[bisect_left(places, key, key=lambda at: data[at : at + KEY_BYTES]) :]:
            if data[at : at + KEY_BYTES] != key:
                break
            offsets.append(_U64.unpack_from(data, at + KEY_BYTES)[0])
        return offsets

    def _recover(self, why: str) -> dict[bytes, list[int]]:
        recovered: dict[bytes, list[int]] = {}
        items = scan_frames(self._data, self._seal).items
        for offset, item in items:
            recovered.setdefault(item[:KEY_BYTES], []).append(offset)
        self._recovered, self.record_count = recovered, len(items)
        self.low, self.high = _LOWEST, _HIGHEST
        _log.warning("Segment %s: %s; recovered %d records by reading all of it.", self.path, why, len(items))
        return recovered


def map_file(local_path: str) -> Mapped:
    """The bytes of a local file, memory-mapped; FileNotFoundError if it is gone."""
    with open(local_path, "rb") as file:
        try:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:  # an empty file cannot be mapped
            return b""


def _find_aligned(entries: bytes, key: bytes, at: int) -> int:
    """The next place where the key begins an entry; what `at` shows are bytes across two entries that look like it."""
    while at >= 0 and at % ENTRY_BYTES:
        at = entries.find(key, at + 1)
    return at


def _bucket_check(seal: bytes, bucket: int, entries: bytes) -> bytes:
    return bytes(blake3(seal + _U32.pack(bucket) + entries).digest(CHECK_BYTES))


def _read_footer(data: Mapped, *, path: str) -> tuple[bytes, int, int, int, int, bytes, bytes] | None:
    footer = data[-FOOTER_BYTES:] if len(data) >= FILE_HEAD_BYTES + FOOTER_BYTES else b""
    if len(footer) < FOOTER_BYTES or blake3(footer[: FOOTER.size]).digest(CHECK_BYTES) != footer[FOOTER.size :]:
        return None
    magic, version, _, bits, nonce, _, records, data_end, fan_out, low, high = FOOTER.unpack(footer[: FOOTER.size])
    if magic != FOOTER_MAGIC:
        return None
    if version > VERSION:
        raise newer_format(path, version)
    return nonce, bits, records, data_end, fan_out, low, high
