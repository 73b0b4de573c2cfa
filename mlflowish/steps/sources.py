"""Which arguments of a call were results of other calls: the very objects, not equal ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from mlflowish.steps.provenance import SHARED, producer_of

_MEMBERS = 64
Source = tuple[str, str, str]


def sources_of(names: Sequence[str], values: Sequence[Any]) -> tuple[Source, ...]:
    """(argument, place in it, key of the call) for each argument that a call of this process returned, or that is a
    list, tuple or dict with such members. The place is '' when all of the argument is from such calls, as far as it is
    more than numbers and texts; else where the member stands, such as '[0]'."""
    return tuple(
        (name, place, key)
        for name, value in zip(names, values, strict=True)
        if type(value) not in SHARED
        for place, key in _producers(value)
    )


def _producers(value: Any) -> Iterable[tuple[str, str]]:
    key = producer_of(value)
    if key is not None:
        return [("", key)]
    members = [(place, producer_of(member)) for place, member in _members(value) if type(member) not in SHARED]
    found = {place: key for place, key in members if key is not None}
    if members and len(found) == len(members):
        return [("", key) for key in dict.fromkeys(found.values())]
    return found.items()


def _members(value: Any) -> Iterator[tuple[str, Any]]:
    """What small plain containers hold, and where."""
    if type(value) in (list, tuple) and len(value) <= _MEMBERS:
        yield from ((f"[{number}]", member) for number, member in enumerate(value))
    elif type(value) is dict and len(value) <= _MEMBERS:
        yield from ((f"[{_named(name)}]", member) for name, member in value.items())


def _named(key: Any) -> str:
    # The repr of a key of the user's own is the user's code.
    return f"{key!r:.60}" if type(key) in SHARED else type(key).__name__
