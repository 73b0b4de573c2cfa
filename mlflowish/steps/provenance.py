"""Which call of this process returned an object: so that a registered model or a logged artifact can name it.

By identity, not by content. Weak references where the type has them: nothing is kept alive, and a dead object's id is
forgotten with it. Small plain lists, tuples and dicts have none: the last few are held, so that their ids cannot be
taken by others meanwhile. Numbers, texts and other values that Python shares between their users have no producer.
"""

from __future__ import annotations

import enum
import types
import weakref
from collections import deque
from typing import Any

SHARED = frozenset({int, float, complex, str, bytes, bool, type(None), range, type(...), type(NotImplemented)})
_CONTAINERS = (list, tuple, dict)
_PLACES = (type, enum.Enum, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, frozenset)
_HELD = 64
_SMALL_BYTES = 4096
_MEMBERS = 32
_PASSED_ON = 64

_weak: dict[int, tuple[weakref.ref[Any], str]] = {}
_held: deque[tuple[Any, str]] = deque(maxlen=_HELD)


def producer_of(value: Any) -> str | None:
    """The key (32 hex digits) of the step call of this process that returned exactly this object last; None if none
    is known.

    Also for a member of the tuple, list or dict that a call returned (`model, report = train(x)`), if it can be
    weakly referenced, as arrays, frames and models can. Of results without weak references only small plain lists,
    tuples and dicts are known, the last 64. An object that was changed since keeps its producer.

    >>> import mlflowish as mf
    >>> from mlflowish.steps.provenance import producer_of
    >>> @mf.step
    ... def shape(n):
    ...     return [n, n]
    >>> square = shape(3)
    >>> producer_of(square) == shape.call(3).key, producer_of([3, 3])
    (True, None)
    """
    if (found := _weak.get(id(value))) is not None and found[0]() is value:
        return found[1]
    return next((key for other, key in reversed(tuple(_held)) if other is value), None)


def producers_in(value: Any) -> tuple[tuple[Any, str], ...]:
    """Who made an argument that is about to be copied to another process, and who its members: (place, key), the place
    None for the argument itself."""
    if type(value) in SHARED:
        return ()
    if (key := producer_of(value)) is not None:
        return ((None, key),)
    if type(value) not in _CONTAINERS or len(value) > _PASSED_ON:
        return ()
    members = value.items() if type(value) is dict else enumerate(value)
    found = [(place, producer_of(member)) for place, member in members if type(member) not in SHARED]
    return tuple((place, key) for place, key in found if key is not None)


def pass_on(value: Any, producers: tuple[tuple[Any, str], ...]) -> None:
    """Say of a copy who made what it is a copy of."""
    for place, key in producers:
        made = value if place is None else value[place]
        if type(made) in _CONTAINERS:
            _held.append((made, key))
        _remember_weakly(made, key)


def remember(value: Any, key: str, *, codec: str, size_bytes: int) -> None:
    """This object was returned by the call of that key, and rests in `size_bytes` of its entry."""
    if type(value) in _CONTAINERS:
        if not value:
            return  # the empty tuple is one object for all
        if codec == "plain" and size_bytes <= _SMALL_BYTES:
            _held.append((value, key))
            return
        members = value.values() if type(value) is dict else value
        if len(value) <= _MEMBERS:
            for member in tuple(members):
                if (known := _weak.get(id(member))) is None or known[0]() is not member:
                    _remember_weakly(member, key)
        return
    _remember_weakly(value, key)


def _remember_weakly(value: Any, key: str) -> None:
    if type(value) in SHARED or isinstance(value, _PLACES):
        return
    place = id(value)

    def forget(dead: weakref.ref[Any]) -> None:
        if (found := _weak.get(place)) is not None and found[0] is dead:
            del _weak[place]

    try:
        _weak[place] = weakref.ref(value, forget), key
    except TypeError:  # a type without weak references
        return
