"""Code that no import gives back, as one page of source: functions of scripts, notebooks and other functions, with what
they reach there.

Written from the live objects, so that a page has exactly the names that the code reads, as they were, and none of the
work that the script did beside: definitions by their source, modules and what is in them by imports, small plain values
as literals. What cannot be written down is named with the reason.
"""

from __future__ import annotations
import __future__

import ast
import builtins
import logging
import sys
import textwrap
import types
import typing
from typing import Any

from mlflowish.codecs import encode
from mlflowish.codecs.describe import describe
from mlflowish.errors import MlflowishError
from mlflowish.hashing import digest, leaves, source
from mlflowish.hashing.imports import is_project
from mlflowish.steps.definitions import NO_HINTS, class_text, needs, without_step
from mlflowish.steps.writing import sounds_secret
from mlflowish.store.masking import is_secret

_MOST_BYTES = 4096  # of one value
_INDENT = "    "
_FUTURE = __future__.annotations.compiler_flag


def home_of(function: Any) -> tuple[str, str] | None:
    """(module, qualified name) from which another process can import a function or class, or a step around it; None
    if there is no such place."""
    module_name = getattr(function, "__module__", None)
    qualname = getattr(function, "__qualname__", None)
    if not isinstance(module_name, str) or not isinstance(qualname, str) or "<locals>" in qualname:
        return None
    module = sys.modules.get(module_name)
    if module is None or module_name in ("__main__", "__mp_main__") or getattr(module, "__file__", None) is None:
        return None
    found: Any = module
    for part in qualname.split("."):
        found = getattr(found, "__dict__", {}).get(part)
    return (module_name, qualname) if any(function is layer for layer in _layers(found)) else None


def _layers(found: Any) -> list[Any]:
    """An object, and what it wraps, down to the innermost."""
    layers: list[Any] = []
    while found is not None and not any(found is layer for layer in layers):
        layers.append(found)
        found = getattr(found, "__wrapped__", None) or getattr(found, "__func__", None)
    return layers


def step_function(thing: Any) -> Any:
    """The function of a step; None for what is no step."""
    # By shape: a page is written below the room that knows the class.
    own = type(thing).__module__.startswith("mlflowish.steps.") and hasattr(thing, "options")
    return thing.fn if own else None


