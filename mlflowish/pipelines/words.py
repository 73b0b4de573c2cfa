"""The words that the body of a closed pipeline may be made of, and what they mean for it: builtins, errors, methods,
formats. `allowed.py` reads bodies by them."""

from __future__ import annotations

import builtins
import string
from enum import Enum, Flag, auto
from typing import Any

# Those that give the same for the same plain values in every process: not `set`, whose order is another each time,
# nor `repr`, `id`, `hash`, `open`, `print`, `isinstance` (a node is of no type that its value has).
_BUILTINS = frozenset(
    {"abs", "all", "any", "bool", "dict", "divmod", "enumerate", "float", "int", "len", "list", "max", "min", "pow"}
    | {"range", "reversed", "round", "slice", "sorted", "str", "sum", "tuple", "zip"}
)
BUILTINS = {name: getattr(builtins, name) for name in _BUILTINS}
READS_FIRST = frozenset({"all", "any", "dict", "len", "list", "sorted", "sum", "tuple"})
READS_ALL = frozenset({"enumerate", "reversed", "zip"})  # and gives an iterator
_ERRORS = frozenset(
    {"ArithmeticError", "AssertionError", "IndexError", "KeyError", "LookupError", "NotImplementedError"}
    | {"RuntimeError", "TypeError", "ValueError", "ZeroDivisionError"}
)
ERRORS = {name: getattr(builtins, name) for name in _ERRORS}

# Methods of containers and texts, whose results follow from what they are called on.
VIEWS = frozenset({"items", "keys", "values"})
CHANGES = frozenset(
    {"append", "clear", "extend", "insert", "pop", "popitem", "remove", "reverse", "setdefault", "update"}
)
READS = frozenset(
    {"copy", "count", "endswith", "get", "index", "join", "lower", "lstrip", "removeprefix", "removesuffix", "replace"}
    | {"rstrip", "split", "startswith", "strip", "title", "upper", "zfill"}
)
OF_STEPS = frozenset({"map", "submit"})
READS_ARGUMENTS = frozenset({"extend", "join", "map", "update"})

CONSTANTS = (type(None), bool, int, float, complex, str, bytes, type(...))
SINGLETONS = (None, True, False, ...)


class Open(Exception):
    """The body is open; the text says why."""


class Use(Enum):
    """What becomes of the value of an expression."""

    KEPT = auto()  # it may end up anywhere
    READ = auto()  # gone through at once, and then forgotten
    CALLED = auto()


class Trait(Flag):
    """What is harmless alone."""

    NONE = 0
    KEEPS_CODE = auto()  # a function, a step or an iterator, whose text has an address or a name
    MAKES_TEXT = auto()
    KEEPS_VIEW = auto()  # of a dict
    HAS_SET_OPERATOR = auto()  # which makes a set of two views


HARMFUL = (Trait.KEEPS_CODE | Trait.MAKES_TEXT, Trait.KEEPS_VIEW | Trait.HAS_SET_OPERATOR)


class Meaning(Enum):
    """What a name from outside of a function stands for."""

    PLAIN = auto()
    CODE = auto()  # a function, a pipeline
    STEP = auto()
    WHEN = auto()
    MODULE = auto()  # this package
    BUILTIN = auto()
    ERROR = auto()


def is_sound_format(spec: Any) -> bool:
    return isinstance(spec, str) and not spec.endswith("n")


def is_sound_template(template: Any) -> bool:
    """No attributes (`{0.__init__}` has an address), no items, no computed formats, no `{:n}`."""
    if not isinstance(template, str):
        return False
    try:
        fields = list(string.Formatter().parse(template))
    except ValueError:
        return False
    return all(
        (not name or name.isidentifier() or name.isdecimal())
        and "{" not in (spec or "")
        and is_sound_format(spec or "")
        for _, name, spec, _ in fields
    )
