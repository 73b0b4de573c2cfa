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
from mlflowish.tracking.folding import RunRecord
from mlflowish.tracking.search import value_of

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


def grouped(records: Sequence[RunRecord], fields: Sequence[str], aggregates: Mapping[str, Any]) -> Table:
    """Rows in the order of the groups' values, groups without a value last. NaN counts for `count`, `first` and `last`
    only; a group without any value has None."""
    if not fields:
        raise InvalidInputError("group_by takes the fields whose values make a group, such as 'params.model'")
    keys = [parse_field(text) for text in fields]
    asked = {name: _aggregate(name, text) for name, text in aggregates.items()}
    groups: dict[tuple[Any, ...], list[RunRecord]] = {}
    for record in records:
        groups.setdefault(tuple(value_of(record, key) for key in keys), []).append(record)
    ordered = sorted(
        groups.items(), key=lambda item: [(value is None, str(type(value)), value or 0) for value in item[0]]
    )
    rows = [
        (*values, len(found), *(_number(found, function, field) for function, field in asked.values()))
        for values, found in ordered
    ]
    return Table((*fields, "runs", *asked), rows)


def _rank(value: Any) -> tuple[Any, ...]:
    return (2,) if value is None else (1, value) if isinstance(value, str) else (0, value)


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


def _number(records: Sequence[RunRecord], function: str, field: Field) -> Any:
    values = [value for record in records if (value := value_of(record, field)) is not None]
    if function in _ANY:
        return _ANY[function](values) if values or function == "count" else None
    numbers = [value for value in values if isinstance(value, (int, float)) and not math.isnan(value)]
    return _NUMBERS[function](numbers) if numbers else None
