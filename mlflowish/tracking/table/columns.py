"""Runs as sparse columns: for each name the rows that have a value, and the values. In memory, before they rest.

A text column names its values by their place in a sorted list without duplicates, so that comparing places is comparing
values. Texts are UTF-8 with surrogates passed through: the order of such bytes is the order of the texts.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlflowish.tracking.folding import RunRecord

Array = npt.NDArray[Any]
IS_DELETED, IS_NO_RUN = 1, 2
ATTRIBUTES = ("run_name", "experiment", "status", "user", "parent_id", "host")
DATASET = ("name", "digest", "context")
OPEN = "open.on"  # where the processes of sessions are that nobody has ended


def packed(text: str) -> bytes:
    """A text as it rests."""
    return text.encode("utf-8", "surrogatepass")


def unpacked(data: bytes) -> str:
    """The text of such bytes."""
    return data.decode("utf-8", "surrogatepass")


@dataclass(frozen=True, slots=True)
class TextColumn:
    """Rows (uint32, ascending; a row may come again), and for each the place (uint32) of its value in `values`."""

    rows: Array
    codes: Array
    values: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Columns:
    """Rows of runs, by experiment and start. `ids` are 16 bytes; `records` and `sizes` say from how many records, of
    how many bytes, a row was folded; `start` and `end` are seconds, NaN for none."""

    ids: Array
    flags: Array
    records: Array
    sizes: Array
    start: Array
    end: Array
    numbers: dict[str, tuple[Array, Array]]
    texts: dict[str, TextColumn]

    def __len__(self) -> int:
        return len(self.ids)


class _Text:
    """A text column that grows."""

    __slots__ = ("codes", "places", "rows")

    def __init__(self) -> None:
        self.rows, self.codes = array("I"), array("I")
        self.places: dict[str, int] = {}

    def add(self, row: int, value: str) -> int:
        """The bytes that it grew by, about."""
        place = self.places.get(value)
        is_new = place is None
        if place is None:
            place = self.places[value] = len(self.places)
        self.rows.append(row)
        self.codes.append(place)
        return len(value) if is_new else 0

    def finished(self) -> TextColumn:
        values = [packed(value) for value in self.places]
        order = sorted(range(len(values)), key=values.__getitem__)
        ranks = np.empty(len(values), np.uint32)
        ranks[order] = np.arange(len(values), dtype=np.uint32)
        codes = ranks[np.frombuffer(self.codes, np.uint32)]
        return TextColumn(np.frombuffer(self.rows, np.uint32), codes, [values[place] for place in order])


class Builder:
    """Takes in runs, one at a time."""

    def __init__(self) -> None:
        self._ids = bytearray()
        self._fixed: list[tuple[int, int, int, float, float]] = []
        self._numbers: dict[str, tuple[array[int], array[float]]] = {}
        self._texts: dict[str, _Text] = {}
        self.text_bytes = 0

    def __len__(self) -> int:
        return len(self._fixed)

    def add(self, run_id: bytes, record: RunRecord | None, *, records: int = 0, size_bytes: int = 0) -> None:
        """A run, folded from so many records; None: what they tell of is no run (yet)."""
        row = len(self._fixed)
        self._ids += run_id
        if record is None:
            self._fixed.append((IS_NO_RUN, records, size_bytes, 0.0, np.nan))
            return
        end_s = np.nan if record.end_s is None else record.end_s
        self._fixed.append((IS_DELETED * record.is_deleted, records, size_bytes, record.start_s, end_s))
        for points in (record.metrics, record.hardware):
            for name, last in points.items():
                pair = self._numbers.get(name)
                if pair is None:
                    pair = self._numbers[name] = (array("I"), array("d"))
                pair[0].append(row)
                pair[1].append(last.value)
        add = self._add_text
        for name, text in record.params.items():
            add("params." + name, row, text)
        for name, text in record.tags.items():
            add("tags." + name, row, text)
        for key, value in zip(ATTRIBUTES, _attributes(record), strict=True):
            if value is not None:
                add("attributes." + key, row, value)
        for place, data in enumerate(record.datasets):
            for key, value in zip(DATASET, (data.name, data.digest, data.context), strict=True):
                if value is not None:
                    add("datasets." + key, row, value)
                    if not place:
                        add("first." + key, row, value)
        places = {_place(session.process) for session in record.sessions if session.ended_us is None}
        for text in sorted(places):
            add(OPEN, row, text)

    def finished(self) -> Columns:
        """All of them, in order."""
        flags, records, sizes, start, end = zip(*self._fixed, strict=True)
        columns = Columns(
            np.frombuffer(bytes(self._ids), "S16"),
            np.array(flags, np.uint8),
            np.array(records, np.uint32),
            np.array(sizes, np.uint64),
            np.array(start, np.float64),
            np.array(end, np.float64),
            {
                name: (np.frombuffer(rows, np.uint32), np.frombuffer(values, np.float64))
                for name, (rows, values) in self._numbers.items()
            },
            {name: text.finished() for name, text in self._texts.items()},
        )
        return ordered(columns)

    def _add_text(self, name: str, row: int, text: str) -> None:
        column = self._texts.get(name)
        if column is None:
            column = self._texts[name] = _Text()
        self.text_bytes += column.add(row, text)


def here() -> bytes:
    """The place of this process, as it stands in the column `OPEN`."""
    from mlflowish.tracking.host import this_process

    return packed(_place(this_process()))


def ordered(columns: Columns) -> Columns:
    """The same rows by experiment and start, so that those of an experiment lie side by side."""
    count = len(columns)
    experiments = np.full(count, -1, np.int64)
    known = columns.texts.get("attributes.experiment")
    if known is not None:
        experiments[known.rows] = known.codes
    order = np.lexsort((columns.start, experiments))
    places = np.empty(count, np.uint32)
    places[order] = np.arange(count, dtype=np.uint32)
    return _placed([columns], [places], count)


def joined(columns: Sequence[Columns], kept: Sequence[Array]) -> Columns:
    """The rows of several that `kept` (bool) says, as one."""
    places, count = [], 0
    for each in kept:
        place = np.cumsum(each, dtype=np.int64) + (count - 1)
        places.append(np.where(each, place, _NOWHERE).astype(np.uint32))
        count += int(each.sum())
    return ordered(_placed(columns, places, count))


def are_same(one: Columns, other: Columns) -> bool:
    """Do both say the same, of the same rows?"""
    fixed = (np.array_equal(getattr(one, name), getattr(other, name)) for name in ("ids", "flags", "records", "sizes"))
    times = (np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True) for name in ("start", "end"))
    if not all(fixed) or not all(times) or one.numbers.keys() != other.numbers.keys():
        return False
    return (
        one.texts.keys() == other.texts.keys()
        and all(
            np.array_equal(rows, other.numbers[name][0])
            and np.array_equal(values, other.numbers[name][1], equal_nan=True)
            for name, (rows, values) in one.numbers.items()
        )
        and all(
            np.array_equal(text.rows, other.texts[name].rows)
            and np.array_equal(text.codes, other.texts[name].codes)
            and list(text.values) == list(other.texts[name].values)
            for name, text in one.texts.items()
        )
    )


_NOWHERE = 0xFFFF_FFFF


def _placed(parts: Sequence[Columns], places: Sequence[Array], count: int) -> Columns:
    """Rows where `places` puts them."""

    def moved(field: str) -> Array:
        first = getattr(parts[0], field)
        found = np.empty(count, first.dtype)
        for part, place in zip(parts, places, strict=True):
            kept = place != _NOWHERE
            found[place[kept]] = getattr(part, field)[kept]
        return found

    numbers = {
        name: _numbers([(part.numbers[name], place) for part, place in _having(parts, places, "numbers", name)])
        for name in dict.fromkeys(name for part in parts for name in part.numbers)
    }
    texts = {
        name: _texts([(part.texts[name], place) for part, place in _having(parts, places, "texts", name)])
        for name in dict.fromkeys(name for part in parts for name in part.texts)
    }
    return Columns(
        moved("ids"),
        moved("flags"),
        moved("records"),
        moved("sizes"),
        moved("start"),
        moved("end"),
        {name: pair for name, pair in numbers.items() if len(pair[0])},
        {name: text for name, text in texts.items() if len(text.rows)},
    )


def _having(
    parts: Sequence[Columns], places: Sequence[Array], field: str, name: str
) -> Iterable[tuple[Columns, Array]]:
    return ((part, place) for part, place in zip(parts, places, strict=True) if name in getattr(part, field))


def _numbers(found: Sequence[tuple[tuple[Array, Array], Array]]) -> tuple[Array, Array]:
    rows = np.concatenate([place[pair[0]] for pair, place in found])
    values = np.concatenate([pair[1] for pair, _ in found])
    return _sorted(rows, values)


def _texts(found: Sequence[tuple[TextColumn, Array]]) -> TextColumn:
    """Only values that a row has are kept."""
    used = []
    for text, place in found:
        kept = place[text.rows] != _NOWHERE
        used.append((text, place[text.rows][kept], text.codes[kept]))
    seen = [(text, np.unique(codes)) for text, _, codes in used]
    values = sorted({text.values[code] for text, codes in seen for code in codes.tolist()})
    ranks = {value: rank for rank, value in enumerate(values)}
    moved = []
    for (text, codes), (_, _, old) in zip(seen, used, strict=True):
        new = np.array([ranks[text.values[code]] for code in codes.tolist()], np.uint32)
        moved.append(new[np.searchsorted(codes, old)])
    rows, codes = _sorted(np.concatenate([rows for _, rows, _ in used]), np.concatenate(moved))
    return TextColumn(rows, codes, values)


def _sorted(rows: Array, values: Array) -> tuple[Array, Array]:
    kept = rows != _NOWHERE
    if not kept.all():
        rows, values = rows[kept], values[kept]
    order = np.argsort(rows, kind="stable")  # what a row has several of stays in order
    return rows[order], values[order]


def _attributes(record: RunRecord) -> tuple[str | None, ...]:
    return record.name, record.experiment, record.status, record.user, record.parent_id, record.host


def _place(process: Any) -> str:
    return f"{process.machine}/{process.host}"
