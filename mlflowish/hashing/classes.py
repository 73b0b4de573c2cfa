"""What a class contributes: bases, metaclass, methods, attributes as they are now, and fields of frameworks.

Taken from the live class, so that decorators, metaclasses and changes made at run time are seen. Generated methods
follow from the fields and are left out.
"""

from __future__ import annotations

import ast
import enum
import sys
import types
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlflowish.hashing.ambient import registered_classes
from mlflowish.hashing.constants import sized
from mlflowish.hashing.describe import value_text
from mlflowish.hashing.fields import fields_of, is_own_hook
from mlflowish.hashing.guards import MISSING
from mlflowish.hashing.leaves import is_generic, leaf_name, module_of, project_class, type_name
from mlflowish.hashing.packages import realm_of_file, realm_of_module
from mlflowish.hashing.references import Space, references
from mlflowish.hashing.units import statement_unit

if TYPE_CHECKING:
    from mlflowish.hashing.walk import Walk

# What Python and frameworks keep on a class that says nothing of its own.
_BOOKKEEPING = frozenset(
    {"__module__", "__doc__", "__dict__", "__weakref__", "__qualname__", "__firstlineno__", "__static_attributes__",
     "__annotations__", "__annotate__", "__annotations_cache__", "__annotate_func__", "__dataclass_fields__",
     "__dataclass_params__", "__abstractmethods__", "_abc_impl", "__parameters__", "__orig_bases__", "__type_params__",
     "__attrs_attrs__", "__attrs_own_setattr__", "__attrs_props__", "__protocol_attrs__", "_is_protocol",
     "_is_runtime_protocol", "__non_callable_proto_members__", "__signature__", "__class_vars__",
     "__subclasshook__", "__callable_proto_members_only__", "__classcell__", "__slotnames__"}
)  # fmt: skip
_GENERATED_SCOPES = ("__create_fn__.", "_create_fn.")


def record_class(walk: Walk, number: int, cls: type, label: str) -> bytes:
    """The record of a project class."""

    out = bytearray(b"C" + sized(cls.__name__))
    if type(cls) is not type:
        out += b"m" + walk.edge(type(cls), f"{label}.__class__")
    for base in cls.__bases__:
        out += b"b" + walk.edge(base, label)
    walk.guards.bases(cls)
    for base in cls.__dict__.get("__orig_bases__", ()):
        if is_generic(base) or not isinstance(base, type):
            out += b"o" + walk.edge(base, label, lenient=True)
    out += registered_classes(walk, cls, label)
    fields, covered = fields_of(walk, cls, label)
    out += fields
    out += _attributes(walk, cls, label, covered)
    if fields or _has_library_base(cls):
        out += annotations_of(walk, cls, label)
    from blake3 import blake3

    digest = blake3(_without_numbers(out)).digest(16)
    walk.add_part(label, "class", digest, lambda: _text(cls))
    return bytes(out)


def _without_numbers(record: bytearray) -> bytes:
    """The record as it shows in `explain`: visit numbers move when unrelated parts come and go."""
    import re

    return re.sub(rb"[R#]\d+;", b"R", bytes(record))


def _attributes(walk: Walk, cls: type, label: str, covered: frozenset[str]) -> bytes:

    namespace = cls.__dict__
    walk.guards.size(namespace, len(namespace))
    lenient = _has_library_base(cls)
    out = bytearray(b"{")
    for name in sorted(namespace):
        value = namespace[name]
        if (name in _BOOKKEEPING and not is_own_hook(value)) or name in covered or _is_generated(name, value, cls):
            continue
        walk.guards.binding(namespace, name, value)
        out += sized(name) + walk.edge(value, f"{label}.{name}", name=name, lenient=lenient)
    return bytes(out + b"}")


def _is_generated(name: str, value: Any, cls: type) -> bool:
    """Whether a class attribute was made by a framework from what is recorded otherwise."""
    if isinstance(value, (types.MemberDescriptorType, types.GetSetDescriptorType)):
        return True
    if name == "__init__" and (value is object.__init__ or getattr(value, "__module__", "") == "typing"):
        # The first instance of a class with a protocol among its bases puts the one in the place of the other.
        return True
    inner = getattr(value, "__wrapped__", value)
    inner = getattr(inner, "__func__", inner)
    if not isinstance(inner, types.FunctionType):
        return False
    code = inner.__code__
    if code.co_qualname.startswith(_GENERATED_SCOPES) or code.co_filename.startswith("<attrs generated"):
        return True
    if issubclass(cls, (tuple, enum.Enum)) and realm_of_file(code.co_filename) == "stdlib":
        return True
    return str(inner.__globals__.get("__name__", "")).startswith("namedtuple_")


def _has_library_base(cls: type) -> bool:
    """Whether an installed package had a hand in making the class: it may have read the annotations."""
    related = [*cls.__mro__[1:], type(cls)]
    return any(_made_by_library(base) for base in related)


def _made_by_library(base: type) -> bool:
    return realm_of_module(module_of(base)) == "package" or (
        module_of(base) == "typing" and base.__name__ in {"Protocol", "_TypedDictMeta"}
    )


def annotations_of(walk: Walk, cls: type, label: str) -> bytes:
    """Edges to the annotations in the body of a class, in their order."""

    # The annotations of this very class, as they were written.
    found = vars(cls).get("__annotations__")
    if not isinstance(found, Mapping) or not found:
        return b""
    module = sys.modules.get(module_of(cls))
    out = bytearray(b"h")
    for name, hint in list(found.items()):
        out += sized(name) + hint_edge(walk, hint, f"{label}.{name}", getattr(module, "__dict__", {}))
    return bytes(out)


def hint_edge(walk: Walk, hint: Any, label: str, names: dict[str, Any]) -> bytes:
    """An edge to an annotation: an object, or text that names one."""

    if not isinstance(hint, str):
        return walk.edge(hint, label, lenient=True)
    try:
        tree = ast.parse(hint.strip(), mode="eval").body
    except SyntaxError:
        return walk.edge(hint, label)
    unit = statement_unit(tree)
    builtins = names.get("__builtins__", __builtins__)
    space = Space(names, builtins if isinstance(builtins, dict) else vars(builtins), {}, label)
    return b"h" + unit.digest + references(walk, unit, space)


def subclasses_of(cls: type) -> list[type]:
    """Live project subclasses, in an order that does not depend on the process."""

    live: list[type] = type.__subclasses__(cls)
    found = [sub for sub in live if project_class(sub) or leaf_name(sub) is None]
    return sorted(found, key=type_name)


def _text(cls: type) -> str:
    """The class line and its plain attributes."""

    bases = ", ".join(base.__qualname__ for base in cls.__bases__ if base is not object)
    lines = [f"class {cls.__qualname__}({bases}):" if bases else f"class {cls.__qualname__}:"]
    for name, value in sorted(cls.__dict__.items()):
        if name in _BOOKKEEPING or value is MISSING:
            continue
        kind = (
            "..."
            if callable(value) or isinstance(value, (property, staticmethod, classmethod))
            else value_text(name, value)
        )
        lines.append(f"    {name} = {kind}")
    return "\n".join(lines)
