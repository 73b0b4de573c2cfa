"""Rows of many parts in the order that a search asks for: as `search` orders runs, each field, then the newest, then
the id.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlflowish.tracking.filters import Field
from mlflowish.tracking.table.columns import Array
from mlflowish.tracking.table.matching import hex_ids, is_id, number_of
from mlflowish.tracking.table.part import Part, Text

Order = tuple[Field, bool]
_VALUE, _NAN, _MISSING = 0, 1, 2  # whatever the direction
# Of so few of the rows of a part that looking each of them up takes less time than laying out the column.
FEW = 16


def ordered(
    parts: Sequence[Part], found: Sequence[Array], orders: Sequence[Order], most: int | None
) -> tuple[Array, Array]:
    """The part and the row of each of the `most` first of the rows `found` in parts."""
    local = _Local()
    if most is not None:
        found = [_first(local, part, rows, orders, most) for part, rows in zip(parts, found, strict=True)]
    places = np.repeat(np.arange(len(parts)), [len(rows) for rows in found])
    rows = np.concatenate([np.empty(0, np.int64), *found]).astype(np.int64)
    keys: list[Array] = []
    for field, down in orders:
        keys += _across(local, parts, found, field, down)
    keys.append(_whole([-part.start[rows] for part, rows in zip(parts, found, strict=True)]))
    ids = np.concatenate([np.empty(0, "S16"), *(part.ids[rows] for part, rows in zip(parts, found, strict=True))])
    halves = ids.view(">u8").reshape(-1, 2).astype(np.uint64)
    order = np.lexsort((halves[:, 1], halves[:, 0], *reversed(keys)))[:most]
    return places[order], rows[order]


def first_text(part: Part, field: Field) -> Text | None:
    """The column of a field of texts with one value a run at most: of datasets, the first one's."""
    if field.kind == "dataset":
        return part.text(f"first.{field.key}")
    return part.text(f"{field.kind}s.{field.key}")


def _first(local: _Local, part: Part, rows: Array, orders: Sequence[Order], most: int) -> Array:
    """Some of the rows, among them the `most` first ones: each key decides on those that the one before left equal."""
    sure: list[Array] = []
    for key in _keys(local, part, orders):
        if len(rows) <= most or not most:
            break
        values = key(rows)
        last = np.partition(values, most - 1)[most - 1]
        before = rows[values < last]
        sure.append(before)
        rows, most = rows[values == last], most - len(before)
    return np.concatenate([*sure, rows])


class _Key:
    """What a row is sorted by within its part: small before large."""

    def __init__(self, local: _Local, part: Part, field: Field, down: bool, *, is_rank: bool) -> None:
        self._local, self._part, self._field, self._down, self._is_rank = local, part, field, down, is_rank

    def __call__(self, rows: Array) -> Array:
        ranks, values = self._local.of(self._part, self._field, self._down, rows)
        return ranks if self._is_rank else values


class _Newest:
    def __init__(self, part: Part) -> None:
        self._part = part

    def __call__(self, rows: Array) -> Array:
        found: Array = -self._part.start[rows]
        return found


def _keys(local: _Local, part: Part, orders: Sequence[Order]) -> list[_Key | _Newest]:
    keys: list[_Key | _Newest] = []
    for field, down in orders:
        keys += [_Key(local, part, field, down, is_rank=is_rank) for is_rank in (True, False)]
    return [*keys, _Newest(part)]


class _Local:
    """Ranks and values of fields in parts, each read once a search."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, Field], tuple[Array, Array]] = {}

    def of(self, part: Part, field: Field, down: bool, rows: Array) -> tuple[Array, Array]:
        """Rank (value, NaN, missing) and value of rows, texts by their place among those of the part."""
        name = id(part), field
        found = self._known.get(name)
        if found is None and len(rows) * FEW <= len(part) and (pair := _pair(part, field)) is not None:
            ranks, values = _looked_up(*pair, rows)
        else:
            if found is None:
                found = self._known[name] = _ranked(part, field)
            ranks, values = found[0][rows], found[1][rows]
        return ranks, -values if down else values


def _pair(part: Part, field: Field) -> tuple[Array, Array] | None:
    """Ascending rows and their values, where the part has them so: those of metrics and texts."""
    if field.kind == "metric":
        pair = part.number(field.key)
        return None if pair is None or not len(pair[0]) else pair
    text = None if field.is_numeric or is_id(field) else first_text(part, field)
    return None if text is None or not len(text.rows) else (text.rows, text.codes)


def _looked_up(its_rows: Array, its_values: Array, rows: Array) -> tuple[Array, Array]:
    """What `_ranked` says of some rows."""
    wanted = rows.astype(its_rows.dtype)  # else all of the column is converted
    places = np.searchsorted(its_rows, wanted)
    places[places == len(its_rows)] = 0
    values = its_values[places].astype(np.float64)
    ranks = np.where(its_rows[places] != wanted, _MISSING, np.where(np.isnan(values), _NAN, _VALUE)).astype(np.uint8)
    values[ranks != _VALUE] = 0.0
    return ranks, values


def _ranked(part: Part, field: Field) -> tuple[Array, Array]:
    values = np.zeros(len(part))
    ranks = np.full(len(part), _MISSING, np.uint8)
    if field.is_numeric:
        pair = number_of(part, field)
        if pair is not None:
            is_nan = np.isnan(pair[1])
            ranks[pair[0]] = np.where(is_nan, _NAN, _VALUE)
            values[pair[0]] = np.where(is_nan, 0.0, pair[1])
    elif is_id(field):
        ranks[:] = _VALUE
        values[part.by_id] = np.arange(len(part))
    else:
        text = first_text(part, field)
        if text is not None:
            ranks[text.rows] = _VALUE
            values[text.rows] = text.codes
    return ranks, values


def _across(memo: _Local, parts: Sequence[Part], found: Sequence[Array], field: Field, down: bool) -> list[Array]:
    """Rank and value of rows of all parts; a text is its place among the texts of all of them."""
    local = [memo.of(part, field, down, rows) for part, rows in zip(parts, found, strict=True)]
    ranks = np.concatenate([np.empty(0, np.uint8), *(each[0] for each in local)])
    if field.is_numeric:
        return [ranks, _whole([values for _, values in local])]
    seen = [np.unique(np.abs(values[ranked == _VALUE])).astype(np.int64) for ranked, values in local]
    texts = [_texts(part, field, codes) for part, codes in zip(parts, seen, strict=True)]
    order = {text: place for place, text in enumerate(sorted({text for each in texts for text in each}))}
    moved = []
    for codes, its_texts, (ranked, values) in zip(seen, texts, local, strict=True):
        places = np.array([order[text] for text in its_texts], np.float64)
        whole = np.zeros(len(values))
        has = ranked == _VALUE
        whole[has] = places[np.searchsorted(codes, np.abs(values[has]))]
        moved.append(-whole if down else whole)
    return [ranks, _whole(moved)]


def _texts(part: Part, field: Field, codes: Array) -> list[bytes]:
    if is_id(field):
        return [text.encode() for text in hex_ids(part.sorted_ids[codes])]
    text = first_text(part, field)
    return [] if text is None else [text[code] for code in codes.tolist()]


def _whole(arrays: Sequence[Array]) -> Array:
    return np.concatenate([np.empty(0), *arrays])
