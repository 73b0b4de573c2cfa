"""Instances of any class: the parts that `__reduce_ex__` would give to pickle, digested structurally.

What an object hands to pickle is what it considers its content. The parts are digested as values; the bytes of a
pickle are never used. The order in which attributes were set does not matter.
"""

from __future__ import annotations

import copyreg
import sys
from typing import Any

from mlflowish.errors import MlflowishError
from mlflowish.hashing.builtin import key_step
from mlflowish.hashing.names import standard_name
from mlflowish.hashing.plain import plain_digest
from mlflowish.hashing.tree import Expand, Walk
from mlflowish.hashing.writer import NODE, Done, Node, bracket, digest_of, head, silent

_REDUCTION = frozenset({"__reduce__", "__reduce_ex__", "__getstate__"})
_OWN_WORDS = _REDUCTION | {"__getnewargs__", "__getnewargs_ex__"}
_newobj: Any = copyreg.__newobj__  # type: ignore[attr-defined]  # not in the stubs, the same in every CPython
_newobj_ex: Any = copyreg.__newobj_ex__  # type: ignore[attr-defined]  # likewise


def expander_for(cls: type) -> Expand:
    """The expander for a class that nothing more special is known about."""
    return _ordinary_instance if _is_ordinary(cls) else _instance


class _Ordinary:
    """The size of an instance that has attributes and nothing else."""


def _is_ordinary(cls: type) -> bool:
    """Whether an instance is its `__dict__`: no slots, no C structure, no word of its own on how to reduce it."""
    return (
        cls.__basicsize__ == _Ordinary.__basicsize__
        and cls.__itemsize__ == 0
        and all(not _OWN_WORDS & vars(base).keys() for base in cls.__mro__ if base is not object)
        and not copyreg._slotnames(cls)  # type: ignore[attr-defined]  # not in the stubs
    )


def _ordinary_instance(value: Any, walk: Walk) -> Node | Done:
    """What `_instance` gives, without the detour through `__reduce_ex__`."""
    cls = type(value)
    state = value.__dict__
    if (
        not state
        or "_attrs_cached_hash" in state
        or _registered_reducer(cls) is not None
        or hasattr(cls, "__dask_graph__")
    ):
        return _instance(value, walk)
    part = attributes_part(state)
    node = Node(head("instance", *walk.identity(cls), None, "news"), (part,), silent)
    return node.close([part]) if type(part) is Done else node


def _instance(value: Any, walk: Walk) -> Node | Done:
    if hasattr(type(value), "__dask_graph__") and value.__dask_graph__() is not None:
        walk.refuse(value, "it is a plan, whose data may be outside of it; call .compute() first")
    reduced = _reduce(value, walk)
    if isinstance(reduced, str):
        return _named(value, reduced, walk)
    if not isinstance(reduced, tuple) or not 2 <= len(reduced) <= 6:
        walk.refuse(value, f"its __reduce_ex__ returned a {type(reduced).__name__} of an unknown form")
    return _reduced_node(value, reduced, walk)


def _reduce(value: Any, walk: Walk) -> Any:
    reducer = _registered_reducer(type(value))
    try:
        return value.__reduce_ex__(4) if reducer is None else reducer(value)
    except MlflowishError:
        raise
    except Exception as error:  # noqa: BLE001  # foreign code, which may raise anything
        return walk.refuse(value, f"it cannot be taken apart ({type(error).__name__}: {error})", cause=error)


def _registered_reducer(cls: type) -> Any:
    try:
        reducer = copyreg.dispatch_table.get(cls)
    except TypeError:  # a class that cannot be hashed cannot be registered either
        return None
    # What sends tracebacks registers one for every exception that there is, when it is imported (by Dask, for one).
    return None if str(getattr(reducer, "__module__", "")).partition(".")[0] == "tblib" else reducer


def _named(value: Any, name: str, walk: Walk) -> Node:
    """An object that pickle would store as the name of a global: its identity is that name, if the name leads to it."""
    module = getattr(value, "__module__", None) or type(value).__module__
    found: Any = sys.modules.get(module) if isinstance(module, str) else None
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is not value:
        walk.refuse(value, f"it claims to be {module}.{name}, which is another object")
    return Node(head("global", *walk.identity(type(value)), module, name), (), silent)


