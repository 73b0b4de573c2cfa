"""What a body gave to steps and must not change afterwards: they run when the body has ended, and read it then.

Containers are copied when they are given. An array or a frame is too large for that: its digest is taken, and once more
when the body has ended.

What a body was given itself it may change. Then its arguments do not say what it does: `p(a, a)` is another matter than
`p([1], [1])` if one list is appended to and the other read.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

from mlflowish.errors import InvalidInputError, MlflowishError
from mlflowish.hashing import digest
from mlflowish.hashing.plain import MAX_DEPTH, plain_digest

Place = tuple[str, int]
_CONTAINERS = frozenset({list, tuple, dict})
FIXED = frozenset({int, float, complex, str, bytes, bool, type(None), slice, range})
# Code is a part of the fingerprint or of no digest at all.
_CODE = (type, FunctionType, MethodType, BuiltinFunctionType, ModuleType)


class Given:
    """The objects that a body gave, as they were then."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Any, bytes, Place]] = {}  # by identity; holding them keeps that theirs

    def note(self, value: Any, place: Callable[[], Place]) -> None:
        """Remember what an object is, if it can change and has a digest; `place` says where the body gave it."""
        if type(value) in FIXED or id(value) in self._known or not _can_change(value):
            return
        now = digest_of(value)
        if now is not None:
            self._known[id(value)] = value, now, place()

    def check(self, pipeline: str) -> None:
        """InvalidInputError if the body has changed one of them since."""
        for value, then, (file, line) in self._known.values():
            if digest_of(value) != then:
                raise InvalidInputError(
                    f"The body of {pipeline} gives a {type(value).__name__} to a step ({os.path.basename(file)}, line "
                    f"{line}) and changes it afterwards. Steps run when the body has ended, and would see the change: "
                    "give them a copy.",
                    pipeline=pipeline,
                    file=file,
                    line=line,
                )


def copied(value: Any, depth: int = 0) -> Any:
    """The containers in a value anew, and what they hold as it is."""
    if type(value) not in _CONTAINERS or depth > MAX_DEPTH:
        return value
    if type(value) is dict:
        return {name: copied(each, depth + 1) for name, each in value.items()}
    return type(value)([copied(each, depth + 1) for each in value])


def is_as_it_was(value: Any, before: Any, depth: int = 0) -> bool:
    """Do the containers hold the very objects, in the very order, that they held when the copy was made?"""
    if type(value) is not type(before):
        return False
    if type(value) not in _CONTAINERS or depth > MAX_DEPTH:
        return value is before
    if len(value) != len(before):
        return False
    if type(value) is dict:
        pairs = [*zip(value, before, strict=True), *zip(value.values(), before.values(), strict=True)]
    else:
        pairs = list(zip(value, before, strict=True))
    return all(is_as_it_was(now, then, depth + 1) for now, then in pairs)


def _can_change(value: Any) -> bool:
    # Ours stand for content that rests elsewhere (a file, a model), or have none.
    return not isinstance(value, _CODE) and type(value).__module__.partition(".")[0] != "mlflowish"


def digest_of(value: Any) -> bytes | None:
    """What a value is now; None if it has no digest."""
    try:
        return plain_digest(value) or digest(value)
    except MlflowishError:
        return None
