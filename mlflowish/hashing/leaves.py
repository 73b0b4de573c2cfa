"""The public names of what is not walked into: the standard library and installed packages."""

from __future__ import annotations

import sys
import types
import typing
from typing import Any

from mlflowish.hashing.packages import realm_of_file, realm_of_module

_PRIVATE_HEAP = 1 << 9  # Py_TPFLAGS_HEAPTYPE: the class was made by a class statement or a call.


def project_function(function: types.FunctionType, own_package: str | None = None) -> bool:
    """Whether a function's code was written in the user's project."""
    file = function.__code__.co_filename
    module = function.__globals__.get("__name__")
    name = module if isinstance(module, str) else None
    if own_package and name and name.partition(".")[0] == own_package:
        return True
    if file.startswith("<") and not file.startswith("<frozen "):
        return realm_of_module(name) == "project"
    return realm_of_file(file) == "project"


def project_class(cls: type, own_package: str | None = None) -> bool:
    """Whether a class was defined in the user's project."""
    module = module_of(cls)
    if own_package and module.partition(".")[0] == own_package:
        return True
    return realm_of_module(module) == "project"


def module_of(cls: type) -> str:
    """The module that a class says it is from; empty if it says nothing usable."""
    module = getattr(cls, "__module__", None)
    return module if isinstance(module, str) else ""


def is_generic(obj: object) -> bool:
    """Whether `obj` is a parametrised type such as `list[int]`, which says that it is a class."""
    return isinstance(obj, types.GenericAlias)


def leaf_name(obj: Any) -> tuple[str, str] | None:
    """(module, qualified name) under which anybody finds `obj`, or None if that does not lead to it.

    The name of the public module is preferred, because private modules move between versions of Python.
    """
    module: Any
    name: Any
    if isinstance(obj, types.FunctionType):
        module, name = obj.__globals__.get("__name__"), obj.__qualname__
    else:
        owner = getattr(obj, "__objclass__", None)
        module = getattr(owner if owner is not None else obj, "__module__", None)
        name = getattr(obj, "__qualname__", None)
        if module is None and isinstance(getattr(obj, "__self__", None), (types.ModuleType, type)):
            holder = obj.__self__
            module = holder.__name__ if isinstance(holder, types.ModuleType) else module_of(holder)
    if not isinstance(module, str) or not isinstance(name, str):
        return None
    for candidate in _public_first(module):
        if _lookup(candidate, name) is obj:
            return candidate, name
    if isinstance(obj, type) and not obj.__flags__ & _PRIVATE_HEAP:
        return module, name
    if not isinstance(obj, (type, types.FunctionType)):
        return module, name
    if isinstance(obj, type) and realm_of_module(module) == "stdlib" and not _is_made_by_statement(obj):
        return module, name
    return None


def _is_made_by_statement(cls: type) -> bool:
    """Whether a class was made by Python code: what `make_dataclass` returns says that it is from `types`."""
    own = vars(cls)
    return "__slots__" in own or "__dict__" in own or "__weakref__" in own


def public_name(obj: Any) -> tuple[str, str] | None:
    """Where an object of an installed package that cannot be digested is kept under a name: `numpy.newaxis`."""
    module = module_of(type(obj))
    if realm_of_module(module) == "project":
        return None
    for candidate in dict.fromkeys((module.partition(".")[0], module)):
        namespace = getattr(sys.modules.get(candidate), "__dict__", {})
        for name, found in list(namespace.items()):
            if found is obj:
                return candidate, name
    return None


def kept_name(obj: Any) -> tuple[str, str] | None:
    """The module of a library that keeps an object under its own `__name__`, such as a ufunc; None if there is none.

    Looks through all loaded modules: 0.1 ms.
    """
    name = getattr(obj, "__name__", None)
    if not isinstance(name, str):
        return None
    holders = [
        module_name
        for module_name, module in list(sys.modules.items())
        if getattr(module, "__dict__", {}).get(name) is obj and realm_of_module(module_name) != "project"
    ]
    # Public modules first, then the shortest: the same choice whatever else is loaded.
    ranked = sorted(holders, key=lambda found: ("._" in f".{found}", found.count("."), found))
    return (ranked[0], name) if ranked else None


def is_typing(obj: Any) -> bool:
    """Whether `obj` is a type expression: `list[int]`, `int | None`, `TypeVar("T")`."""
    return (
        is_generic(obj) or isinstance(obj, types.UnionType) or module_of(type(obj)) in {"typing", "typing_extensions"}
    )


def is_typing_special(obj: Any) -> bool:
    """Whether `obj` is a bare form such as `typing.Any`."""
    return typing.get_origin(obj) is None and isinstance(getattr(obj, "_name", None), str)


def _public_first(module: str) -> list[str]:
    parts = module.split(".")
    public = [part for part in parts if not part.startswith("_")]
    found = [".".join(public)] if public and public != parts else []
    return [*found, module]


def _lookup(module: str, qualname: str) -> Any:
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        if found is None:
            return None
        namespace = getattr(found, "__dict__", None)
        found = namespace.get(part) if namespace is not None else None
    return found


def state_of(obj: Any) -> dict[str, Any] | None:
    """The attributes that an object itself holds, without asking its `__getattr__`; None if it keeps them otherwise."""
    try:
        found = object.__getattribute__(obj, "__dict__")
    except AttributeError:
        return None
    return found if type(found) is dict else None


def type_name(cls: type) -> str:
    """The name of a class for people."""
    return f"{module_of(cls)}.{cls.__qualname__}"


def code_label(function: types.FunctionType, fallback: str) -> str:
    """The name of a function for people."""
    module = function.__globals__.get("__name__")
    return f"{module}.{function.__qualname__}" if isinstance(module, str) else fallback
