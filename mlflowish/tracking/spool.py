"""The spool file of one process: whatever it logs rests here first, in slots of 32 bytes, until it is moved on.

What was appended is acknowledged: it survives `kill -9`, and every other process of a local store reads it here. A
point is one slot; anything else is a head slot and a payload, padded to whole slots. Each slot bears a checksum whose
start value comes from the file's own header, so torn or stale bytes are no records. Moving a file on is a pure
function of its bytes (`Spooled.records`): done twice, by its process and by one that found it left behind, it gives
the same journal records, and those are one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from struct import Struct
from typing import Any
from zlib import crc32

import msgpack
from blake3 import blake3

from mlflowish.errors import FormatVersionError
from mlflowish.tracking.records import (
    CALLS,
    CONSOLE,
    POINTS,
    RECORDS_A_PART,
    RUNS,
    Batch,
    Chunk,
    Column,
    Event,
    Last,
    Lines,
    pack_batch,
    pack_chunk,
    pack_lines,
    part_key,
)

VERSION = 1
MAGIC = b"\x89mfspl\r\n"
HEADER = Struct("<8sHHI16sQ16s")
HEADER_BYTES = HEADER.size + 8
SLOT_BYTES = 32
RECORD_TAG = 0x8000_0000
SERIES, EVENT, LINE, CALL, OPEN = 1, 2, 3, 4, 5

_POINT = Struct("<Iqqd")
_HEAD = Struct("<IQII8x")
_WHOLE = Struct("<IqqdI")
_log = logging.getLogger("mlflowish.tracking")

pack_point_body = _POINT.pack


@dataclass(frozen=True, slots=True)
class Header:
    """Who writes the file: `writer` is the process (16 random bytes), `number` counts its files; where it runs."""

    writer: bytes
    number: int
    machine: bytes
    check_start: int = 0

    def packed(self) -> bytes:
        head = HEADER.pack(MAGIC, VERSION, 0, 0, self.writer, self.number, self.machine)
        return head + blake3(head).digest(8)

    @property
    def name(self) -> str:
        """The file's name."""
        return f"{self.writer.hex()}-{self.number:08d}.log"


def new_header(writer: bytes, number: int, machine: bytes) -> Header:
    """The header of a new file, its checksums' start value included."""
    return Header(writer, number, machine, crc32(Header(writer, number, machine).packed()))


def read_header(data: bytes, path: str) -> Header | None:
    """The header at the start of `data`; None if it is torn or not ours. FormatVersionError for a newer format."""
    head = data[: HEADER.size]
    if len(data) < HEADER_BYTES or blake3(head).digest(8) != data[HEADER.size : HEADER_BYTES]:
        return None
    magic, version, _, _, writer, number, machine = HEADER.unpack(head)
    if magic != MAGIC:
        return None
    if version > VERSION:
        raise FormatVersionError(
            f"Cannot read {path}: it has spool format {version}, this release reads up to {VERSION}. Upgrade "
            "mlflowish; nothing was changed.",
            path=path,
            found=version,
            supported=VERSION,
        )
    return Header(writer, number, machine, crc32(data[:HEADER_BYTES]))


def pack_point(check_start: int, series: int, step: int, time_us: int, value: float) -> bytes:
    """One slot: a point of a series that was declared in this file."""
    body = _POINT.pack(series, step, time_us, value)
    return body + crc32(body, check_start).to_bytes(4, "little")


def pack_record(check_start: int, kind: int, fields: tuple[Any, ...]) -> bytes:
    """Slots of a record that is no point."""
    payload = bytes(msgpack.packb(fields, unicode_errors="surrogatepass"))
    head = _HEAD.pack(RECORD_TAG | kind, len(payload), crc32(payload, check_start), 0)
    return head + crc32(head, check_start).to_bytes(4, "little") + payload + bytes(-len(payload) % SLOT_BYTES)


@dataclass(slots=True)
class RunSpool:
    """What a spool file has of one run. `number`: how many files of this writer had points of it before."""

    number: int = 0
    events: list[Event] = field(default_factory=list)
    columns: dict[str, Column] = field(default_factory=dict)
    console: list[tuple[Any, ...]] = field(default_factory=list)
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    known: dict[str, tuple[int, Last]] = field(default_factory=dict)

    def lasts(self) -> dict[str, Last]:
        """The newest point of each series. Remembers how far it looked: a file that grows is not read again."""
        for name, column in self.columns.items():
            count, last = self.known.get(name, (0, None))
            if count < len(column):
                newest = column.last(count)
                newest = newest if last is None or newest.rank() > last.rank() else last
                self.known[name] = len(column), newest
        return {name: last for name, (_, last) in self.known.items()}


