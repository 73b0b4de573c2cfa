"""What units are joined and grouped by: their keys, what a regular expression finds in their names, or a function."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from mlflowish.errors import InvalidInputError
from mlflowish.units.unit import Unit

By = str | Sequence[str] | re.Pattern[str] | Callable[[Unit], Any] | None
Match = tuple[tuple[str, ...], tuple[Any, ...]]
"""The names of what a unit is matched by ('' where it has none), and the values."""


def matcher(by: By, inputs: Sequence[Sequence[Unit]], *, what: str) -> Callable[[Unit], Match]:
    """What gives the match of each unit of these inputs; `what` is the option that `by` was given as."""
    if isinstance(by, re.Pattern) or (isinstance(by, str) and "(" in by):
        return _by_expression(re.compile(by), what)
    if callable(by):
        return lambda unit: (("",), (by(unit),))
    names = _common_keys(inputs, what) if by is None else [by] if isinstance(by, str) else list(by)
    return _by_keys(names, what)


def title(match: Match) -> str:
    """The name of what has this in common."""
    return "/".join(f"{name}={value}" if name else str(value) for name, value in zip(*match, strict=True))


def keys_of(match: Match) -> dict[str, Any]:
    """The keys of what has this in common."""
    return {name: value for name, value in zip(*match, strict=True) if name}


def ordered(value: Any) -> tuple[str, Any]:
    """To sort by: values of one kind by themselves, kinds by name: what cannot be compared is not."""
    kind = "number" if isinstance(value, (int, float)) and value == value else type(value).__name__
    return kind, value if isinstance(value, (int, float, str)) and value == value else str(value)


def _by_keys(names: list[str], what: str) -> Callable[[Unit], Match]:
    def match(unit: Unit) -> Match:
        missing = [name for name in names if name not in unit.keys]
        if missing:
            known = ", ".join(unit.keys) or "none"
            raise InvalidInputError(
                f"{what}={names if len(names) > 1 else names[0]!r}: the unit {unit.name} has no key {missing[0]!r} "
                f"(its keys: {known}). Name that part of the path in the pattern, files('{{{missing[0]}}}.csv'), or "
                f"give {what}= a regular expression with a group, or a function of the unit.",
                unit=unit.name,
                missing=missing,
            )
        return tuple(names), tuple(unit.keys[name] for name in names)

    return match


def _by_expression(expression: re.Pattern[str], what: str) -> Callable[[Unit], Match]:
    named = {number: name for name, number in expression.groupindex.items()}
    names = tuple(named.get(number, "") for number in range(1, expression.groups + 1))
    if not names:
        raise InvalidInputError(f"{what}={expression.pattern!r} has no group: put what counts in parentheses")

    def match(unit: Unit) -> Match:
        found = expression.search(unit.name)
        if found is None:
            raise InvalidInputError(
                f"{what}={expression.pattern!r} finds nothing in the name of the unit {unit.name}. Mend it, or leave "
                "such units out with .filter(...)",
                unit=unit.name,
            )
        return names, found.groups()

    return match


def _common_keys(inputs: Sequence[Sequence[Unit]], what: str) -> list[str]:
    first = [next(iter(units)) for units in inputs if len(units)]
    common = [name for name in first[0].keys if all(name in unit.keys for unit in first)] if first else []
    if first and not common:
        raise InvalidInputError(
            f"These inputs have no keys in common: name a part of both patterns, "
            f'files("images/{{id}}.png") and files("labels/{{id}}.txt"), or say {what}='
        )
    return common or [""]
