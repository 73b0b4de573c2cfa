"""Is what a body calls a matter of its code and its arguments alone? Then an unchanged pipeline is not even traced.

A body is closed if it is made of nothing but allowed syntax (`allowed.py`) and names nothing but steps, pipelines,
plain values, a few builtins and functions that are closed themselves. Whatever else it may do (list a folder, read the
clock, make a `File`), it is traced each time, and what it called is part of the key: see `shape.py`.
"""

from __future__ import annotations

import ast
import builtins
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter
from types import FunctionType
from typing import TYPE_CHECKING, Any

from mlflowish.errors import MlflowishError
from mlflowish.hashing import Fingerprint
from mlflowish.hashing.plain import CONTAINERS, MAX_DEPTH, SCALARS, has_nan
from mlflowish.hashing.source import syntax_of
from mlflowish.pipelines.allowed import Reading
from mlflowish.pipelines.nodes import Node, index_of
from mlflowish.pipelines.words import BUILTINS, ERRORS, HARMFUL, Meaning, Open, Trait
from mlflowish.steps import Step

if TYPE_CHECKING:
    from mlflowish.pipelines.definition import Pipeline
    from mlflowish.pipelines.specs import Group
    from mlflowish.pipelines.trace import Trace

# What plain values give may depend on it: `sum` of floats, the tables of Unicode, `2 ** 0.5`, `assert`.
_PYTHON = (
    f"{sys.implementation.cache_tag} {sys.version_info[:3]} {sys.platform} {platform.machine()} {sys.flags.optimize}"
)
_builtins_of = attrgetter("__builtins__")


@dataclass(frozen=True, slots=True)
class Closed:
    """A closed body: the steps that it may call, those of nested pipelines included, and the hints of those pipelines,
    by which they refuse arguments."""

    steps: frozenset[Step[..., Any]]
    hints: str

    def setting(self) -> bytes | None:
        """What it depends on beside its code and arguments, for the key: what its steps are now, as they would say
        themselves, and the interpreter. None where a step has no identity."""
        try:
            steps = {step.identifier.current().digest + step.identifier.extras() for step in self.steps}
        except MlflowishError:
            return None
        python = f"{_PYTHON} {sys.get_int_max_str_digits()} {self.hints}".encode("utf-8", "surrogatepass")
        return b"".join(len(piece).to_bytes(4, "little") + piece for piece in (python, *sorted(steps)))


def closed_body(pipeline: Pipeline[..., Any], fingerprint: Fingerprint) -> Closed | str:
    """What a closed body depends on; of another the reason why it is open. Remembered for as long as the code is what
    it is."""
    known: tuple[Fingerprint, Closed | str] | None = pipeline.closed_under
    if known is None or known[0] is not fingerprint:
        known = pipeline.closed_under = (fingerprint, _look(pipeline, fingerprint))
    return known[1]


def _look(pipeline: Pipeline[..., Any], fingerprint: Fingerprint) -> Closed | str:
    look = _Look(fingerprint)
    try:
        look.function(pipeline.fn)
    except Open as reason:
        return str(reason)
    for harmful in HARMFUL:
        if harmful in look.traits:
            return " and ".join(str(trait.name).lower().replace("_", " ") for trait in harmful)
    return Closed(frozenset(look.steps), "\n".join(sorted(look.hints)))


def asks_nodes(trace: Trace, group: Group) -> bool:
    """Did the body unpack a node, or make text of a container with one? How many parts there are is said by a hint, and
    the text has a line number; neither is in the code of a step or body."""
    return any(group.first <= place <= group.last for place in trace.asked)


def are_plain(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Are all arguments plain data or nodes, so that reading them in a body has no way to do anything else?

    NaN is not: `x in xs` and `xs == ys` ask first whether it is the very object, and no digest says that.
    """
    return all(type(value) is Node or _is_plain(value) for value in (*args, *kwargs.values()))


def _is_plain(value: Any, depth: int = 0) -> bool:
    kind = type(value)
    if kind in SCALARS:
        return bool(value == value)
    if kind not in CONTAINERS or depth > MAX_DEPTH:  # so deep is what contains itself
        return False
    members = [*value.keys(), *value.values()] if kind is dict else value
    kinds = set(map(type, members))
    if kinds <= SCALARS:
        return not has_nan(members, kinds)
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
    """One look at a body and the functions that it calls. Open if something is not closed."""

    def __init__(self, fingerprint: Fingerprint) -> None:
        self.steps: set[Step[..., Any]] = set()
        self.hints: set[str] = set()
        self.traits = Trait.NONE
        self._fingerprint = fingerprint
        self._seen: set[int] = set()

    def function(self, function: Any) -> None:
        """Take a function in, with all that it calls."""
        if type(function) is not FunctionType:
            raise Open(f"no function: {function!r:.60}")
        if id(function) in self._seen:
            return
        self._seen.add(id(function))
        code = function.__code__
        if code not in self._fingerprint.codes:  # a library's, of which the version counts and not what it reads
            raise Open(f"{code.co_qualname} belongs to a library")
        if _builtins_of(function) is not builtins.__dict__:
            raise Open(f"{code.co_qualname} has builtins of its own")
        syntax = syntax_of(code)
        if not isinstance(syntax, (ast.FunctionDef, ast.Lambda)):
            raise Open(f"{code.co_qualname} has no source")
        cells = dict(zip(code.co_freevars, function.__closure__ or (), strict=True))

        def outside(name: str) -> Meaning:
            if name in cells:
                return self._value(name, _content(name, cells[name]))
            if name in function.__globals__:
                return self._value(name, function.__globals__[name])
            return _builtin(name)

        reading = Reading(syntax, outside, self._code_defaults(function))
        self.traits |= reading.traits

    def _code_defaults(self, function: FunctionType) -> list[str]:
        """The parameters whose default is code."""
        code = function.__code__
        values = function.__defaults__ or ()
        names = code.co_varnames[code.co_argcount - len(values) : code.co_argcount]
        defaults = {**dict(zip(names, values, strict=True)), **(function.__kwdefaults__ or {})}
        return [name for name, value in defaults.items() if self._value(name, value) is not Meaning.PLAIN]

    def _value(self, name: str, value: Any) -> Meaning:
        from mlflowish.pipelines.decorator import when
        from mlflowish.pipelines.definition import Pipeline

        if isinstance(value, Step):
            self.steps.add(value)
            return Meaning.STEP
        if isinstance(value, Pipeline):
            self.function(value.fn)
            self.hints.add(repr(sorted((name, repr(hint)) for name, hint in value.parameters.hints.items())))
            return Meaning.CODE
        if value is sys.modules["mlflowish"]:
            return Meaning.MODULE
        if value is when:
            return Meaning.WHEN
        if type(value) is FunctionType:
            self.function(value)
            return Meaning.CODE
        if not _is_plain(value):
            raise Open(f"{name} is {type(value).__name__} {value!r:.60}")
        return Meaning.PLAIN


def _content(name: str, cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        raise Open(f"{name} is not set yet") from None


def _builtin(name: str) -> Meaning:
    for known, meaning in ((BUILTINS, Meaning.BUILTIN), (ERRORS, Meaning.ERROR)):
        if name in known and builtins.__dict__.get(name) is known[name]:
            return meaning
    raise Open(f"the name {name}")
