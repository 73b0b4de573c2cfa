"""The function of a step as it is now, in this process: what goes by the recorded name, or stands in its place."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from mlflowish.reproduction.arguments import NotPossible
from mlflowish.reproduction.tasks import Task
from mlflowish.steps.living import living


def present_function(task: Task) -> Any:
    """The function, or step, that the call was one of. NotPossible if nothing is importable under its name."""
    if task.module:
        found = _found(_imported(task.module), task.name)
        if found is not None:
            return found
    module, name = task.meta.step, ""
    while "." in module:
        module, _, part = module.rpartition(".")
        name = f"{part}.{name}" if name else part
        # A script's steps go by the name that it would be imported by.
        for place in (sys.modules.get("__main__"), _imported(module)):
            found = None if place is None else _found(place, name)
            if found is not None and getattr(found, "name", task.meta.step) == task.meta.step:
                return found
    if (held := living.get(task.meta.step)) is not None:
        return held
    raise NotPossible(f"there is no step {task.meta.step} here now: import the module that defines it first")


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _found(place: Any, name: str) -> Any:
    for part in name.split("."):
        place = vars(place).get(part) if isinstance(place, type) else getattr(place, part, None)
    found = getattr(place, "__func__", place)
    return found if callable(found) else None
