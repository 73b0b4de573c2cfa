"""Results by reference as plain data, for the entry of a pipeline, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from mlflowish.errors import UncacheableError
from mlflowish.pipelines.nodes import Node, index_of
from mlflowish.steps.reference import Reference

_PLAIN = frozenset({int, float, complex, str, bytes, bool, type(None)})
_FIELDS = ("key", "entry_id", "digest", "kind", "code", "inline", "description")


def pack(value: Any, outputs: Mapping[int, int] = MappingProxyType({})) -> tuple[Any, ...]:
    """A value with references, or with nodes that are among `outputs` (their places there).

    UncacheableError for one that is not plain."""
    kind = type(value)
    if kind is Reference:
        return ("reference", *(getattr(value, name) for name in _FIELDS))
    if kind is Node:
        return ("output", outputs[index_of(value)])
    if kind in (list, tuple):
        return (kind.__name__, [pack(member, outputs) for member in value])
    if kind is dict:
        return ("dict", [(pack(name), pack(member, outputs)) for name, member in value.items()])
    if kind in _PLAIN:
        return ("value", value)
    raise UncacheableError(f"its result holds a {kind.__name__} that no step made", path="result")


def unpack(packed: Any, outputs: Sequence[Any]) -> Any:
    """What was packed, with `outputs` in the place of nodes."""
    kind, *fields = packed
    if kind == "reference":
        named = dict(zip(_FIELDS, fields, strict=False))
        return Reference(**{**named, "code": tuple(map(tuple, named["code"]))})
    if kind == "output":
        return outputs[fields[0]]
    if kind == "dict":
        return {unpack(name, ()): unpack(member, outputs) for name, member in fields[0]}
    if kind in ("list", "tuple"):
        members = [unpack(member, outputs) for member in fields[0]]
        return members if kind == "list" else tuple(members)
    return fields[0]
