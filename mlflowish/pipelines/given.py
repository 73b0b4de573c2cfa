"""What a body gave to steps and must not change afterwards: they run when the body has ended, and read it then.

Containers are copied when they are given. An array or a frame is too large for that: its digest is taken, and once more
when the body has ended.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

from mlflowish.errors import InvalidInputError, MlflowishError
from mlflowish.hashing import digest
from mlflowish.hashing.plain import plain_digest

Place = tuple[str, int]
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
        now = _digest_of(value)
        if now is not None:
            self._known[id(value)] = value, now, place()

    def check(self, pipeline: str) -> None:
        """InvalidInputError if the body has changed one of them since."""
        for value, then, (file, line) in self._known.values():
            if _digest_of(value) != then:
                raise InvalidInputError(
                    f"The body of {pipeline} gives a {type(value).__name__} to a step ({os.path.basename(file)}, line "
                    f"{line}) and changes it afterwards. Steps run when the body has ended, and would see the change: "
                    "give them a copy.",
                    pipeline=pipeline,
                    file=file,
                    line=line,
                )


def _can_change(value: Any) -> bool:
    # Ours stand for content that rests elsewhere (a file, a model), or have none.
    return not isinstance(value, _CODE) and type(value).__module__.partition(".")[0] != "mlflowish"


def _digest_of(value: Any) -> bytes | None:
    try:
        return plain_digest(value) or digest(value)
    except MlflowishError:
        return None
