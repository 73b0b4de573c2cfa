"""What a search asks for, as a small tree: from the text of a filter (filter.lark), and against one run.

MLflow's language (https://mlflow.org/docs/latest/ml/search/search-runs/) with OR, NOT and parentheses. Pure.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from mlflowish.errors import InvalidInputError, nearest

Kind = Literal["metric", "param", "tag", "attribute", "dataset"]
Value = str | float | bool | None

_KINDS: dict[str, Kind] = {
    **dict.fromkeys(("metric", "metrics"), "metric"),
    **dict.fromkeys(("param", "params", "parameter", "parameters"), "param"),
    **dict.fromkeys(("tag", "tags"), "tag"),
    **dict.fromkeys(("attribute", "attributes", "attr", "run"), "attribute"),
    **dict.fromkeys(("dataset", "datasets"), "dataset"),
}
_NUMERIC = frozenset({"start_time", "end_time", "duration"})
# The field's names for the same thing, and MLflow's spellings.
_ATTRIBUTES = {
    "run_id": "run_id",
    "id": "run_id",
    "run_name": "run_name",
    "name": "run_name",
    "run name": "run_name",
    "status": "status",
    "experiment": "experiment",
    "experiment_name": "experiment",
    "user": "user",
    "user_id": "user",
    "start_time": "start_time",
    "created": "start_time",
    "end_time": "end_time",
    "duration": "duration",
    "parent_id": "parent_id",
    "parent_run_id": "parent_id",
    "host": "host",
}
_DATASET = ("name", "digest", "context")
_EXAMPLE = "for example: metrics.loss < 0.2 and params.lr = '0.1' and tags.team = 'x'"


class Searchable(Protocol):
    """What a filter can ask a run about."""

    def values(self, field: Field) -> tuple[Value, ...]:
        """What stands in a field: () if nothing does, several values for datasets."""


@dataclass(frozen=True, slots=True)
class Field:
    """Where a value stands: `metrics.loss`, `params."batch size"`, `status`."""

    kind: Kind
    key: str

    @property
    def is_numeric(self) -> bool:
        """Does it hold numbers?"""
        return self.kind == "metric" or (self.kind == "attribute" and self.key in _NUMERIC)

    def __str__(self) -> str:
        key = self.key if re.fullmatch(r"[A-Za-z_][\w/.-]*", self.key) else f"`{self.key}`"
        return key if self.kind == "attribute" else f"{self.kind}s.{key}"


@dataclass(frozen=True, slots=True)
class Test:
    """A field compared with what was written; true if one of its values fits. What has no value fits nothing but
    `is null`."""

    field: Field
    operator: str
    operand: Any

    def __call__(self, run: Searchable) -> bool:
        fits = _TESTS[self.operator]
        found = run.values(self.field)
        if self.operator in ("is null", "is not null"):
            return bool(found) == (self.operator == "is not null")
        return any(fits(value, self.operand) for value in found if value is not None)


@dataclass(frozen=True, slots=True)
class All:
    """Every one of these."""

    of: tuple[Filter, ...]

    def __call__(self, run: Searchable) -> bool:
        return all(one(run) for one in self.of)


@dataclass(frozen=True, slots=True)
class Some:
    """At least one of these."""

    of: tuple[Filter, ...]

    def __call__(self, run: Searchable) -> bool:
        return any(one(run) for one in self.of)


@dataclass(frozen=True, slots=True)
class Not:
    """The contrary."""

    of: Filter

    def __call__(self, run: Searchable) -> bool:
        return not self.of(run)


Filter = Test | All | Some | Not
EVERYTHING: Filter = All(())


@functools.lru_cache(maxsize=256)
def parse_filter(text: str) -> Filter:
    """The filter that a text means; InvalidInputError shows the place where it stops making sense."""
    from lark.exceptions import LarkError, UnexpectedInput, VisitError

    try:
        found: Filter | None = _builder().transform(_parser().parse(text))
    except VisitError as error:
        if isinstance(error.orig_exc, InvalidInputError):
            raise error.orig_exc from None
        raise
    except UnexpectedInput as error:
        is_at_end = getattr(getattr(error, "token", None), "type", "") == "$END"
        raise _unreadable(text, None if is_at_end else error.pos_in_stream) from error
    except LarkError as error:
        raise _unreadable(text, None) from error
    return EVERYTHING if found is None else found


def parse_field(text: str) -> Field:
    """The field that a text such as `metrics.loss` names."""
    stripped = text.strip()
    head, dot, rest = stripped.partition(".")
    if not dot:
        return _field([stripped.strip('`"')])
    return _field([head, rest[1:-1] if len(rest) > 1 and rest[0] == rest[-1] and rest[0] in "`\"'" else rest])


@functools.lru_cache(maxsize=256)
def parse_order(text: str) -> tuple[Field, bool]:
    """The field to order by, and whether downwards: `metrics.loss desc`."""
    match = re.fullmatch(r"\s*(.+?)(?:\s+(asc|desc))?\s*", text, re.IGNORECASE | re.DOTALL)
    if match is None:
        raise InvalidInputError(f"order_by takes texts such as 'metrics.loss desc', found {text!r}", found=text)
    return parse_field(match[1]), (match[2] or "asc").lower() == "desc"


def _field(parts: list[str]) -> Field:
    head, rest = parts[0], ".".join(parts[1:])
    kind = _KINDS.get(head.lower()) if rest else None
    if kind is None and rest:
        known = ("metrics", "params", "tags", "attributes", "datasets")
        near = nearest(head, known, limit=1)[0]
        raise InvalidInputError(
            f"{'.'.join(parts)!r}: a search asks for {', '.join(known)}; the nearest is {near}; {_EXAMPLE}", found=head
        )
    if kind == "dataset" and rest not in _DATASET:
        raise InvalidInputError(f"datasets.{rest}: of a dataset there is {', '.join(_DATASET)}", found=rest)
    if kind in (None, "attribute"):
        key = _ATTRIBUTES.get((rest or head).lower())
        if key is None:
            near = ", ".join(nearest(rest or head, _ATTRIBUTES, limit=3))
            raise InvalidInputError(
                f"{rest or head!r} is no attribute of a run; the nearest are {near}. A metric, param or tag is written "
                f"with its kind: metrics.{rest or head}",
                found=rest or head,
            )
        return Field("attribute", key)
    assert kind is not None
    return Field(kind, rest)


def _unreadable(text: str, position: int | None) -> InvalidInputError:
    place = len(text.rstrip()) if position is None or position < 0 else position
    word = re.match(r"\S{0,30}", text[place:])
    found = repr(word[0]) if word and word[0] else "its end"
    hint = " Compare with a single '='." if text[place : place + 1] == "=" else ""
    return InvalidInputError(
        f"The filter {_short(text)!r} cannot be read at {found} (character {place + 1}):{hint} {_EXAMPLE}",
        found=text,
        position=place,
    )


def _short(text: str) -> str:
    return text if len(text) <= 200 else text[:197] + "..."


@functools.cache
def _parser() -> Any:
    from importlib.resources import files

    from lark import Lark

    return Lark(files(__package__).joinpath("filter.lark").read_text("utf-8"), parser="lalr", maybe_placeholders=True)


@functools.cache
def _builder() -> Any:
    from lark import Transformer

    class Builder(Transformer[Any, Filter]):
        """Nodes of the grammar to filters."""

        def either(self, found: list[Filter]) -> Filter:
            return Some(tuple(found))

        def both(self, found: list[Filter]) -> Filter:
            return All(tuple(found))

        def no(self, found: list[Filter]) -> Filter:
            return Not(found[0])

        def part(self, found: list[Any]) -> str:
            text = str(found[0])
            return _unquoted(text) if text[0] in "'\"" else text.strip("`")

        def field(self, found: list[Any]) -> Field:
            return _field([str(part) for part in found])

        def text(self, found: list[Any]) -> str:
            return _unquoted(str(found[0]))

        def number(self, found: list[Any]) -> float:
            return float(found[0])

        def truth(self, found: list[Any]) -> str:
            return str(found[0]).lower()

        def compare(self, found: list[Any]) -> Test:
            field, operator, operand = found
            return Test(field, str(operator), _operand(field, str(operator), operand))

        def like(self, found: list[Any]) -> Test:
            return _like(found[0], str(found[1]).lower(), found[2])

        def unlike(self, found: list[Any]) -> Filter:
            return All((Test(found[0], "is not null", None), Not(_like(found[0], str(found[1]).lower(), found[2]))))

        def within(self, found: list[Any]) -> Test:
            values = [value for value in found[1:] if value is not None]
            return Test(found[0], "in", tuple(_operand(found[0], "=", value) for value in values))

        def without(self, found: list[Any]) -> Filter:
            return All((Test(found[0], "is not null", None), Not(self.within(found))))

        def absent(self, found: list[Any]) -> Test:
            return Test(found[0], "is null", None)

        def present(self, found: list[Any]) -> Test:
            return Test(found[0], "is not null", None)

    return Builder()


def _operand(field: Field, operator: str, operand: Any) -> Any:
    if field.is_numeric:
        try:
            return float(operand)
        except ValueError:
            raise InvalidInputError(
                f"{field} holds numbers, and is compared with {operand!r}; write {field} {operator} 0.5", found=operand
            ) from None
    if isinstance(operand, float):
        raise InvalidInputError(
            f"{field} holds text, and is compared with the number {operand:g}; write {field} {operator} '{operand:g}'",
            found=operand,
        )
    if operator not in ("=", "!="):
        raise InvalidInputError(
            f"{field} holds text, which is compared with =, !=, LIKE, ILIKE and IN, not with {operator}", found=operator
        )
    return operand.upper() if field == Field("attribute", "status") else operand


def _like(field: Field, operator: str, pattern: str) -> Test:
    if field.is_numeric:
        raise InvalidInputError(f"{field} holds numbers: {operator.upper()} compares text", found=pattern)
    return Test(field, operator, pattern)


def _unquoted(text: str) -> str:
    quote = text[0]
    return re.sub(r"\\(.)", r"\1", text[1:-1].replace(quote * 2, quote))


@functools.lru_cache(maxsize=1024)
def like_pattern(text: str, *, ignores_case: bool) -> re.Pattern[str]:
    """SQL's LIKE: % is any text, _ any character."""
    parts = {"%": ".*", "_": "."}
    whole = "".join(parts.get(char) or re.escape(char) for char in text)
    return re.compile(whole, re.DOTALL | (re.IGNORECASE if ignores_case else 0))


def _same(value: Any, operand: Any) -> bool:
    both_nan = isinstance(value, float) and isinstance(operand, float) and math.isnan(value) and math.isnan(operand)
    return both_nan or value == operand


_TESTS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": _same,
    "!=": lambda value, operand: not _same(value, operand),
    ">": lambda value, operand: value > operand,
    ">=": lambda value, operand: value >= operand,
    "<": lambda value, operand: value < operand,
    "<=": lambda value, operand: value <= operand,
    "like": lambda value, operand: like_pattern(operand, ignores_case=False).fullmatch(value) is not None,
    "ilike": lambda value, operand: like_pattern(operand, ignores_case=True).fullmatch(value) is not None,
    "in": lambda value, operand: any(_same(value, each) for each in operand),
    "is null": lambda value, operand: False,
    "is not null": lambda value, operand: True,
}
