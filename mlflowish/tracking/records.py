"""What is kept of runs, as records of journals: events and last values by run, points by run and part.

Pure: bytes in, values out; `docs/format-tracking.md` specifies them. One record holds what one spool file had of one
run, so it is named by that file (its writer, its number): the same file moved twice is the same record.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import msgpack
from blake3 import blake3

from mlflowish.errors import FormatVersionError, IntegrityError

VERSION = 1
RUNS, POINTS, CONSOLE, CALLS = "runs", "metrics", "run-console", "run-calls"
KINDS = (POINTS, CONSOLE, CALLS, RUNS)  # what is referred to comes before what refers to it
# Records of one run under one key: few enough that reading the last of them does not mean reading a gigabyte.
RECORDS_A_PART = 64

Buffer = bytes | memoryview
T = TypeVar("T")
_HEAD_BYTES = 8192  # names of some 300 series
_LENGTH_BYTES = {0xC4: 1, 0xC5: 2, 0xC6: 4}  # of a byte string, by the byte that it begins with (msgpack's bin family)


class Last(NamedTuple):
    """The newest point of a series: highest step, then latest time, then greatest value, as in MLflow."""

    step: int
    time_us: int
    value: float

    def rank(self) -> tuple[int, int, bool, float, float]:
        """What makes one newer than another; a value that is no number is below all that are, and -0.0 below 0.0: in
        whatever order records are folded, one of them wins."""
        if self.value != self.value:
            return self.step, self.time_us, False, 0.0, 0.0
        return self.step, self.time_us, True, self.value, math.copysign(1.0, self.value)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a run: `kind` says what `body` holds; time in microseconds since 1970."""

    kind: str
    time_us: int
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Batch:
    """What one spool file had of one run, points aside. `writer` and `number` name the file."""

    writer: bytes
    number: int
    events: tuple[Event, ...] = ()
    lasts: Mapping[str, Last] = field(default_factory=dict)


@dataclass(slots=True)
class Column:
    """Points of one series in the order in which they were logged: steps, microseconds since 1970, values."""

    steps: array[int] = field(default_factory=lambda: array("q"))
    times_us: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))

    def __len__(self) -> int:
        return len(self.steps)

    def extend(self, other: Column) -> None:
        self.steps.extend(other.steps)
        self.times_us.extend(other.times_us)
        self.values.extend(other.values)

    def last(self, start: int = 0) -> Last:
        """The newest point of those from `start` on; there are some."""
        # Steps mostly grow: only those that share the highest one are compared.
        steps = self.steps[start:]
        highest = max(steps)
        places = (place for place, step in enumerate(steps, start) if step == highest)
        return max((Last(highest, self.times_us[i], self.values[i]) for i in places), key=Last.rank)


class Chunk(NamedTuple):
    """Points of one run from one spool file. `number` counts the spool files of this writer that had points of it."""

    writer: bytes
    number: int
    columns: dict[str, Column]


class Series(NamedTuple):
    """Points of one series as they rest: int64 steps, int64 microseconds, float64 values, little-endian."""

    steps: Buffer
    times_us: Buffer
    values: Buffer


class OpenChunk(NamedTuple):
    """A stored chunk, its columns as they rest: `counts` says whose points they are, series after series."""

    writer: bytes
    number: int
    counts: Sequence[tuple[str, int]]
    steps: Buffer = b""
    times_us: Buffer = b""
    values: Buffer = b""

    def cut(self, before: int, count: int) -> Series:
        """`count` points, behind `before` others."""
        place = slice(8 * before, 8 * (before + count))
        return Series(self.steps[place], self.times_us[place], self.values[place])


class Lines(NamedTuple):
    """Console text, or calls of steps, of one run from one spool file: rows in order."""

    writer: bytes
    number: int
    rows: list[tuple[Any, ...]]


def part_key(kind: str, run_id: bytes, part: int) -> bytes:
    """The key under which records of a run rest in a kind other than `runs`; there the key is the run's id."""
    return bytes(blake3(b"mlf1." + kind.encode() + b"\0" + run_id + part.to_bytes(4, "little")).digest(16))


def parts_of(look_up: Callable[[bytes], Sequence[T]], kind: str, run_id: bytes) -> Iterator[tuple[int, T]]:
    """Every payload that `look_up(key)` gives for the parts of a run, with its part. Two empty ones are the end: all
    records of one may be damaged."""
    part = misses = 0
    while misses < 2:
        payloads = look_up(part_key(kind, run_id, part))
        yield from ((part, payload) for payload in payloads)
        part, misses = part + 1, 0 if payloads else misses + 1


def pack_batch(batch: Batch) -> bytes:
    """The payload of a record of kind `runs`."""
    events = [(event.kind, event.time_us, event.body) for event in batch.events]
    lasts = {name: tuple(batch.lasts[name]) for name in sorted(batch.lasts)}
    return _packed((VERSION, batch.writer, batch.number, events, lasts))


def unpack_batch(payload: bytes) -> Batch:
    """The batch in a payload; IntegrityError if nobody of ours wrote it, FormatVersionError if a newer one did."""
    writer, number, events, lasts = batch_fields(payload)
    try:
        return Batch(
            _writer(writer),
            int(number),
            tuple(Event(str(kind), int(time_us), dict(body)) for kind, time_us, body, *_ in events),
            {str(name): Last(int(last[0]), int(last[1]), float(last[2])) for name, last in lasts.items()},
        )
    except (ValueError, TypeError, AttributeError, LookupError, OverflowError) as error:
        raise IntegrityError(f"a record of a run cannot be parsed: {error}") from error


def batch_fields(payload: bytes) -> Sequence[Any]:
    """The four fields of a batch as they were unpacked, whatever they are. Errors as those of `unpack_batch`."""
    return _fields(payload, 4)


