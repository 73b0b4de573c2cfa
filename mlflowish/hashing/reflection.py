"""What a program reads about its own code: docstrings, hints, names, source, subclasses, attributes of functions.

None of this counts unless something reached reads it; then it counts for everything reached, because which object is
asked cannot be known.
"""

from __future__ import annotations

from types import FunctionType
from typing import TYPE_CHECKING, Any

from mlflowish.hashing import source
from mlflowish.hashing.classes import annotations_of, subclasses_of
from mlflowish.hashing.constants import sized
from mlflowish.hashing.functions import defaults
from mlflowish.hashing.leaves import code_label, module_of
from mlflowish.hashing.library_settings import settings_facts
from mlflowish.hashing.outline import Statement
from mlflowish.hashing.patches import library_facts
from mlflowish.hashing.questions import answers

if TYPE_CHECKING:
    from mlflowish.hashing.walk import Walk

_DOCS = frozenset({"__doc__", "getdoc", "help"})
_HINTS = frozenset(
    {
        "__annotations__",
        "get_type_hints",
        "get_annotations",
        "signature",
        "getfullargspec",
        "Signature",
        "__signature__",
    }
)
_FRAMES = frozenset({"_getframe", "_getframemodulename", "currentframe", "stack", "f_code", "co_name", "co_qualname"})
_LINES = frozenset(
    {
        "co_firstlineno",
        "extract_stack",
        "extract_tb",
        "f_lineno",
        "format_exc",
        "format_exception",
        "format_stack",
        "format_tb",
        "tb_lineno",
    }
)
_NAMES = frozenset({"__name__", "__qualname__"}) | _FRAMES | _LINES
_MODULES = frozenset({"__module__", "_getframemodulename", "getmodule", "getmodulename", "f_globals"})
_SOURCE = frozenset({"getsource", "getsourcelines", "findsource", "__code__"})
_ORDER = frozenset({"__dict__", "vars", "getmembers"})


def reflected(walk: Walk) -> frozenset[str]:
    """Note on the walk what reflection adds to its records; returns what was noted."""

    found: dict[str, bytes] = {}
    read = walk.attributes
    if walk.entry_reused and walk.entry is not None:
        found["defaults"] = defaults(walk, walk.entry, walk.entry.__qualname__)
    for number, obj in enumerate(walk.visited()):
        if isinstance(obj, FunctionType):
            found |= _function_facts(walk, obj, number, read)
        elif isinstance(obj, type):
            found |= _class_facts(walk, obj, number, read)
        elif isinstance(obj, Statement):
            found |= _statement_facts(obj, number, read)
    if "__debug__" in read and not __debug__:
        found["optimised"] = b"-O"
    found |= answers(walk)
    found |= library_facts(walk)
    found |= settings_facts(walk)
    walk.reflected = b"".join(sized(key) + value for key, value in found.items())
    return frozenset(found)


def _function_facts(walk: Walk, function: FunctionType, number: int, read: set[str]) -> dict[str, bytes]:

    found: dict[str, bytes] = {}
    if read & _DOCS:
        walk.guards.probe(lambda: function.__doc__, function.__doc__)
        found[f"doc {number}"] = sized(function.__doc__ or "")
    if read & _NAMES:
        found[f"name {number}"] = sized(function.__qualname__)
    if read & _MODULES:
        found[f"module {number}"] = sized(str(function.__module__))
    if read & _LINES:
        found[f"lines {number}"] = b"".join(b"%d," % (line or 0) for _, _, line in function.__code__.co_lines())
    if read & _HINTS:
        found[f"hints {number}"] = source.hints_of_code(function.__code__)
    if read & _SOURCE:
        found[f"source {number}"] = sized(source.unit_of(function.__code__).text)
    for name in sorted(function.__dict__.keys() & read - {"__wrapped__"}):
        value = function.__dict__[name]
        walk.guards.binding(function.__dict__, name, value)
        label = f"{code_label(function, '')}.{name}"
        found[f"attribute {number} {name}"] = walk.edge(value, label, name=name, lenient=True)
    return found


def _class_facts(walk: Walk, cls: type, number: int, read: set[str]) -> dict[str, bytes]:

    found: dict[str, bytes] = {}
    if read & _DOCS:
        walk.guards.probe(lambda: cls.__doc__, cls.__doc__)
        found[f"doc {number}"] = sized(str(cls.__dict__.get("__doc__") or ""))
    if read & _NAMES:
        found[f"name {number}"] = sized(cls.__qualname__)
    if read & _MODULES:
        found[f"module {number}"] = sized(module_of(cls))
    if read & _HINTS:
        found[f"hints {number}"] = _hints(walk, cls)
    if read & _ORDER:
        found[f"order {number}"] = b"".join(map(sized, cls.__dict__))
    if "__subclasses__" in read:
        subclasses = subclasses_of(cls)
        walk.guards.probe(lambda: subclasses_of(cls), subclasses)
        found[f"subclasses {number}"] = b"".join(
            walk.edge(sub, f"{cls.__qualname__}.__subclasses__") for sub in subclasses
        )
    return found


def _statement_facts(statement: Statement, number: int, read: set[str]) -> dict[str, bytes]:
    """The same for a function or class that is imported in a body, of which there is only the source."""
    found: dict[str, bytes] = {}
    if statement.kind == "value":
        return found
    if read & _NAMES:
        found[f"name {number}"] = sized(getattr(statement.node, "name", ""))
    if read & _MODULES:
        found[f"module {number}"] = sized(statement.outline.name)
    if read & _LINES:
        found[f"lines {number}"] = b"%d" % statement.node.lineno
    if read & (_DOCS | _HINTS | _SOURCE):
        found[f"source {number}"] = sized(statement.unit().text)
    return found


def _hints(walk: Walk, cls: Any) -> bytes:

    return annotations_of(walk, cls, cls.__qualname__)
