"""Which modules of the project belong together: those that a module imports, as far as import statements tell."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from types import CodeType, ModuleType
from typing import Any

from mlflowish.hashing import source
from mlflowish.hashing.packages import realm_of_loaded


def closed(modules: Mapping[str, ModuleType]) -> dict[str, ModuleType]:
    """The modules of the project among these, with those of the project that they import, and the packages that all of
    them lie in. Only what is loaded is found."""
    found: dict[str, ModuleType] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        module = sys.modules.get(name) or modules.get(name)
        if name in found or not name or not is_project(module):
            continue
        assert module is not None
        found[name] = module
        waiting.append(name.rpartition(".")[0])
        waiting.extend(_imported_by(module))
    return found


def modules_of(codes: Iterable[CodeType]) -> dict[str, ModuleType]:
    """The loaded modules of the project whose files these code objects come from, `__main__` included."""
    paths = {code.co_filename for code in codes}
    if not paths:  # a library's own object: the search through everything that is loaded is spared
        return {}
    loaded = dict(sys.modules)
    loaded.pop("__mp_main__", None)  # another name of `__main__`
    found = {name: module for name, module in loaded.items() if getattr(module, "__file__", None) in paths}
    return {name: module for name, module in found.items() if is_project(module)}


def is_project(module: Any) -> bool:
    """Is it a module of the user's project?"""
    return isinstance(module, ModuleType) and realm_of_loaded(module) == "project"


def text_of(module: ModuleType) -> str | None:
    """The source of a module as its file is now, to be written as UTF-8; None if it has none, or none that parses."""
    parsed = _parsed(module)
    if parsed is None:
        return None
    first, second, *rest = [*parsed.text.split("\n", 2), "", ""][:3]
    return parsed.text if "coding" not in first + second else "\n".join(map(_as_utf8, (first, second))) + "\n" + rest[0]


def _as_utf8(line: str) -> str:
    # https://docs.python.org/3/reference/lexical_analysis.html#encoding-declarations
    return re.sub(r"^([ \t\f]*#.*?coding[:=][ \t]*)[-\w.]+", r"\1utf-8", line)


def _parsed(module: ModuleType) -> source.SourceText | None:
    path = getattr(module, "__file__", None)
    return source.source_of_file(path) if isinstance(path, str) and path.endswith(".py") else None


def _imported_by(module: ModuleType) -> Iterator[str]:
    parsed = _parsed(module)
    if parsed is None:
        return
    package = module.__name__ if hasattr(module, "__path__") else module.__name__.rpartition(".")[0]
    for node in ast.walk(parsed.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, package)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    base = ".".join(parts[: len(parts) - node.level + 1])
    return f"{base}.{node.module}" if node.module else base
