"""Is what a body calls a matter of its code and its arguments alone? Then an unchanged pipeline is not even traced.

A body is closed if it names nothing but steps, pipelines, plain values, a few builtins and functions that are closed
themselves, and asks for no attributes but those of builtin containers and texts. Whatever else it may do (list a
folder, read the clock, make a `File`), it is traced each time, and what it called is part of the key: see `shape.py`.
"""

from __future__ import annotations

import builtins
import dis
import sys
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

from mlflowish.hashing import Fingerprint
from mlflowish.hashing.plain import MAX_DEPTH, plain_digest
from mlflowish.pipelines.nodes import Node, index_of
from mlflowish.steps import Step

if TYPE_CHECKING:
    from mlflowish.pipelines.definition import Pipeline
    from mlflowish.pipelines.specs import Group
    from mlflowish.pipelines.trace import Trace

# Those that give the same for the same plain values in every process: not `set`, whose order is another each time,
# nor `repr`, `id`, `hash`, `open`, `print`, `isinstance` (a node is of no type that its value has).
_BUILTINS = frozenset(
    {"abs", "all", "any", "bool", "dict", "divmod", "enumerate", "float", "int", "len", "list", "max", "min", "pow"}
    | {"range", "reversed", "round", "slice", "sorted", "str", "sum", "tuple", "zip"}
)
_ATTRIBUTES = frozenset(
    {"append", "copy", "count", "endswith", "extend", "format", "get", "index", "insert", "items", "join", "keys"}
    | {"lower", "map", "pop", "removeprefix", "removesuffix", "replace", "setdefault", "split", "startswith", "strip"}
    | {"submit", "title", "update", "upper", "values", "when", "zfill"}
)
_NAMING = {"LOAD_GLOBAL": "global", "LOAD_ATTR": "attribute", "LOAD_METHOD": "attribute"}
_OPEN = frozenset({"BUILD_SET", "SET_ADD", "SET_UPDATE", "LOAD_BUILD_CLASS", "LOAD_LOCALS", "IMPORT_STAR"})
_VIEWS, _SET_OPERATORS = frozenset({"keys", "items"}), frozenset("&|^-")  # of two views they make a set


def closed_steps(pipeline: Pipeline[..., Any], fingerprint: Fingerprint) -> frozenset[Step[..., Any]] | None:
    """The steps that the body may call, those of nested pipelines included; None if it is not closed. Remembered for
    as long as the code is what it is."""
    known = pipeline.closed_under
    if known is None or known[0] is not fingerprint:
        known = pipeline.closed_under = (fingerprint, _Look().at(pipeline.fn))
    found: frozenset[Step[..., Any]] | None = known[1]
    return found


def asks_for_parts(trace: Trace, group: Group) -> bool:
    """Did the body unpack a node? Into how many parts is said by a hint, which is no part of the code of a step."""
    return any(group.first <= place <= group.last for place in trace.unpacked)


def are_plain(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Are all arguments plain data or nodes, so that reading them in a body has no way to do anything else?"""
    return all(type(value) is Node or _is_plain(value) for value in (*args, *kwargs.values()))


def _is_plain(value: Any, depth: int = 0) -> bool:
    if plain_digest(value) is not None:
        return True
    if type(value) not in (list, tuple, dict) or depth > MAX_DEPTH:  # so deep is what contains itself
        return False
    members = [*value.keys(), *value.values()] if type(value) is dict else value
    return all(type(each) is Node or _is_plain(each, depth + 1) for each in members)


def node_places(value: Any) -> list[str]:
    """Where nodes stand in the arguments, and which of them are one and the same: a body may do other things for a node
    than for the value it becomes, and for one given twice than for two (`node in nodes`)."""
    numbers: dict[int, int] = {}
    return [f"{place}={numbers.setdefault(index, len(numbers))}" for place, index in _nodes_in(value, "")]


def _nodes_in(value: Any, place: str) -> Iterator[tuple[str, int]]:
    if type(value) is Node:
        yield place, index_of(value)
    elif type(value) in (list, tuple, dict):
        for name, each in value.items() if type(value) is dict else enumerate(value):
            yield from _nodes_in(each, f"{place}[{name!r}]")


class _Look:
    """One look at a body and the functions that it calls."""

    def __init__(self) -> None:
        self._steps: set[Step[..., Any]] = set()
        self._seen: set[int] = set()
        self._has_views = self._has_set_operators = False

    def at(self, function: Any) -> frozenset[Step[..., Any]] | None:
        """The steps, None if something is not closed."""
        is_closed = self._function(function) and not (self._has_views and self._has_set_operators)
        return frozenset(self._steps) if is_closed else None

    def _function(self, function: Any) -> bool:
        if id(function) in self._seen:
            return True
        self._seen.add(id(function))
        if type(function) is not FunctionType:
            return False
        try:
            held = [cell.cell_contents for cell in function.__closure__ or ()]
        except ValueError:  # not set yet
            return False
        held += [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
        return all(map(self._value, held)) and self._code(function.__code__, function.__globals__)

    def _code(self, code: CodeType, scope: dict[str, Any]) -> bool:
        before: Any = ...
        for instruction in dis.get_instructions(code):
            name = instruction.opname
            if name in _OPEN or (name == "IS_OP" and before is not None):
                return False  # which object it is, but for `is None`, is no matter of what it holds
            if type(before) is frozenset and name != "CONTAINS_OP":
                return False  # `for each in {"a", "b"}`
            before = instruction.argval if name == "LOAD_CONST" else ...
            self._has_set_operators |= name == "BINARY_OP" and instruction.argrepr[:1] in _SET_OPERATORS
            if instruction.opcode not in dis.hasname:
                continue
            kind = _NAMING.get(name)
            if kind is None or (kind == "attribute" and instruction.argval not in _ATTRIBUTES):
                return False
            self._has_views |= kind == "attribute" and instruction.argval in _VIEWS
            if kind == "global" and not self._global(instruction.argval, scope):
                return False
        return all(self._code(inner, scope) for inner in code.co_consts if isinstance(inner, CodeType))

    def _global(self, name: str, scope: dict[str, Any]) -> bool:
        if name in scope:
            return self._value(scope[name])
        return name in _BUILTINS and hasattr(builtins, name)

    def _value(self, value: Any) -> bool:
        from mlflowish.pipelines.decorator import when
        from mlflowish.pipelines.definition import Pipeline

        if isinstance(value, Step):
            self._steps.add(value)
            return True
        if isinstance(value, Pipeline):
            return self._function(value.fn)
        if value is sys.modules["mlflowish"] or value is when:
            return True  # of the package `when` alone is among the attributes
        return self._function(value) if type(value) is FunctionType else plain_digest(value) is not None