def _reduced_node(value: Any, reduced: tuple[Any, ...], walk: Walk) -> Node | Done:
    make, args, state, members, items, setter = [*reduced, None, None, None, None][:6]
    cls = type(value)
    form, parts, steps = _recipe(cls, make, args)
    if state is not None:
        form += "s"
        parts.append(_state_part(_without_memos(state, cls), value))
        steps.append("")
    if members is not None:
        form += "m"
        parts.append(Node(head("members"), members, bracket))
        steps.append("")
    if items is not None:
        form += "i"
        parts.append(_items_node(items))
        steps.append("")
    forgotten = _forgotten(value, state, form)
    if forgotten:
        form += "d"
        parts.append(attributes_part(forgotten))
        steps.append("")
    if setter is not None:
        form += "f"
        parts.append(setter)
        steps.append(".__reduce__()[5]")
    node = Node(head("instance", *walk.identity(cls), _tuple_fields(cls), form), parts, steps.__getitem__)
    return node.close(parts) if all(type(part) is Done for part in parts) else node


def _tuple_fields(cls: type) -> tuple[str, ...] | None:
    """The field names of a named tuple, which its instances hold by position."""
    fields = getattr(cls, "_fields", None) if issubclass(cls, tuple) else None
    return tuple(map(str, fields)) if isinstance(fields, tuple) else None


def _recipe(cls: type, make: Any, args: Any) -> tuple[str, list[Any], list[str]]:
    """How pickle would make the object: the form, its digestible parts, and their path steps."""
    if make is _newobj and args and args[0] is cls:
        return ("new", [_arguments(args[1:])], [""]) if len(args) > 1 else ("new", [], [])
    if make is _newobj_ex and len(args) == 3 and args[0] is cls:
        return "newex", [args[1], args[2]], ["", ""]
    if make is cls:
        return ("call", [_arguments(args)], [""]) if args else ("call", [], [])
    return "make", [make, args], [".__reduce__()[0]", ".__reduce__()[1]"]


def _arguments(args: Any) -> Any:
    found = plain_digest(args)
    return Done(found) if found is not None else args


def _state_part(state: Any, value: Any) -> Any:
    """The state of an object: attributes, in no order, where it is made of attributes; else whatever it is."""
    if type(state) is dict:
        return attributes_part(state) if _is_attributes(state, getattr(value, "__dict__", None)) else state
    if type(state) is tuple and len(state) == 2 and not _has_own_state(type(value)):
        return attributes_part({**(state[0] or {}), **(state[1] or {})})  # `__dict__` and `__slots__`
    return state


def _is_attributes(state: dict[str, Any], own: dict[str, Any] | None) -> bool:
    """Whether a state is the object's attributes, give or take some; a `__getstate__` may also return data in order."""
    return own is not None and len(own) > 0 and (state.keys() <= own.keys() or own.keys() <= state.keys())


def _has_own_state(cls: type) -> bool:
    return any("__getstate__" in vars(base) for base in cls.__mro__ if base is not object)


def _forgotten(value: Any, state: Any, form: str) -> dict[str, Any]:
    """Attributes that a subclass added and that the reduction of its standard base knows nothing about.

    `datetime`, `Decimal`, `Counter` and others pickle their own content only; code that gets the object sees the rest.
    """
    cls = type(value)
    own = getattr(value, "__dict__", None)
    if not own or form.startswith("make"):
        return {}
    known = state if type(state) is dict else {}
    if own.keys() <= known.keys():
        return {}
    author = next(base for base in cls.__mro__ if _REDUCTION & vars(base).keys())
    if author is cls or author is object or standard_name(author) is None:
        return {}
    return {name: part for name, part in own.items() if name not in known}


def _without_memos(state: Any, cls: type) -> Any:
    """The state without what libraries put there although it says nothing about the object.

    That is the memo of a hash that attrs keeps, which is salted per process, and the version that scikit-learn writes
    into every pickle.
    """
    if type(state) is dict:
        if "_attrs_cached_hash" in state and hasattr(cls, "__attrs_attrs__"):
            state = {name: part for name, part in state.items() if name != "_attrs_cached_hash"}
        if "_sklearn_version" in state and cls.__module__.startswith("sklearn."):
            state = {name: part for name, part in state.items() if name != "_sklearn_version"}
    return state


def attributes_part(attributes: dict[str, Any]) -> Node | Done:
    """Attributes by name, whatever the order in which they were set; a finished digest where all are plain data."""
    if not set(map(type, attributes)) <= {str}:
        return Node(head("odd attributes"), list(attributes.items()), lambda i: ".__dict__", unordered=True)
    names = sorted(attributes)
    values = tuple(map(attributes.__getitem__, names))
    found = plain_digest(values)
    if found is not None:
        return Done(digest_of(NODE + head("plain attributes", tuple(names)) + found))
    return Node(head("attributes", tuple(names)), values, lambda i: f".{names[i]}")


def _items_node(items: Any) -> Node:
    pairs = list(items)
    keys = [key for key, _ in pairs]
    return Node(head("items", len(pairs)), [part for pair in pairs for part in pair], lambda i: key_step(keys, i))
