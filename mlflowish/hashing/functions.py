"""What a function contributes: its unit, what each of its references means now, its defaults and what it wraps."""

from __future__ import annotations

from operator import attrgetter
from types import CellType, FunctionType
from typing import TYPE_CHECKING, Any

from mlflowish.hashing import describe, source
from mlflowish.hashing.classes import hint_edge
from mlflowish.hashing.constants import sized
from mlflowish.hashing.guards import MISSING, cell_content
from mlflowish.hashing.leaves import type_name
from mlflowish.hashing.library import library_edge
from mlflowish.hashing.modules import namespace_edge
from mlflowish.hashing.opaque import is_immutable
from mlflowish.hashing.references import Space, references
from mlflowish.hashing.units import LOADERS, Unit

if TYPE_CHECKING:
    from mlflowish.hashing.walk import Walk


def record_function(walk: Walk, number: int, function: FunctionType, label: str) -> bytes:
    """The record of a project function."""
    unit = source.unit_of(function.__code__)
    walk.codes.append(function.__code__)
    walk.guards.function(function)
    walk.attributes |= unit.attributes
    walk.loads_by_name |= bool(unit.dynamic or unit.attributes & LOADERS)
    walk.stores |= unit.stores
    walk.add_part(label, "function", unit.digest, lambda: describe.source_text(unit.text))
    out = bytearray(b"F" + unit.digest)
    out += references(walk, unit, space_of(function, label))
    if number:
        # The defaults of the entry come in through the arguments of the call, unless it is called again from below.
        out += defaults(walk, function, label)
    else:
        out += mutable_defaults(walk, function, label)
    out += wrapped(walk, function, label)
    if unit.dynamic:
        out += _whole_namespace(walk, function, unit, label)
    return bytes(out)


def record_foreign(walk: Walk, number: int, function: FunctionType, label: str) -> bytes:
    """The record of a library function that has no public name: its code, and what it closes over."""
    unit = source.unit_of(function.__code__)
    walk.foreign_codes.append(function.__code__)
    walk.guards.function(function)
    name = function.__globals__.get("__name__")
    if isinstance(name, str):
        walk.leaf((name, function.__code__.co_qualname))
    out = bytearray(b"L" + unit.digest)
    registry = getattr(function, "registry", None)
    if registry is not None and hasattr(function, "dispatch") and name == "functools":
        return bytes(out + _registry(walk, registry, label))
    if not number:
        walk.add_part(label, "function", unit.digest, lambda: describe.source_text(unit.text))
    for variable, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        out += _library_cell(walk, cell, f"{label}.{variable}", variable)
    out += defaults(walk, function, label, lenient=True)
    out += wrapped(walk, function, label)
    inner = getattr(function, "__wrapped__", None)
    if isinstance(inner, FunctionType) and name not in _HINT_BLIND:
        # A library's decorator may read the hints of what it wraps, so they count there.
        out += _hints(walk, inner, label)
    return bytes(out)


def _hints(walk: Walk, function: FunctionType, label: str) -> bytes:

    out = bytearray(b"h")
    for name, hint in sorted(function.__annotations__.items()):
        out += sized(name) + hint_edge(walk, hint, f"{label}({name})", function.__globals__)
    return bytes(out)


# Modules of the standard library whose decorators never read hints.
_HINT_BLIND = frozenset({"functools", "contextlib", "_functools", "reprlib"})


# Since Python 3.10; some versions of the stubs know it and others do not.
_builtins_of = attrgetter("__builtins__")


def space_of(function: FunctionType, label: str) -> Space:
    """Where the outside names of a function are found."""
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=False))
    builtins: dict[str, Any] = _builtins_of(function)
    return Space(function.__globals__, builtins, cells, label)


def _library_cell(walk: Walk, cell: CellType, label: str, name: str) -> bytes:
    """The content of a variable that a library's wrapper closes over: options and functions, not its caches."""

    content = cell_content(cell)
    walk.guards.cell(cell, content)
    return b"A" if content is MISSING else b"c" + library_edge(walk, content, label, name)


def defaults(walk: Walk, function: FunctionType, label: str, *, lenient: bool = False) -> bytes:
    """Edges to the default values, which a function keeps as objects."""
    out = bytearray(b"d")
    code = function.__code__
    names = code.co_varnames[: code.co_argcount]
    values = function.__defaults__ or ()
    for name, value in zip(names[len(names) - len(values) :], values, strict=False):
        out += walk.edge(value, f"{label}({name})", name=name, lenient=lenient)
    keyword_defaults = function.__kwdefaults__ or {}
    for name in sorted(keyword_defaults):
        walk.guards.binding(keyword_defaults, name, keyword_defaults[name])
        out += b"k" + walk.edge(keyword_defaults[name], f"{label}({name})", name=name, lenient=lenient)
    return bytes(out)


def mutable_defaults(walk: Walk, function: FunctionType, label: str) -> bytes:
    """Defaults of the entry that can change from call to call."""

    out = bytearray(b"m")
    for value in function.__defaults__ or ():
        if not is_immutable(value) and isinstance(value, (list, dict, set, bytearray)):
            out += walk.edge(value, f"{label}(defaults)", lenient=True)
    return bytes(out)


def wrapped(walk: Walk, function: FunctionType, label: str) -> bytes:
    """An edge to what a decorated function wraps."""
    inner = function.__dict__.get("__wrapped__", MISSING)
    if inner is MISSING:
        return b""
    walk.guards.binding(function.__dict__, "__wrapped__", inner)
    return b"w" + walk.edge(inner, f"{label}.__wrapped__")


def _whole_namespace(walk: Walk, function: FunctionType, unit: Unit, label: str) -> bytes:

    calls = ", ".join(f"{name}()" for name in sorted(unit.dynamic))
    walk.note(f"{label} uses {calls}, which can reach any name: everything in its module counts.")
    return b"*" + namespace_edge(walk, function.__globals__, label)


def _registry(walk: Walk, registry: Any, label: str) -> bytes:
    """The implementations of a `functools.singledispatch` function, by class."""

    items = list(registry.items())
    walk.guards.probe(lambda: list(registry.items()), items)
    out = bytearray(b"g")
    for cls, implementation in sorted(items, key=lambda item: type_name(item[0])):
        out += walk.edge(cls, f"{label}.registry") + walk.edge(implementation, f"{label}[{cls.__qualname__}]")
    return bytes(out)