class Spooled:
    """The content of a spool file as far as it was read: `feed` it what was appended since."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.header: Header | None = None
        self.position = 0
        self.damaged_slots = 0
        self.runs: dict[bytes, RunSpool] = {}
        self._series: dict[int, Column] = {}

    def feed(self, data: bytes) -> None:
        """Read the bytes from `position` on; slots that are not whole yet are left for the next time."""
        start = 0
        if self.header is None:
            self.header = read_header(data, self.path)
            if self.header is None:
                return
            start = HEADER_BYTES
        self.position += self._read_slots(data, start)

    def batch(self, run_id: bytes) -> Batch | None:
        """The events and last values of a run; None if the file says nothing of it."""
        run = self.runs.get(run_id)
        if run is None or self.header is None:
            return None
        return Batch(self.header.writer, self.header.number, tuple(run.events), run.lasts())

    def chunk(self, run_id: bytes) -> Chunk | None:
        """The points of a run."""
        run = self.runs.get(run_id)
        if run is None or self.header is None or not any(map(len, run.columns.values())):
            return None
        return Chunk(self.header.writer, run.number, run.columns)

    def lines(self, run_id: bytes, kind: str) -> Lines | None:
        """Console text or calls of a run."""
        run = self.runs.get(run_id)
        rows = [] if run is None else run.console if kind == CONSOLE else run.calls
        return Lines(self.header.writer, self.header.number, rows) if rows and self.header is not None else None

    def records(self) -> Iterator[tuple[str, bytes, bytes]]:
        """Kind, key and payload of the journal records that hold all of it; what others refer to comes first."""
        for run_id, run in self.runs.items():
            chunk = self.chunk(run_id)
            if chunk is not None:
                yield POINTS, part_key(POINTS, run_id, run.number // RECORDS_A_PART), pack_chunk(chunk)
            for kind in (CONSOLE, CALLS):
                lines = self.lines(run_id, kind)
                if lines is not None:
                    yield kind, part_key(kind, run_id, 0), pack_lines(lines)
        for run_id in self.runs:
            batch = self.batch(run_id)
            if batch is not None and (batch.events or batch.lasts):
                yield RUNS, run_id, pack_batch(batch)

    def _read_slots(self, data: bytes, start: int) -> int:
        assert self.header is not None
        check_start, unpack, series = self.header.check_start, _WHOLE.unpack_from, self._series
        at, end = start, len(data)
        while at + SLOT_BYTES <= end:
            tag, step, time_us, value, check = unpack(data, at)
            if crc32(data[at : at + 28], check_start) != check:
                self.damaged_slots += 1
                at += SLOT_BYTES
            elif tag < RECORD_TAG:
                column = series.get(tag)
                if column is not None:
                    column.steps.append(step)
                    column.times_us.append(time_us)
                    column.values.append(value)
                at += SLOT_BYTES
            else:
                _, length, payload_check, _ = _HEAD.unpack_from(data, at)
                payload = data[at + SLOT_BYTES : at + SLOT_BYTES + length]
                following = at + SLOT_BYTES + length + -length % SLOT_BYTES
                if following > end:
                    break
                if crc32(payload, check_start) != payload_check or not self._try_to_take(tag & ~RECORD_TAG, payload):
                    self.damaged_slots += 1
                at = following
        return at

    def _try_to_take(self, kind: int, payload: bytes) -> bool:
        """False for what nobody of ours has written: shared folders have many writers."""
        try:
            self._take(kind, payload)
        except (ValueError, TypeError, IndexError, KeyError) as error:
            _log.warning("Passed over a record in %s: %s", self.path, error)
            return False
        return True

    def _take(self, kind: int, payload: bytes) -> None:
        fields = msgpack.unpackb(payload, use_list=False, unicode_errors="surrogatepass", strict_map_key=False)
        if type(fields[0]) is not bytes or len(fields[0]) != 16:
            raise ValueError(f"it names no run, but {fields[0]!r}")
        run = self.runs.setdefault(fields[0], RunSpool())
        if kind == SERIES:
            _, number, series, name = fields[:4]
            run.number = int(number)
            self._series[series] = run.columns.setdefault(str(name), Column())
        elif kind == EVENT:
            event_kind, time_us, body = fields[1:4]
            run.events.append(Event(str(event_kind), int(time_us), dict(body)))
        elif kind == LINE:
            run.console.append(fields[1:])
        elif kind == CALL:
            run.calls.append(fields[1:])
        elif kind != OPEN:
            _log.warning("Passed over a record of unknown kind %d in %s", kind, self.path)