def pack_chunk(chunk: Chunk) -> bytes:
    """The payload of a record of points: a table of names and counts, then one column after the other."""
    columns = [(name, column) for name, column in sorted(chunk.columns.items()) if len(column)]
    names = [(name, len(column)) for name, column in columns]
    parts = [
        b"".join(_little(getattr(column, part)) for _, column in columns) for part in ("steps", "times_us", "values")
    ]
    return _packed((VERSION, chunk.writer, chunk.number, names, *parts))


def series_of(column: Column) -> Series:
    """The points of a column as they would rest."""
    return Series(_little(column.steps), _little(column.times_us), _little(column.values))


def open_chunk(payload: Buffer) -> OpenChunk:
    """The points in a payload as they rest, nothing copied. Errors as those of `unpack_batch`."""
    whole = memoryview(payload)
    found = _opened(whole, whole[:_HEAD_BYTES]) or _opened(whole, whole)
    if found is not None:
        return found
    chunk = unpack_chunk(payload)  # says what is wrong with it
    columns = [series_of(column) for column in chunk.columns.values()]
    counts = [(name, len(column)) for name, column in chunk.columns.items()]
    return OpenChunk(chunk.writer, chunk.number, counts, *(b"".join(parts) for parts in zip(*columns, strict=True)))


def unpack_series(payload: Buffer, name: str) -> tuple[bytes, int, Series | None]:
    """Writer, number, and the points of one series in a payload, not copied; None if it has none of it."""
    chunk = open_chunk(payload)
    before = rows = count = 0
    for series, its_count in chunk.counts:
        if series == name:
            before, count = rows, its_count
        rows += its_count
    return chunk.writer, chunk.number, chunk.cut(before, count) if count else None


def unpack_chunk(payload: Buffer, only: str | None = None) -> Chunk:
    """The points in a payload, of all series or of one."""
    writer, number, names, steps, times_us, values = _fields(payload, 6)
    try:
        columns, start = {}, 0
        if not 8 * sum(count for _, count in names) == len(steps) == len(times_us) == len(values):
            raise ValueError("its columns have other lengths than it says")
        for name, count in names:
            end = start + 8 * count
            if only is None or name == only:
                columns[str(name)] = Column(
                    _array("q", steps[start:end]), _array("q", times_us[start:end]), _array("d", values[start:end])
                )
            start = end
        return Chunk(_writer(writer), int(number), columns)
    except (ValueError, TypeError, OverflowError) as error:
        raise IntegrityError(f"a record of points cannot be parsed: {error}") from error


def pack_lines(lines: Lines) -> bytes:
    """The payload of a record of console text or of calls."""
    return _packed((VERSION, lines.writer, lines.number, lines.rows))


def unpack_lines(payload: Buffer) -> Lines:
    """Console text or calls in a payload."""
    writer, number, rows = _fields(payload, 3)
    try:
        return Lines(_writer(writer), int(number), [tuple(row) for row in rows])
    except (ValueError, TypeError, OverflowError) as error:
        raise IntegrityError(f"a record of lines cannot be parsed: {error}") from error


def _opened(whole: memoryview, head: memoryview) -> OpenChunk | None:
    """A chunk that looks as nearly all do, and whose table of names is in its `head`; None for any other."""
    unpacker = msgpack.Unpacker(
        use_list=False, unicode_errors="surrogatepass", strict_map_key=False, read_size=len(head) or 1
    )
    unpacker.feed(head)
    try:
        if unpacker.read_array_header() < 7 or unpacker.unpack() != VERSION:
            return None
        writer, number, counts = unpacker.unpack(), unpacker.unpack(), unpacker.unpack()
        size = 8 * sum([count for _, count in counts])
        at, columns = unpacker.tell(), []
        for _ in range(3):
            start = at + 1 + _LENGTH_BYTES[whole[at]]
            if int.from_bytes(whole[at + 1 : start], "big") != size:
                return None
            at = start + size
            columns.append(whole[start:at])
        return OpenChunk(_writer(writer), int(number), counts, *columns) if at <= len(whole) else None
    except (ValueError, TypeError, LookupError, OverflowError, msgpack.UnpackException):
        return None


def _writer(found: Any) -> bytes:
    if type(found) is not bytes:  # of a number, `bytes` would make as many zeros
        raise TypeError(f"a writer is bytes, found {found!r:.50}")
    return found


def _packed(fields: Sequence[Any]) -> bytes:
    return bytes(msgpack.packb(fields, unicode_errors="surrogatepass"))


def _fields(payload: Buffer, count: int) -> Sequence[Any]:
    """The fields behind the version; what a later minor release added at the end is left out."""
    try:
        fields = msgpack.unpackb(payload, use_list=False, unicode_errors="surrogatepass", strict_map_key=False)
        version = fields[0]
        if type(version) is not int or len(fields) <= count:
            raise TypeError("it has too few fields")
    except (ValueError, TypeError, IndexError, KeyError) as error:
        raise IntegrityError(f"a record of a run cannot be parsed: {error}") from error
    if version > VERSION:
        raise FormatVersionError(
            f"A record of a run has format {version}, this release reads up to {VERSION}. Upgrade mlflowish; nothing "
            "was changed.",
            found=version,
            supported=VERSION,
        )
    return tuple(fields[1 : count + 1])


def _little(column: array[Any]) -> bytes:
    if sys.byteorder == "little":
        return column.tobytes()
    swapped = array(column.typecode, column)
    swapped.byteswap()
    return swapped.tobytes()


def _array(typecode: str, data: bytes) -> array[Any]:
    column: array[Any] = array(typecode)
    column.frombytes(data)
    if sys.byteorder == "big":
        column.byteswap()
    return column
