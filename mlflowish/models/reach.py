"""What a model is made of: the modules that its objects' classes and functions come from, and its project code.

The object graph is walked the way pickle does, keeping nothing: large buffers and tensors are passed over.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

import cloudpickle

from mlflowish.errors import MlflowishError
from mlflowish.hashing.fingerprint import Fingerprint, fingerprint
from mlflowish.hashing.packages import realm_of_module

# Handles of other languages, whose reduction would write the whole model once more, and tensors.
_LEAVES = frozenset(
    {"Booster", "ModelProto", "InferenceSession", "Tensor", "Parameter", "ndarray", "DataFrame", "Series", "Table"}
)

_MAIN = "__main__"


@dataclass(frozen=True, slots=True)
class Reach:
    """`libraries`: top-level import names of installed packages; `fingerprints`: one for each class and function of
    the project; `modules`: the modules of the project that those are in."""

    libraries: frozenset[str]
    modules: frozenset[str]
    fingerprints: tuple[Fingerprint, ...]

    def codes(self) -> Iterable[CodeType]:
        """The project's code objects that can run."""
        return (code for found in self.fingerprints for code in found.codes)


def reach_of(model: Any) -> Reach:
    """What `model` is made of, as far as it can be taken apart."""
    survey = _Survey()
    try:
        survey.dump(model)
    except Exception:  # noqa: BLE001  what cannot be pickled says so when it is stored; what was seen counts
        pass
    libraries, modules = set(), set()
    for name in survey.modules:
        realm = realm_of_module(name)
        if realm == "package":
            libraries.add(name.partition(".")[0])
        elif realm == "project":
            modules.add(name)
    prints = tuple(filter(None, map(_fingerprint, survey.code.values())))
    for found in prints:
        libraries |= _package_names(found)
    return Reach(frozenset(libraries), frozenset(modules), prints)


def _fingerprint(thing: Any) -> Fingerprint | None:
    if realm_of_module(thing.__module__) != "project":
        return None
    try:
        return fingerprint(thing)
    except MlflowishError:
        return None


def _package_names(found: Fingerprint) -> set[str]:
    """Distributions that the code reaches, as names that the environment can look up."""
    return {part.label for part in found.parts if part.kind == "package"}


class _Nowhere:
    def write(self, data: Any) -> int:
        return len(data)


class _Survey(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no annotations
    def __init__(self) -> None:
        super().__init__(_Nowhere(), protocol=5, buffer_callback=lambda buffer: False)
        self.modules: set[str] = set()
        self.code: dict[int, Any] = {}

    def reducer_override(self, member: Any) -> Any:
        kind = type(member)
        if member is int:
            return NotImplemented
        if isinstance(member, (type, FunctionType)):
            self._note(member)
            return int, ()  # something small in its place
        wrapped = inspect.getattr_static(member, "__wrapped__", None)
        if isinstance(wrapped, FunctionType):  # a step, what lru_cache made: pickled by name, with code of the project
            self._note(wrapped)
        for base in kind.__mro__:
            self._note(base)
        if kind.__name__ in _LEAVES and realm_of_module(kind.__module__) == "package":
            return int, ()
        return NotImplemented

    def _note(self, thing: Any) -> None:
        module = getattr(thing, "__module__", None)
        if isinstance(module, str):
            self.modules.add(_MAIN if module == "__mp_main__" else module)
            self.code[id(thing)] = thing