class Page:
    """A page in the making. `modules`: modules of the project that it imports; `missing`: names that it lacks, and
    why."""

    def __init__(self) -> None:
        self.modules: dict[str, types.ModuleType] = {}
        self.missing: dict[str, str] = {}
        self._pieces: list[str] = []
        self._names: dict[str, Any] = {}
        self._written: dict[int, str] = {}  # functions by id: `_names` and what they are reached by keep them alive
        self._numbers = 0
        self._future = False

    def text(self) -> str:
        """The page."""
        first = [NO_HINTS] if self._future else []
        return "\n\n".join([*first, *self._pieces]) + "\n"

    def write(self, function: Any, *, step: Any = None) -> str:
        """Put a function on the page, with what it needs; gives its name there. `step`: the step that it is of."""
        name = getattr(function, "__name__", "step")
        return self._define(function, name if name.isidentifier() else "step", step)

    # -- definitions -------------------------------------------------------------------------------

    def _define(self, function: types.FunctionType, name: str, step: Any) -> str:
        if id(function) in self._written:
            return self._written[id(function)]
        if name in self._names and _function_of(self._names[name]) is not function:
            self.missing.setdefault(name, "two different things have that name")
            return name
        self._names.setdefault(name, function)
        self._written[id(function)] = name
        text = textwrap.dedent(source.unit_of(function.__code__).text)
        if not text:
            self.missing[name] = "its source could not be read"
            return name
        is_bare = False
        if step is not None:
            text, is_bare = without_step(text, function.__globals__)
        if not text.lstrip().startswith(("def ", "async ", "@")):
            text = f"{name} = {text}"  # a lambda
        cells = _cells(function)
        has_hints = not function.__code__.co_flags & _FUTURE
        self._future = self._future or not has_hints
        self._need_all(text, function.__globals__, {name, *cells}, has_hints=has_hints)
        for_step = [f"{name} = {self._step()}({name}{_options(step)})"] if is_bare else []
        inner = [line for cell, content in cells.items() if cell != name for line in self._cell(cell, content)]
        if not inner:
            self._pieces.append("\n".join([text, *for_step]))
            return name
        self._numbers += 1
        maker = f"_make_{self._numbers}"
        body = textwrap.indent("\n".join([*inner, text, *for_step, f"return {name}"]), _INDENT)
        self._pieces.append(f"def {maker}():\n{body}\n\n\n{name} = {maker}()")
        return name

    def _cell(self, name: str, content: Any) -> list[str]:
        """How a variable that a function closes over gets its content: from a name of its own on the page."""
        self._numbers += 1
        alias = f"_cell_{self._numbers}"
        written = self._object(alias, content, name)
        return [f"{name} = {alias}"] if written else []

    def _class(self, cls: type, name: str) -> bool:
        text = class_text(cls)
        if text is None:
            return self._lacks(name, "the source of the class could not be read")
        namespace = vars(sys.modules[cls.__module__]) if cls.__module__ in sys.modules else {}
        self._need_all(text, namespace, {cls.__name__}, has_hints=True)
        self._pieces.append(text if name == cls.__name__ else f"{text}\n{name} = {cls.__name__}")
        return True

    # -- names -------------------------------------------------------------------------------------

    def _need_all(self, text: str, namespace: dict[str, Any], own: set[str], *, has_hints: bool) -> None:
        needed = needs(text, has_hints=False)
        for name in needed:
            if name not in own:
                self._need(name, namespace)
        for name in needs(text, has_hints=has_hints):
            if name not in own and name not in needed:
                before = dict(self.missing)
                self._need(name, namespace)
                if self.missing != before:
                    # Of what only hints name, the name is enough.
                    self.missing = before
                    self._pieces.append(f"{name} = object")

    def _need(self, name: str, namespace: dict[str, Any]) -> None:
        if name not in namespace:
            if not hasattr(builtins, name) and not name.startswith("__"):
                self.missing.setdefault(name, "nothing had that name when the step ran")
            return
        found = namespace[name]
        if self._is_written(name, found):
            return
        self._names[name] = found
        home = namespace.get("__name__")
        self._object(name, found, name, home if isinstance(home, str) else "")

    def _is_written(self, name: str, found: Any) -> bool:
        if name not in self._names:
            return False
        if self._names[name] is not found and not _is_same(self._names[name], found):
            self.missing.setdefault(name, "two different things have that name")
        return True

    def _object(self, name: str, found: Any, called: str, home: str = "") -> bool:
        """Write a statement that gives `name` to an object, which the program calls `called`; False if none does."""
        if isinstance(found, types.ModuleType):
            return self._module(name, found)
        inner = step_function(found)
        outer = found if inner is None else inner
        function = _function_of(found)
        if isinstance(function, types.FunctionType) and leaves.project_function(function):
            place = home_of(outer)
            if place is not None:
                return self._import(name, *place)
            own_name = function.__name__ if function.__name__.isidentifier() else name
            written = self._define(function, own_name, None if inner is None else found)
            if written != name:
                self._pieces.append(f"{name} = {written}")
            return True
        if isinstance(found, type) and not leaves.is_generic(found) and leaves.project_class(found):
            place = home_of(found)
            return self._import(name, *place) if place is not None else self._class(found, name)
        if isinstance(found, logging.Logger):
            return self._put(f"import logging\n{name} = logging.getLogger({found.name!r})")
        if isinstance(found, typing.TypeVar):
            return self._put(f"import typing\n{name} = typing.TypeVar({found.__name__!r})")
        return self._library(name, found) or self._value(name, found, called) or self._elsewhere(name, found, home)

    def _module(self, name: str, module: types.ModuleType) -> bool:
        self._keep(module.__name__)
        return self._put(f"import {module.__name__} as {name}" if module.__name__ != name else f"import {name}")

    def _import(self, name: str, module: str, qualname: str) -> bool:
        self._keep(module)
        top, _, rest = qualname.partition(".")
        if not rest:
            return self._put(f"from {module} import {top}" + (f" as {name}" if top != name else ""))
        return self._put(f"import {module}\n{name} = {module}.{qualname}")

    def _library(self, name: str, found: Any) -> bool:
        """Something that is found in the standard library or an installed package under its own name."""
        if type(found).__hash__ is None or isinstance(found, (str, bytes, int, float, complex, tuple, frozenset)):
            return False
        place = leaves.leaf_name(found) if not isinstance(found, types.FunctionType) or _is_of_library(found) else None
        place = place or leaves.kept_name(found) or leaves.public_name(found)
        if place is None or place[0] in ("__main__", "builtins") or not _leads_to(place, found):
            return place is not None and place[0] == "builtins" and self._put(f"{name} = {place[1]}")
        return self._import(name, *place)

    def _value(self, name: str, found: Any, called: str) -> bool:
        if is_secret(called) or sounds_secret(called):
            return self._lacks(called, "its name sounds like a secret", done=True)
        if _holds_secret(found):
            return self._lacks(called, "something in it sounds like a secret", done=True)
        text = _literal(found)
        if text is not None:
            return self._put(f"{name} = {text}")
        try:
            encoded = encode(found) if sys.getsizeof(found, _MOST_BYTES + 1) <= _MOST_BYTES else None
        except MlflowishError:
            return False
        if encoded is None or encoded.parts or encoded.executes_code or len(encoded.head) > _MOST_BYTES:
            return False
        stored = f'{{"codec": {encoded.codec!r}, "head": {encoded.head!r}}}'
        return self._put(
            f"from mlflowish.reproduction import stored_value\n{name} = stored_value({stored})  # {describe(found)}"
        )

    def _elsewhere(self, name: str, found: Any, home: str) -> bool:
        """The value of a module that can be imported: as it is when it is imported."""
        module = sys.modules.get(home)
        if home not in ("", "__main__") and is_project(module) and vars(module).get(name) is found:
            return self._import(name, home, name)
        return self._lacks(name, f"{describe(found)} is not kept: only small plain values are")

    def _lacks(self, name: str, why: str, *, done: bool = False) -> bool:
        self.missing.setdefault(name, why)
        return done

    def _put(self, piece: str) -> bool:
        self._pieces.append(piece)
        return True

    def _keep(self, module_name: str) -> None:
        module = sys.modules.get(module_name)
        if module is not None and is_project(module):
            self.modules[module_name] = module

    def _step(self) -> str:
        if "_mlflowish" not in self._names:
            self._names["_mlflowish"] = None
            self._pieces.insert(0, "import mlflowish as _mlflowish")
        return "_mlflowish.step"


