"""How a step travels to other processes: by the name it is imported by, else by value."""

from __future__ import annotations

import importlib
import inspect
import sys
from typing import Any

from mlflowish.errors import CapabilityError


def by_name(module: str, qualname: str) -> Any:
    """The step of that name; what unpickling calls. CapabilityError if this process has another module of that name."""
    found = _found(imported := importlib.import_module(module), qualname)
    if found is None:
        raise CapabilityError(
            f"There is no {qualname} in the module {module} that this process imports, "
            f"{getattr(imported, '__file__', 'which has no file')}: give it the code that the step is sent from.",
            module=module,
            qualname=qualname,
        )
    return found


def named(kind: Any, function: Any, options: Any, name: str) -> Any:
    """A step that went by value, under the name that it has where it comes from."""
    step = kind(function, options)
    step.name = step.identifier.step = name
    return step


def has_name(step: Any, function: Any) -> bool:
    """Does the name of `function` lead to `step` where it is going, so that the name is enough?

    A script's own steps go by name as its functions do, except with those who take functions of scripts by value,
    because they go to processes that have another script, or none. So do those of modules that `is_sent` tells of.
    """
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    if module is None or _found(module, getattr(function, "__qualname__", None) or "<locals>") is not step:
        return False
    return not is_sent(module.__name__) or not _goes_by_value()


def is_sent(module: str) -> bool:
    """Does the code of a module travel itself, and not as a name to import: the script's, and that of modules given to
    `cloudpickle.register_pickle_by_value`?"""
    if module == "__main__":
        return True
    pickling = sys.modules.get("cloudpickle")
    return pickling is not None and module in pickling.list_registry_pickle_by_value()


def sent_files() -> set[str]:
    """The files of modules whose code travels itself."""
    pickling = sys.modules.get("cloudpickle")
    names = {"__main__"} | (pickling.list_registry_pickle_by_value() if pickling is not None else set())
    files = (getattr(sys.modules.get(name), "__file__", None) for name in names)
    return {file for file in files if file is not None}


def _found(module: Any, qualname: str) -> Any:
    found = module
    for name in qualname.split("."):
        found = inspect.getattr_static(found, name, None) if isinstance(found, type) else getattr(found, name, None)
    return found.__func__ if isinstance(found, (classmethod, staticmethod)) else found


def _goes_by_value() -> bool:
    """Is cloudpickle (also a copy inside another package) or dill pickling? Nothing but the stack tells."""
    frame = inspect.currentframe()
    while frame is not None:
        if not {"cloudpickle", "dill"}.isdisjoint(str(frame.f_globals.get("__name__", "")).split(".")):
            return True
        frame = frame.f_back
    return False
