"""Modules that were loaded while a step ran, and those that it could have asked for by a name made up while it ran.

No reader of the code knows their names, and their constants leave no trace when they are read. So each counts as a
whole, by its source.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING

from mlflowish.hashing.packages import realm_of_file

if TYPE_CHECKING:
    from mlflowish.hashing.fingerprint import Fingerprint

Place = tuple[str, str]


class Loaded:
    """The names in `sys.modules` that came in between `begin` and `end`, and those that were there at the end."""

    __slots__ = ("_last", "_new", "search")

    def __init__(self) -> None:
        # The search path at the beginning, which another process has too.
        self.search: list[str] = []
        self._last = ""
        self._new: list[str] = []

    def begin(self) -> None:
        """Note where the table of modules ends: it is in order of loading, and copying it costs 20 microseconds."""
        self._last = next(reversed(sys.modules))
        self.search = list(sys.path)

    def end(self) -> None:
        """Note what is behind that."""
        if next(reversed(sys.modules)) != self._last:
            names = list(sys.modules)
            start = names.index(self._last) + 1 if self._last in sys.modules else 0
            self._new = names[start:]

    def places(self, fingerprint: Fingerprint) -> list[Place]:
        """Project modules that the fingerprint does not cover.

        If its code loads modules under names that it makes up, every module of the project may be one of them.
        """
        found = []
        for name in list(sys.modules) if fingerprint.loads_by_name else self._new:
            file = getattr(sys.modules.get(name), "__file__", None)
            if name == "__main__" or not isinstance(file, str) or fingerprint.codes.has_file(file):
                continue
            if realm_of_file(file) == "project" and (place := place_of_module(name, file, self.search)) is not None:
                found.append(place)
        return found


def place_of_module(name: str | None, file: str, search: list[str]) -> Place | None:
    """How another process finds a module again: by name, or by file where the search path does not lead to it."""
    if name is not None and name != "__main__" and _leads_to(name, file, search):
        return name, ""
    if not file.endswith(".py") or realm_of_file(file) != "project":
        return None
    roots = [os.path.join(root, "") for root in search if root and file.startswith(os.path.join(root, ""))]
    return "", os.path.relpath(file, max(roots, key=len)) if roots else file


def file_of_place(path: str) -> str:
    """The file that such a place means now."""
    candidates = [os.path.join(root, path) for root in sys.path]
    return next((file for file in candidates if os.path.isfile(file)), path)


def _leads_to(name: str, file: str, search: list[str]) -> bool:
    top, _, rest = name.partition(".")
    try:
        spec = PathFinder.find_spec(top, search)
    except (ImportError, ValueError):
        return False
    return spec is not None and (bool(rest) or spec.origin == file)
