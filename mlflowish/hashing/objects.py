"""Callables and descriptors that are made of other objects: partials, bound methods, properties, caches, steps, type
expressions.
"""

from __future__ import annotations

import contextvars
import functools
import gc
import struct
import threading
import types
import typing
from typing import TYPE_CHECKING, Any

from mlflowish.hashing.ambient import record_context_variable, record_thread_local
from mlflowish.hashing.constants import sized
from mlflowish.hashing.guards import MISSING
from mlflowish.hashing.leaves import is_typing, module_of
from mlflowish.hashing.packages import realm_of_module
from mlflowish.hashing.source import unit_of

if TYPE_CHECKING:
    from mlflowish.hashing.walk import Recorder, Walk


def recorder_of(obj: Any) -> Recorder | None:
    """How an object that is made of others is recorded; None for a plain value."""
    cls = type(obj)
    if is_typing(obj):
        return _type_expression
    for base, found in _RECORDERS.items():
        if isinstance(obj, base):
            return found
    module = module_of(cls)
    if module.partition(".")[0] == "mlflowish" and hasattr(obj, "fn"):
        return _step
    if callable(obj) and realm_of_module(module) != "project" and _inner(obj) is not MISSING:
        return _library_callable
    return None


def _partial(walk: Walk, number: int, obj: Any, label: str) -> bytes:
    out = b"partial" + walk.edge(obj.func, f"{label}.func")
    # Read afresh at each check: the dict of keywords can be changed in place.
    return out + walk.edge(tuple(obj.args), f"{label}.args") + walk.edge(obj.keywords, f"{label}.keywords")


def _method(walk: Walk, number: int, obj: types.MethodType, label: str) -> bytes:
    return b"method" + walk.edge(obj.__func__, label) + walk.edge(obj.__self__, f"{label}.__self__")


def _wrapping_descriptor(walk: Walk, number: int, obj: Any, label: str) -> bytes:
    return type(obj).__name__.encode() + walk.edge(obj.__func__, label)


def _property(walk: Walk, number: int, obj: Any, label: str) -> bytes:
    return b"property" + b"".join(walk.edge(part, label) for part in (obj.fget, obj.fset, obj.fdel))


def _cached_property(walk: Walk, number: int, obj: Any, label: str) -> bytes:
    return b"cached_property" + walk.edge(obj.func, label)


def _single_dispatch_method(walk: Walk, number: int, obj: Any, label: str) -> bytes:
    return b"singledispatchmethod" + walk.edge(obj.dispatcher, label)


def _cache(walk: Walk, number: int, obj: Any, label: str) -> bytes:
    inner = obj.__wrapped__
    walk.guards.probe(lambda: id(obj.__wrapped__), id(inner))
    return b"lru_cache" + walk.edge(inner, label) + walk.edge(obj.cache_parameters()["typed"], f"{label}.typed")


def _step(walk: Walk, number: int, obj: Any, label: str) -> bytes:
    """A step of this package: what it computes is what its function computes, cached or not."""
    inner = obj.fn
    walk.guards.probe(lambda: id(obj.fn), id(inner))
    # What its author declared to be part of its identity is part of that of its callers.
    if (extras := getattr(getattr(obj, "identifier", None), "extra_values", None)) is not None:
        walk.guards.probe(extras, extras())
    declared = b"".join(walk.edge(item, f"{label}.{name}") for name, item in getattr(obj, "declared", ()))
    return b"step" + walk.edge(inner, label) + declared


def _library_callable(walk: Walk, number: int, obj: Any, label: str) -> bytes:
    """A library's object around a function of the project, such as a compiled or delayed one."""
    cls = type(obj)
    inner = _inner(obj)
    walk.guards.probe(lambda: id(_inner(obj)), id(inner))
    walk.leaf((module_of(cls), cls.__qualname__))
    return b"library" + walk.edge(cls, label) + walk.edge(inner, label)


def _inner(obj: Any) -> Any:
    state = getattr(obj, "__dict__", {})
    for name in ("__wrapped__", "py_func", "pyfunc"):
        found = state.get(name, MISSING) if isinstance(state, dict) else MISSING
        if found is MISSING and name != "pyfunc":
            found = getattr(type(obj), name, MISSING)
            found = getattr(obj, name, MISSING) if found is not MISSING else found
        if callable(found) and found is not obj:
            return found
    return MISSING


def _compiled_format(walk: Walk, number: int, obj: struct.Struct, label: str) -> bytes:
    return b"struct" + walk.edge(obj.format, f"{label}.format")


def _comparison_key(walk: Walk, number: int, obj: Any, label: str) -> bytes:
    """`functools.cmp_to_key(compare)`, which shows its function to the garbage collector only."""
    return b"cmp_to_key" + b"".join(walk.edge(part, label) for part in gc.get_referents(obj) if callable(part))


def _code(walk: Walk, number: int, obj: types.CodeType, label: str) -> bytes:

    return b"code" + unit_of(obj).digest


def _type_expression(walk: Walk, number: int, obj: Any, label: str) -> bytes:

    origin = typing.get_origin(obj)
    if origin is not None:
        out = bytearray(b"type" + walk.edge(origin, label))
        for part in [*typing.get_args(obj), *getattr(obj, "__metadata__", ())]:
            out += walk.edge(part, label, lenient=True)
        return bytes(out)
    name = str(getattr(obj, "_name", None) or getattr(obj, "__name__", ""))
    out = bytearray(b"typing" + sized(type(obj).__qualname__) + sized(name))
    for fact in ("__supertype__", "__bound__", "__constraints__", "__forward_arg__", "__value__"):
        part = getattr(obj, fact, None)
        if part is not None and part != ():
            out += sized(fact) + walk.edge(part, label, lenient=True)
    return bytes(out)


_RECORDERS: dict[type, Recorder] = {
    functools.partial: _partial,
    functools.partialmethod: _partial,
    types.MethodType: _method,
    staticmethod: _wrapping_descriptor,
    classmethod: _wrapping_descriptor,
    property: _property,
    functools.cached_property: _cached_property,
    functools.singledispatchmethod: _single_dispatch_method,
    functools._lru_cache_wrapper: _cache,
    types.CodeType: _code,
    struct.Struct: _compiled_format,
    type(functools.cmp_to_key(max)): _comparison_key,
    contextvars.ContextVar: record_context_variable,
    threading.local: record_thread_local,
}
