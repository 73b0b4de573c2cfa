"""What has to be as it was for a fingerprint to stand: cheap checks in place of a second walk.

Every object compared by identity is kept alive here, so that a new object can never pass for an old one by taking its
address.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from types import CellType, CodeType, FunctionType
from typing import Any

from mlflowish.errors import MlflowishError

MISSING: Any = type("Missing", (), {"__repr__": lambda self: "<missing>"})()

Lookup = Callable[[str, Any], Any]
FileState = tuple[int, int, int]


class Guards:
    """The list of checks that one walk leaves behind. Filled by the walk, then only read: safe for many threads."""

    __slots__ = (
        "_bases",
        "_bindings",
        "_cells",
        "_files",
        "_functions",
        "_kept",
        "_probes",
        "_seen",
        "_sizes",
        "_values",
    )

    def __init__(self) -> None:
        self._bindings: list[tuple[Lookup, str, Any]] = []
        self._functions: list[tuple[FunctionType, CodeType, Any, Any]] = []
        self._cells: list[tuple[CellType, Any]] = []
        self._sizes: list[tuple[Any, int]] = []
        self._bases: list[tuple[type, Any]] = []
        self._values: list[tuple[Any, bytes, Callable[[Any], bytes]]] = []
        self._files: list[tuple[str, FileState | None]] = []
        self._probes: list[tuple[Callable[[], Any], Any]] = []
        self._seen: set[tuple[int, str]] = set()
        self._kept: list[Any] = []

    def binding(self, namespace: Mapping[str, Any], name: str, expected: Any) -> None:
        """`name` in `namespace` is still this object (`MISSING`: still not there)."""
        # A class hands out a new proxy at each access, so what lies behind it is told by the caller's owner.
        key = (id(namespace), name)
        if key in self._seen:
            return
        self._seen.add(key)
        self._kept.append(namespace)
        self._bindings.append((namespace.get, name, expected))

    def function(self, function: FunctionType) -> None:
        """The function still has this code and these defaults."""
        self._functions.append((function, function.__code__, function.__defaults__, function.__kwdefaults__))

    def cell(self, cell: CellType, expected: Any) -> None:
        """The closure variable is still this object (`MISSING`: still empty)."""
        self._cells.append((cell, expected))

    def size(self, namespace: Any, size: int) -> None:
        """As many names as before: with a check of each name, nothing was added."""
        self._sizes.append((namespace, size))

    def bases(self, cls: type) -> None:
        """The class still derives from the same classes."""
        self._bases.append((cls, cls.__bases__))

    def value(self, value: Any, digest: bytes, redigest: Callable[[Any], bytes]) -> None:
        """A value that can change in place still has this digest."""
        self._values.append((value, digest, redigest))

    def file(self, path: str) -> None:
        """A source file that is not loaded yet is still the same."""
        self._files.append((path, file_state(path)))

    def probe(self, look: Callable[[], Any], expected: Any) -> None:
        """What `look` returns is still equal to this."""
        self._probes.append((look, expected))

    def hold(self) -> bool:
        """Whether everything is as it was; about 40 ns for each binding."""
        for get, name, expected in self._bindings:
            if get(name, MISSING) is not expected:
                return False
        for function, code, defaults, keyword_defaults in self._functions:
            if (
                function.__code__ is not code
                or function.__defaults__ is not defaults
                or function.__kwdefaults__ is not keyword_defaults
            ):
                return False
        return self._rest_holds()

    def _rest_holds(self) -> bool:
        for cell, expected in self._cells:
            if cell_content(cell) is not expected:
                return False
        for namespace, size in self._sizes:
            if len(namespace) != size:
                return False
        for cls, bases in self._bases:
            if cls.__bases__ is not bases:
                return False
        for path, state in self._files:
            if file_state(path) != state:
                return False
        for look, expected in self._probes:
            if look() != expected:
                return False
        try:
            return all(redigest(value) == digest for value, digest, redigest in self._values)
        except MlflowishError:
            # It could be digested and no longer can: it changed.
            return False


def cell_content(cell: CellType) -> Any:
    """What a closure variable holds, `MISSING` while it is unset."""
    try:
        return cell.cell_contents
    except ValueError:
        return MISSING


def file_state(path: str) -> FileState | None:
    """What tells one state of a file from another without reading it."""
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
