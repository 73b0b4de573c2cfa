"""A filter against the columns of a part: which rows fit. What `filters` says of one run, said of all at once."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mlflowish.tracking.filters import All, Field, Filter, Not, Some, Test, like_pattern
from mlflowish.tracking.table.columns import Array, packed, unpacked
from mlflowish.tracking.table.part import Part, Text, binaries

_NUMBERS: dict[str, Callable[[Any, Any], Any]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
_PLURALS = {"param": "params.", "tag": "tags.", "attribute": "attributes.", "dataset": "datasets."}


def matching(part: Part, wanted: Filter) -> Array:
    """For each row whether it fits (bool)."""
    if isinstance(wanted, Test):
        return _tested(part, wanted)
    if isinstance(wanted, Not):
        return ~matching(part, wanted.of)
    is_all = isinstance(wanted, All)
    assert is_all or isinstance(wanted, Some)
    masks = (matching(part, each) for each in wanted.of)
    found = next(masks, None)
    if found is None:
        return np.full(len(part), is_all)
    combine = np.logical_and if is_all else np.logical_or
    for mask in masks:
        combine(found, mask, out=found)  # each mask is new, and nobody else's
    return found


def number_of(part: Part, field: Field) -> tuple[Array, Array] | None:
    """Rows that have a number in a numeric field, and the numbers; None if there are none."""
    if field.kind == "metric":
        return part.number(field.key)
    if field.key == "start_time":
        return np.arange(len(part)), part.start * 1000
    rows = np.flatnonzero(~np.isnan(part.end))
    return rows, part.end[rows] * 1000 if field.key == "end_time" else part.end[rows] - part.start[rows]


def text_of(part: Part, field: Field) -> Text | None:
    """The column of a field of texts; None if no row has one. Ids are in none."""
    return part.text(_PLURALS[field.kind] + field.key)


def is_id(field: Field) -> bool:
    """Is it the id of a run?"""
    return field.kind == "attribute" and field.key == "run_id"


def hex_ids(ids: Array) -> list[str]:
    """Ids as people write them."""
    digits = ids.tobytes().hex()
    return [digits[at : at + 32] for at in range(0, len(digits), 32)]


def _tested(part: Part, test: Test) -> Array:
    mask = np.zeros(len(part), bool)
    if test.field.is_numeric:
        found = number_of(part, test.field)
        if found is not None:
            rows, values = found
            mask[rows] = True if test.operator.startswith("is ") else _numbers_fit(values, test)
    elif is_id(test.field):
        mask[:] = True if test.operator.startswith("is ") else _ids_fit(part, test)
    else:
        text = text_of(part, test.field)
        if text is not None and test.operator.startswith("is "):
            mask[text.rows] = True
        elif text is not None:
            fits = _codes_fit(text, test)
            if test.field.kind == "dataset":  # a row comes again for each value
                mask[text.rows[fits]] = True
            else:
                mask[text.rows] = fits
    return ~mask if test.operator == "is null" else mask


def _numbers_fit(values: Array, test: Test) -> Array:
    if test.operator == "in":
        return np.asarray(np.logical_or.reduce([_same(values, each) for each in test.operand]))
    if test.operator in ("=", "!="):
        same = _same(values, test.operand)
        return same if test.operator == "=" else ~same
    found: Array = _NUMBERS[test.operator](values, test.operand)
    return found


def _same(values: Array, operand: float) -> Array:
    return np.isnan(values) if operand != operand else values == operand


def _ids_fit(part: Part, test: Test) -> Array:
    # No column of texts: of a million ids the text is made only when a filter asks for it.
    texts = hex_ids(part.ids)
    found = Text(np.empty(0), np.empty(0), binaries([packed(text) for text in texts]))
    if test.operator in ("like", "ilike"):
        return _matched(found, test.operand, ignores_case=test.operator == "ilike")
    wanted = set(test.operand if test.operator == "in" else [test.operand])
    mask = np.array([text in wanted for text in texts], bool)
    return ~mask if test.operator == "!=" else mask


def _codes_fit(text: Text, test: Test) -> Array:
    codes = text.codes
    if test.operator in ("=", "!=", "in"):
        found = [text.find(packed(each)) for each in (test.operand if test.operator == "in" else [test.operand])]
        wanted = [code for code in found if code >= 0]
        if test.operator == "!=":
            return codes != wanted[0] if wanted else np.ones(len(codes), bool)
        is_wanted: Array = codes == wanted[0] if len(wanted) == 1 else np.isin(codes, wanted)
        return is_wanted
    if (prefix := _prefix(test)) is not None:
        first, last = text.beginning(packed(prefix))
        return (codes >= first) & (codes < last)
    return _matched(text, test.operand, ignores_case=test.operator == "ilike")[codes]


def _prefix(test: Test) -> str | None:
    """What texts begin with that fit, if that is all that is asked."""
    head, tail = test.operand[:-1], test.operand[-1:]
    return head if test.operator == "like" and tail == "%" and not set(head) & set("%_") else None


def _matched(text: Text, pattern: str, *, ignores_case: bool) -> Array:
    """For each value of a column whether it fits a pattern of LIKE."""
    inner = pattern.strip("%")
    if not ignores_case and not set(inner) & set("%_") and pattern[:1] == "%" == pattern[-1:]:
        import pyarrow.compute as pc  # what it takes to import is not for every search

        found = pc.match_substring(text.values, packed(inner))
        return np.array(found.to_pylist(), bool)
    fits = like_pattern(pattern, ignores_case=ignores_case).fullmatch
    return _bools(text, lambda value: fits(unpacked(value)) is not None)


def _bools(values: Sequence[bytes], fits: Callable[[bytes], bool]) -> Array:
    return np.fromiter((fits(value) for value in values), bool, len(values))
