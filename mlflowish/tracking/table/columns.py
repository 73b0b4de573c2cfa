"""Runs as sparse columns: for each name the rows that have a value, and the values. In memory, before they rest.

A text column names its values by their place in a sorted list without duplicates, so that comparing places is comparing
values. Texts are UTF-8 with surrogates passed through: the order of such bytes is the order of the texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

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


def here() -> bytes:
    """The place of this process, as it stands in the column `OPEN`."""
    from mlflowish.tracking.host import this_process

    return packed(place_of(this_process()))


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


def place_of(process: Any) -> str:
    """Where a process is, as it stands in the column `OPEN`."""
    return f"{process.machine}/{process.host}"
