"""Builtin types: containers with members that are not plain, sets, and what has no content at all."""

from __future__ import annotations

import sys
import types
from array import array
from itertools import chain
from typing import Any

from mlflowish.hashing.plain import SCALARS
from mlflowish.hashing.tree import Expand, Walk
from mlflowish.hashing.writer import Done, Node, bracket, bulk, head, leaf, silent

# Sets of one of these are sorted by value: one sort in C instead of a digest per member.
_ORDERED = ({str}, {int}, {bytes})


def _list(value: Any, walk: Walk) -> Node | Done:
    if len(value) > 1 and type(value[0]).__module__ == "numpy":
        from mlflowish.hashing.arrays import uniform_scalars

        found = uniform_scalars(value, walk)
        if found is not None:
            return found
    return Node(head(type(value).__name__, len(value)), value, bracket)


def _dict(value: dict[Any, Any], walk: Walk) -> Node:
    return mapping_node(head("dict", len(value)), value)


def mapping_node(record_head: bytes, value: Any) -> Node:
    """A node of alternating keys and values, in the mapping's order."""
    members = chain.from_iterable(value.items())
    return Node(record_head, members, lambda index: key_step(value, index))


def key_step(value: Any, index: int) -> str:
    """The path step of the `index`-th of alternating keys and values: `["name"]`, or `.keys()[3]` for a key."""
    if index % 2 == 0:
        return f".keys()[{index // 2}]"
    for position, key in enumerate(value):
        if position == index // 2:
            return f"[{key_text(key)}]"
    return "[...]"


def key_text(key: object) -> str:
    """A key as it would be typed, where that is short; only for people, never for a digest."""
    if type(key) is str:
        return '"' + (key if len(key) <= 60 else key[:60] + "...") + '"'
    if type(key) in SCALARS:
        return repr(key)[:60]
    return f"<{type(key).__qualname__}>"


def _set(value: Any, walk: Walk) -> Node:
    return set_node(head(type(value).__name__, len(value)), value)


def set_node(record_head: bytes, value: Any) -> Node:
    """A node of members without order. Homogeneous text or integers are sorted, others go by their digests."""
    if set(map(type, value)) in _ORDERED:
        return Node(record_head, (sorted(value),), silent)
    return Node(record_head, iter(value), lambda index: "{...}", unordered=True)


def _bytearray(value: bytearray, walk: Walk) -> Done:
    return bulk(head("bytearray", len(value)), (value,), size_bytes=len(value))


def _memoryview(value: memoryview, walk: Walk) -> Done:
    shape = tuple(value.shape or ())
    return bulk(head("memoryview", value.format, shape), (value.tobytes(),), size_bytes=value.nbytes)


def _range(value: range, walk: Walk) -> Done:
    return leaf("range", int(value.start), int(value.stop), int(value.step))


def _slice(value: slice, walk: Walk) -> Node:
    return Node(head("slice"), (value.start, value.stop, value.step), lambda i: (".start", ".stop", ".step")[i])


def _method(value: types.MethodType, walk: Walk) -> Node:
    return Node(head("method"), (value.__func__, value.__self__), lambda i: (".__func__", ".__self__")[i])


def _builtin_function(value: Any, walk: Walk) -> Node | Done:
    owner = value.__self__
    if owner is None or isinstance(owner, types.ModuleType):
        return leaf("code", bytes(walk.code(value, walk.path)))
    # A method that is bound to a builtin object: `[].append`.
    return Node(head("builtin method", value.__name__), (owner,), lambda i: ".__self__")


def _property(value: property, walk: Walk) -> Node:
    return Node(head("property"), (value.fget, value.fset, value.fdel), lambda i: (".fget", ".fset", ".fdel")[i])


def _wrapped_method(value: Any, walk: Walk) -> Node:
    return Node(head(type(value).__name__), (value.__func__,), lambda i: ".__func__")


def _mapping_proxy(value: Any, walk: Walk) -> Node:
    return mapping_node(head("mappingproxy", len(value)), value)


def _items_view(value: Any, walk: Walk) -> Node:
    return Node(head(type(value).__name__, len(value)), iter(value), bracket)


def _array(value: Any, walk: Walk) -> Node | Done:
    code = value.typecode
    if code in "uw":
        return Node(head("array", code), (value.tounicode(),), silent)
    if code in "lL":
        value = array(code.replace("l", "q").replace("L", "Q"), value)  # 4 bytes on Windows, 8 elsewhere
    if sys.byteorder == "big":
        value = value[:]
        value.byteswap()
    record_head = head("array", code, len(value))
    return bulk(
        record_head, (memoryview(value).cast("B"),) if len(value) else (), size_bytes=len(value) * value.itemsize
    )


def _object(value: object, walk: Walk) -> Node:
    walk.refuse(value, "a bare object() is only itself, and has no content")


def _literal(name: str) -> Expand:
    done = leaf("constant", name)

    def expand(value: Any, walk: Walk) -> Done:
        return done

    return expand


EXPANDERS: dict[type, Expand] = {
    list: _list,
    tuple: _list,
    dict: _dict,
    set: _set,
    frozenset: _set,
    bytearray: _bytearray,
    memoryview: _memoryview,
    range: _range,
    slice: _slice,
    array: _array,
    object: _object,
    property: _property,
    staticmethod: _wrapped_method,
    classmethod: _wrapped_method,
    type(Ellipsis): _literal("Ellipsis"),
    type(NotImplemented): _literal("NotImplemented"),
    types.MethodType: _method,
    types.BuiltinFunctionType: _builtin_function,
    types.MethodWrapperType: lambda value, walk: Node(
        head("method-wrapper", value.__name__), (value.__self__,), lambda i: ".__self__"
    ),
    types.MappingProxyType: _mapping_proxy,
    type({}.keys()): _items_view,
    type({}.values()): _items_view,
    type({}.items()): _items_view,
}


def expander_for(cls: type) -> Expand | None:
    """The expander for subclasses and relatives of builtin types, and the refusal of what is used up by reading."""
    from mlflowish.hashing import standard

    found = standard.expander_for(cls)
    if found is not None:
        return found
    if hasattr(cls, "__next__") or hasattr(cls, "__anext__"):
        return _iterator
    return None


def _iterator(value: Any, walk: Walk) -> Node:
    what = "a generator" if isinstance(value, types.GeneratorType) else "an iterator"
    walk.refuse(value, f"{what} is used up by reading it, so its content cannot be looked at beforehand")
