"""What a library keeps for a function that it wraps: the options and functions given to it, not its own working state.

A retry policy, a validator or a compiled function holds locks, caches and objects of other languages. Of those only
the type counts; plain options, functions and classes of the project, and further library objects that hold such, are
followed.
"""

from __future__ import annotations

import re
import types
from typing import TYPE_CHECKING, Any

from mlflowish.hashing import opaque
from mlflowish.hashing.constants import sized
from mlflowish.hashing.guards import MISSING
from mlflowish.hashing.leaves import module_of, project_class
from mlflowish.hashing.objects import recorder_of
from mlflowish.hashing.opaque import is_immutable

if TYPE_CHECKING:
    from mlflowish.hashing.walk import Walk

# Names under which libraries keep what changes with use.
_WORKING_STATE = re.compile(r"cache|memo|lock|stat|count|hits|misses|history|_data$|registry$|weak", re.IGNORECASE)
_MAX_ITEMS = 1_000


def library_edge(walk: Walk, obj: Any, label: str, name: str) -> bytes:
    """An edge to something that a library's object or closure refers to."""

    if is_immutable(obj) or isinstance(obj, (type, types.FunctionType, types.ModuleType)):
        return walk.edge(obj, label, name=name, lenient=True)
    if _WORKING_STATE.search(name):
        return b"~" + sized(name)
    if isinstance(obj, types.MethodType):
        owner = library_edge(walk, obj.__self__, label, name)
        return b"method" + walk.edge(obj.__func__, label) + owner
    if recorder_of(obj) is not None or project_class(type(obj), walk.own_package):
        return walk.edge(obj, label, name=name, lenient=True)
    if type(obj) in (list, tuple, dict):
        return _container(walk, obj, label, name)
    if opaque.is_harmless(type(obj)) or opaque.is_sentinel(obj):
        return b"~" + sized(type(obj).__qualname__)
    return walk.visit(obj, label, _record_state)


def _container(walk: Walk, obj: Any, label: str, name: str) -> bytes:

    if len(obj) > _MAX_ITEMS:
        return walk.edge(obj, label, name=name, lenient=True)
    out = bytearray(sized(type(obj).__name__))
    walk.guards.probe(lambda: _contents(obj), [_Same(item) for item in _contents(obj)])
    for key, item in obj.items() if isinstance(obj, dict) else enumerate(obj):
        if isinstance(obj, dict):
            out += library_edge(walk, key, label, "")
        out += library_edge(walk, item, f"{label}[{key!r:.40}]", key if isinstance(key, str) else "")
    return bytes(out)


class _Same:
    """Equal to one object only."""

    __slots__ = ("_item",)

    def __init__(self, item: Any) -> None:
        self._item = item

    def __eq__(self, other: object) -> bool:
        return other is self._item

    __hash__ = None  # type: ignore[assignment]  # never put into a set


def _contents(obj: Any) -> list[Any]:
    return [part for pair in obj.items() for part in pair] if isinstance(obj, dict) else list(obj)


def _record_state(walk: Walk, number: int, obj: Any, label: str) -> bytes:
    """The record of a library object: its type, and the options that it holds."""

    cls = type(obj)
    out = bytearray(b"library" + walk.leaf((module_of(cls), cls.__qualname__)))
    state = _state(obj)
    own = getattr(obj, "__dict__", None)
    for name, value in sorted(state.items()):
        if type(own) is dict and name in own and not _WORKING_STATE.search(name):
            walk.guards.binding(own, name, value)
        out += sized(name) + library_edge(walk, value, f"{label}.{name}", name)
    return bytes(out)


def _state(obj: Any) -> dict[str, Any]:
    """Attributes that the object itself holds, without asking its properties."""
    found: dict[str, Any] = {}
    for base in type(obj).__mro__:
        for name, member in list(base.__dict__.items()):
            if isinstance(member, types.MemberDescriptorType):
                value = _slot(member, obj)
                if value is not MISSING:
                    found[name] = value
    own = getattr(obj, "__dict__", None)
    return {**found, **own} if type(own) is dict else found


def _slot(member: types.MemberDescriptorType, obj: Any) -> Any:
    try:
        return member.__get__(obj)
    except AttributeError:
        return MISSING
