"""The fields that dataclasses, attrs, pydantic, enums and named tuples keep on a class: the meaning behind their
generated methods.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from types import FunctionType
from typing import TYPE_CHECKING, Any

from mlflowish.hashing.constants import sized
from mlflowish.hashing.leaves import project_function

if TYPE_CHECKING:
    from mlflowish.hashing.walk import Walk

_DATACLASS_OPTIONS = ("init", "repr", "eq", "order", "unsafe_hash", "frozen")
_DATACLASS_FIELD = ("default", "default_factory", "init", "repr", "hash", "compare", "metadata", "kw_only")
_ATTRS_FIELD = (
    "validator",
    "repr",
    "eq",
    "order",
    "hash",
    "init",
    "metadata",
    "kw_only",
    "inherited",
    "on_setattr",
    "alias",
    "converter",
)
_ENUM_STATE = frozenset({"_value_", "_name_", "__objclass__", "_sort_order_"})
_NAMED_TUPLE_METHODS = frozenset({"_field_defaults", "_fields", "_field_types"})

Fields = tuple[bytes, frozenset[str]]
_NO_FIELDS: Fields = (b"", frozenset())


def fields_of(walk: Walk, cls: type, label: str) -> Fields:
    """The contribution of a class's fields, and the names of class attributes that they cover."""
    own = cls.__dict__
    if isinstance(cls, enum.EnumMeta):
        return _enum(walk, cls, label)
    if "__pydantic_fields__" in own or "__pydantic_decorators__" in own:
        return _pydantic(walk, cls, label)
    if "__attrs_attrs__" in own:
        return _attrs(walk, cls, label)
    if "__dataclass_fields__" in own:
        return _dataclass(walk, cls, label)
    if issubclass(cls, tuple) and "_fields" in own:
        return _named_tuple(walk, cls, label)
    if "__total__" in own and "__required_keys__" in own:
        return b"typed-dict", frozenset()
    return _NO_FIELDS


def _dataclass(walk: Walk, cls: Any, label: str) -> Fields:

    out = bytearray(b"dataclass")
    params = cls.__dataclass_params__
    out += bytes(bool(getattr(params, option)) for option in _DATACLASS_OPTIONS)
    for name, field in cls.__dataclass_fields__.items():
        out += sized(name) + sized(field._field_type.name)
        for fact in _DATACLASS_FIELD:
            value = getattr(field, fact)
            if value is dataclasses.MISSING:
                out += b"-"
            elif fact == "metadata":
                out += walk.edge(dict(value), f"{label}.{name}.metadata", lenient=True)
            else:
                out += walk.edge(value, f"{label}.{name}.{fact}", name=name)
    return bytes(out), frozenset()


def _attrs(walk: Walk, cls: Any, label: str) -> Fields:

    out = bytearray(b"attrs")
    for field in cls.__attrs_attrs__:
        out += sized(field.name)
        factory = getattr(field.default, "factory", None)
        if factory is not None:
            out += b"f%d" % bool(field.default.takes_self) + walk.edge(factory, f"{label}.{field.name}.factory")
        else:
            out += walk.edge(field.default, f"{label}.{field.name}", name=field.name, lenient=True)
        for fact in _ATTRS_FIELD:
            value: Any = getattr(field, fact, None)
            value = dict(value) if fact == "metadata" else value
            out += walk.edge(value, f"{label}.{field.name}.{fact}", name=fact, lenient=True)
    return bytes(out), frozenset()


def _pydantic(walk: Walk, cls: Any, label: str) -> Fields:

    fields = cls.__dict__.get("__pydantic_fields__") or {}
    out = bytearray(b"pydantic")
    for name, info in fields.items():
        facts = {fact: getattr(info, fact, None) for fact in getattr(info, "_attributes_set", ())}
        out += sized(name) + mapping_edges(walk, facts, f"{label}.{name}", lenient=True)
        for constraint in info.metadata:
            out += walk.edge(constraint, f"{label}.{name}", lenient=True)
    out += walk.edge(dict(cls.__dict__.get("model_config", {})), f"{label}.model_config", lenient=True)
    out += mapping_edges(walk, dict(cls.__dict__.get("__private_attributes__") or {}), label, lenient=True)
    out += _pydantic_hooks(walk, cls.__dict__.get("__pydantic_decorators__"), label)
    covered = {name for name in cls.__dict__ if name.startswith("__pydantic_")}
    return bytes(out), frozenset(covered | {"model_config", "__private_attributes__", "__fields__", "model_fields"})


def _pydantic_hooks(walk: Walk, hooks: Any, label: str) -> bytes:
    """Validators and serializers: the function, and what it was declared for."""

    out = bytearray()
    for group in getattr(hooks, "__slots__", ()) or getattr(hooks, "__dataclass_fields__", ()):
        registered = getattr(hooks, group, None)
        if not isinstance(registered, dict):
            continue
        for name, hook in registered.items():
            out += sized(f"{group}.{name}") + walk.edge(hook.func, f"{label}.{name}", lenient=True)
            for fact in getattr(hook.info, "__dataclass_fields__", ()):
                value = getattr(hook.info, fact)
                out += sized(fact) + walk.edge(value, f"{label}.{name}.{fact}", name=fact, lenient=True)
    return bytes(out)


def _enum(walk: Walk, cls: Any, label: str) -> Fields:

    out = bytearray(b"enum")
    for name, member in cls.__members__.items():
        out += sized(name) + walk.edge(member._value_, f"{label}.{name}", name=name)
        state = {key: value for key, value in vars(member).items() if key not in _ENUM_STATE}
        out += mapping_edges(walk, state, f"{label}.{name}")
    out += sized(str(getattr(cls.__dict__.get("_boundary_"), "name", "")))
    own = {
        name
        for name, value in cls.__dict__.items()
        if name.startswith("_") and name.endswith("_") and not name.startswith("__") and not is_own_hook(value)
    }
    # A `__new__` of the user's own is kept by enums as `__new_member__`, which is walked like any method.
    return bytes(out), frozenset(own | set(cls.__members__) | {"__new__"})


def is_own_hook(value: Any) -> bool:
    """Whether one of the names that Python keeps on a class holds a function of the project, such as `_missing_`."""
    function = getattr(value, "__func__", value)
    return isinstance(function, FunctionType) and project_function(function)


def _named_tuple(walk: Walk, cls: Any, label: str) -> Fields:

    out = bytearray(b"namedtuple")
    for name in cls._fields:
        out += sized(name)
        if name in cls._field_defaults:
            out += b"=" + walk.edge(cls._field_defaults[name], f"{label}.{name}", name=name)
    return bytes(out), _NAMED_TUPLE_METHODS | frozenset(cls._fields) | {"__new__", "__match_args__"}


def mapping_edges(walk: Walk, items: Mapping[str, Any], label: str, *, lenient: bool = False) -> bytes:
    """Edges to the values of a mapping, by sorted name."""
    out = bytearray(b"{")
    for name in sorted(items):
        out += sized(name) + walk.edge(items[name], f"{label}.{name}", name=name, lenient=lenient)
    return bytes(out + b"}")
