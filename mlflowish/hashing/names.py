"""Names of standard-library classes that are the same on every Python version."""

from __future__ import annotations

import os
import sys
from functools import cache

# Where a newer Python keeps a class in another module than its public one.
_MOVED = {"pathlib._local": "pathlib", "pathlib._abc": "pathlib"}


def standard_name(cls: type) -> str | None:
    """`module:qualname` of a class of the standard library, None for any other.

    A project may have a module of its own that shadows a standard one, and a class may claim a foreign `__module__`:
    the module has to be the real one, and the name has to lead to this class.
    """
    module_name = cls.__module__
    if module_name == "builtins" and getattr(sys.modules["builtins"], cls.__qualname__, None) is cls:
        return f"builtins:{cls.__qualname__}"
    if not isinstance(module_name, str) or not _is_standard(module_name):
        return None
    found: object = sys.modules.get(module_name)
    for part in cls.__qualname__.split("."):
        found = getattr(found, part, None)
    if found is not cls:
        return None
    return f"{_MOVED.get(module_name, module_name)}:{cls.__qualname__}"


@cache
def _standard_folders() -> tuple[str, str]:
    home = os.path.dirname(os.path.abspath(os.__file__))
    return home + os.sep, os.path.join(home, "site-packages") + os.sep


def _is_standard(module_name: str) -> bool:
    if module_name.partition(".")[0] not in sys.stdlib_module_names:
        return False
    module = sys.modules.get(module_name)
    if module is None:
        return False
    file = getattr(module, "__file__", None)
    if file is None:
        return module_name in sys.builtin_module_names or getattr(module.__spec__, "origin", None) == "frozen"
    home, packages = _standard_folders()
    path = os.path.abspath(file)
    return path.startswith(home) and not path.startswith(packages)
