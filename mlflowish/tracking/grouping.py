"""Runs in groups: one row for each combination of values, and numbers about each group."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mlflowish.errors import InvalidInputError, nearest
from mlflowish.store import Table
from mlflowish.tracking.filters import Field, parse_field
from mlflowish.tracking.search import Found

_CALL = re.compile(r"\s*([A-Za-z]+)\s*\(\s*(.+?)\s*\)\s*\Z", re.DOTALL)
Number = Callable[[Sequence[Any]], Any]
_NUMBERS: dict[str, Number] = {
    "min": min,
    "max": max,
    "mean": statistics.fmean,
    "median": statistics.median,
    "sum": math.fsum,
}
_ANY: dict[str, Number] = {"count": len, "first": lambda values: values[0], "last": lambda values: values[-1]}


def grouped(found: Found, fields: Sequence[str], aggregates: Mapping[str, Any]) -> Table:
    """Rows in the order of the groups' values, groups without a value last. NaN counts for `count`, `first` and `last`
    only; a group without any value has None."""
    if not fields:
        raise InvalidInputError("group_by takes the fields whose values make a group, such as 'params.model'")
    keys = [parse_field(text) for text in fields]
    asked = {name: _aggregate(name, text) for name, text in aggregates.items()}
    groups: dict[tuple[Any, ...], list[int]] = {}
    for at, values in enumerate(zip(*(found.column(key) for key in keys), strict=True)):
        groups.setdefault(values, []).append(at)
    ordered = sorted(
        groups.items(), key=lambda item: [(value is None, str(type(value)), value or 0) for value in item[0]]
    )
    columns = {name: (function, found.column(field)) for name, (function, field) in asked.items()}
    rows = [
        (*values, len(members), *(_number([column[at] for at in members], each) for each, column in columns.values()))
        for values, members in ordered
    ]
    return Table((*fields, "runs", *asked), rows)


def _aggregate(name: str, text: Any) -> tuple[str, Field]:
    match = _CALL.match(text) if isinstance(text, str) else None
    if match is None:
        raise InvalidInputError(f"{name}={text!r}: an aggregate is a text such as 'min(metrics.loss)'", found=text)
    function, field = match[1].lower(), parse_field(match[2])
    if function not in _NUMBERS and function not in _ANY:
        near = ", ".join(nearest(function, (*_NUMBERS, *_ANY), limit=8))
        raise InvalidInputError(f"{name}={text!r}: there is no aggregate {function}; there are {near}", found=function)
    if function in _NUMBERS and not field.is_numeric:
        raise InvalidInputError(f"{name}={text!r}: {field} holds text; it has count, first and last", found=text)
    return function, field


def _number(column: Sequence[Any], function: str) -> Any:
    values = [value for value in column if value is not None]
    if function in _ANY:
        return _ANY[function](values) if values or function == "count" else None
    numbers = [value for value in values if isinstance(value, (int, float)) and not math.isnan(value)]
    return _NUMBERS[function](numbers) if numbers else None
