"""Runs into columns, one at a time."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Iterator
from itertools import repeat

import numpy as np

from mlflowish.tracking.folding import RunRecord
from mlflowish.tracking.table.columns import (
    ATTRIBUTES,
    DATASET,
    IS_DELETED,
    IS_NO_RUN,
    OPEN,
    Array,
    Columns,
    TextColumn,
    ordered,
    packed,
    place_of,
)
from mlflowish.tracking.table.plain import Plain

_ATTRIBUTES = tuple("attributes." + name for name in ATTRIBUTES)
_DATASETS, _FIRSTS = (tuple(f"{where}.{name}" for name in DATASET) for where in ("datasets", "first"))


class Builder:
    """Takes in runs, one at a time."""

    def __init__(self) -> None:
        self._ids = bytearray()
        self._fixed: list[tuple[int, int, int, float, float]] = []
        self._number_rows, self._numbers, self._values = array("I"), array("I"), array("d")
        self._known_numbers = _Places()
        self._params, self._tags, self._others = _Pairs("params."), _Pairs("tags."), _Pairs("")

    def __len__(self) -> int:
        return len(self._fixed)

    @property
    def text_bytes(self) -> int:
        """Of all texts that it holds, each once; about."""
        params, tags, others = self._params.known_values, self._tags.known_values, self._others.known_values
        return params.size_bytes + tags.size_bytes + others.size_bytes

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
            self._add_numbers(row, points, (last.value for last in points.values()))
        self._params.add(row, record.params, record.params.values())
        self._tags.add(row, record.tags, record.tags.values())
        self._add_others(row, zip(_ATTRIBUTES, _attributes(record), strict=True))
        for place, data in enumerate(record.datasets):
            values = data.name, data.digest, data.context
            self._add_others(row, zip(_DATASETS, values, strict=True))
            if not place:
                self._add_others(row, zip(_FIRSTS, values, strict=True))
        places = sorted({place_of(session.process) for session in record.sessions if session.ended_us is None})
        self._add_others(row, ((OPEN, text) for text in places))

    def add_plain(self, run_id: bytes, run: Plain, *, size_bytes: int) -> None:
        """A run of one record, as `plain_run` told it."""
        row = len(self._fixed)
        self._ids += run_id
        self._fixed.append((0, 1, size_bytes, run.start_s, run.end_s))
        self._add_numbers(row, run.metrics, run.metrics.values())
        self._params.add(row, run.params, run.params.values())
        self._tags.add(row, run.tags, run.tags.values())
        values = run.name, run.experiment, run.status, run.user, run.parent_id, run.host
        self._add_others(row, zip(_ATTRIBUTES, values, strict=True))

    def finished(self) -> Columns:
        """All of them, in order."""
        flags, records, sizes, start, end = zip(*self._fixed, strict=True)
        numbers = np.frombuffer(self._values, np.float64)
        columns = Columns(
            np.frombuffer(bytes(self._ids), "S16"),
            np.array(flags, np.uint8),
            np.array(records, np.uint32),
            np.array(sizes, np.uint64),
            np.array(start, np.float64),
            np.array(end, np.float64),
            {
                name: (rows, numbers[chosen])
                for name, rows, chosen in _split(self._known_numbers, self._numbers, self._number_rows)
            },
            {name: text for pairs in (self._params, self._tags, self._others) for name, text in pairs.finished()},
        )
        return ordered(columns)

    def _add_numbers(self, row: int, names: Collection[str], values: Iterable[float]) -> None:
        self._number_rows.extend(repeat(row, len(names)))
        self._numbers.extend(map(self._known_numbers.__getitem__, names))
        self._values.extend(values)

    def _add_others(self, row: int, pairs: Iterable[tuple[str, str | None]]) -> None:
        known = [(name, value) for name, value in pairs if value is not None]
        self._others.add(row, [name for name, _ in known], [value for _, value in known if value is not None])


class _Places(dict[str, int]):
    """Texts and their places in the order in which they first came: `places[text]`. `size_bytes`: of all, about."""

    size_bytes = 0

    def __missing__(self, text: str) -> int:
        place = self[text] = len(self)
        self.size_bytes += len(text)
        return place


class _Pairs:
    """Named values of rows, as they come: texts by their place, so that adding them costs no loop of ours."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self._rows, self._names, self._values = array("I"), array("I"), array("I")
        self._known_names, self.known_values = _Places(), _Places()

    def add(self, row: int, names: Collection[str], values: Iterable[str]) -> None:
        self._rows.extend(repeat(row, len(names)))
        self._names.extend(map(self._known_names.__getitem__, names))
        self._values.extend(map(self.known_values.__getitem__, values))

    def finished(self) -> Iterator[tuple[str, TextColumn]]:
        """Each name with the column of its values."""
        values = [packed(value) for value in self.known_values]
        places = np.frombuffer(self._values, np.uint32)
        for name, rows, chosen in _split(self._known_names, self._names, self._rows):
            used, codes = np.unique(places[chosen], return_inverse=True)
            texts = [values[place] for place in used.tolist()]
            order = sorted(range(len(texts)), key=texts.__getitem__)
            ranks = np.empty(len(texts), np.uint32)
            ranks[order] = np.arange(len(texts), dtype=np.uint32)
            yield self.prefix + name, TextColumn(rows, ranks[codes], [texts[place] for place in order])


def _split(known: _Places, names: array[int], rows: array[int]) -> Iterator[tuple[str, Array, Array]]:
    """Each name, the rows that have it, in the order in which they came, and where among all."""
    of = np.frombuffer(names, np.uint32)
    order = np.argsort(of, kind="stable")
    ends = np.cumsum(np.bincount(of, minlength=len(known))).tolist() if len(known) else []
    all_rows = np.frombuffer(rows, np.uint32)
    for name, start, end in zip(known, [0, *ends], ends):  # noqa: B905  # one start more
        chosen = order[start:end]
        yield name, all_rows[chosen], chosen


def _attributes(record: RunRecord) -> tuple[str | None, ...]:
    return record.name, record.experiment, record.status, record.user, record.parent_id, record.host
