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
from mlflowish.hashing.tree import Expand, Walk
from mlflowish.hashing.writer import Done, Node, bracket, head, silent

# What libraries keep in an object's state although it says nothing about its content: attrs' memo of a (salted) hash
# and the version that scikit-learn puts into every pickle.
_VOLATILE = frozenset({"_attrs_cached_hash", "_sklearn_version"})

_newobj: Any = copyreg.__newobj__  # type: ignore[attr-defined]  # not in the stubs, the same in every CPython
_newobj_ex: Any = copyreg.__newobj_ex__  # type: ignore[attr-defined]  # likewise


def expander_for(cls: type) -> Expand:
    """The expander for a class that nothing more special is known about."""
    return _instance


def _instance(value: Any, walk: Walk) -> Node | Done:
    reduced = _reduce(value, walk)
    if isinstance(reduced, str):
        return _named(value, reduced, walk)
    if not isinstance(reduced, tuple) or not 2 <= len(reduced) <= 6:
        walk.refuse(value, f"its __reduce_ex__ returned a {type(reduced).__name__} of an unknown form")
    return _reduced_node(value, reduced, walk)


def _reduce(value: Any, walk: Walk) -> Any:
    reducer = copyreg.dispatch_table.get(type(value))
    try:
        return value.__reduce_ex__(4) if reducer is None else reducer(value)
    except MlflowishError:
        raise
    except Exception as error:  # noqa: BLE001  # foreign code, which may raise anything
        return walk.refuse(value, f"it cannot be taken apart ({type(error).__name__}: {error})", cause=error)


def _named(value: Any, name: str, walk: Walk) -> Node:
    """An object that pickle would store as the name of a global: its identity is that name, if the name leads to it."""
    module = getattr(value, "__module__", None) or type(value).__module__
    found: Any = sys.modules.get(module) if isinstance(module, str) else None
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is not value:
        walk.refuse(value, f"it claims to be {module}.{name}, which is another object")
    return Node(head("global", *walk.identity(type(value)), module, name), (), silent)


def _reduced_node(value: Any, reduced: tuple[Any, ...], walk: Walk) -> Node:
    make, args, state, members, items, setter = [*reduced, None, None, None, None][:6]
    cls = type(value)
    form, parts, steps = _recipe(cls, make, args)
    if state is not None:
        form += "s"
        parts.append(attributes_node(state))
        steps.append("")
    if members is not None:
        form += "m"
        parts.append(Node(head("members"), members, bracket))
        steps.append("")
    if items is not None:
        form += "i"
        parts.append(_items_node(items))
        steps.append("")
    if setter is not None:
        form += "f"
        parts.append(setter)
        steps.append(".__reduce__()[5]")
    fields = getattr(cls, "_fields", None) if issubclass(cls, tuple) else None
    names = tuple(map(str, fields)) if isinstance(fields, tuple) else None
    return Node(head("instance", *walk.identity(cls), names, form), parts, steps.__getitem__)


def _recipe(cls: type, make: Any, args: Any) -> tuple[str, list[Any], list[str]]:
    """How pickle would make the object: the form, its digestible parts, and their path steps."""
    if make is _newobj and args and args[0] is cls:
        return ("new", [args[1:]], [".__getnewargs__()"]) if len(args) > 1 else ("new", [], [])
    if make is _newobj_ex and len(args) == 3 and args[0] is cls:
        return "newex", [args[1], args[2]], [".__getnewargs_ex__()[0]", ".__getnewargs_ex__()[1]"]
    if make is cls:
        return ("call", [args], [".__reduce__()[1]"]) if args else ("call", [], [])
    return "make", [make, args], [".__reduce__()[0]", ".__reduce__()[1]"]


def attributes_node(state: Any) -> Any:
    """The state of an object: attributes sorted by name where it is made of attributes, else the state as a value."""
    if type(state) is tuple and len(state) == 2 and all(part is None or _is_attributes(part) for part in state):
        merged = {**(state[0] or {}), **(state[1] or {})}  # the form for __slots__
        return _attributes(merged)
    return _attributes(state) if _is_attributes(state) else state


def _is_attributes(state: Any) -> bool:
    return type(state) is dict and set(map(type, state)) <= {str}


def _attributes(state: dict[str, Any]) -> Node:
    names = sorted(name for name in state if name not in _VOLATILE)
    return Node(head("attributes", tuple(names)), [state[name] for name in names], lambda i: f".{names[i]}")


def _items_node(items: Any) -> Node:
    pairs = list(items)
    keys = [key for key, _ in pairs]
    return Node(head("items", len(pairs)), [part for pair in pairs for part in pair], lambda i: key_step(keys, i))