def _options(step: Any) -> str:
    return ", seed=True" if step.options.seed else ""


def innermost(found: Any) -> Any:
    """The function that decorators were put around, if it is one; else the object itself."""
    layers = _layers(found)
    return layers[-1] if layers and isinstance(layers[-1], types.FunctionType) else found


def _function_of(found: Any) -> Any:
    inner = step_function(found)
    return innermost(found if inner is None else inner)


def _cells(function: types.FunctionType) -> dict[str, Any]:
    """The variables that a function closes over, as they are now."""
    cells = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            cells[name] = cell.cell_contents
        except ValueError:  # not set yet
            continue
    return cells


def _holds_secret(found: Any, depth: int = 4) -> bool:
    """Is a text or another value in it kept under a name that sounds like one of a secret?"""
    if depth and type(found) is dict:
        names = (key for key in found if type(key) is str)
        return any(is_secret(key) or sounds_secret(key) for key in names) or any(
            _holds_secret(member, depth - 1) for member in found.values()
        )
    return bool(depth) and type(found) in (list, tuple) and any(_holds_secret(member, depth - 1) for member in found)


def _literal(found: Any) -> str | None:
    """The text that gives a value of builtin types back, None if there is none, or a long one."""
    try:
        text = repr(found) if type(found) in _LITERALS and sys.getsizeof(found) <= _MOST_BYTES else ""
        if text and len(text) <= _MOST_BYTES and digest(ast.literal_eval(text)) == digest(found):
            return text
    except (ValueError, SyntaxError, RecursionError, MlflowishError):
        return None
    return None


_LITERALS = frozenset({int, float, complex, str, bytes, bool, type(None), list, tuple, dict, set, type(...)})


def _is_of_library(function: types.FunctionType) -> bool:
    return not leaves.project_function(function)


def _leads_to(place: tuple[str, str], found: Any) -> bool:
    here: Any = sys.modules.get(place[0])
    for part in place[1].split("."):
        here = getattr(here, part, None)
    return here is found


def _is_same(one: Any, other: Any) -> bool:
    try:
        return type(one) is type(other) and digest(one) == digest(other)
    except MlflowishError:
        return False
