"""The source of the project's modules that a model reaches: kept with it. `importing.py` uses it.

A snapshot is closed: it holds every module of the project that one of its modules imports, as far as import statements
tell, and the packages around them.
"""

from __future__ import annotations

import ast
import linecache
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from mlflowish.errors import InvalidInputError
from mlflowish.hashing.packages import realm_of_loaded
from mlflowish.models.files import FileWriter
from mlflowish.models.manifest import MAIN
from mlflowish.models.reach import Reach

_FOLDER = "code"


def store_code(reach: Reach, files: FileWriter, code: Iterable[Any] | bool | None) -> dict[str, str]:
    """Store the source of what `reach` found, and of the modules in `code`; the file of each module by its name."""
    if code is False:
        return {}
    found = _closed(_reached_modules(reach))
    found.update(_closed({module.__name__: module for module in _asked_for(code)}))
    sources = {name: source for name, module in found.items() if (source := _source_of(module)) is not None}
    written = _main_source(reach)
    if written:
        sources.setdefault(MAIN, written)
    paths = {name: f"{_FOLDER}/{number:04d}.py" for number, name in enumerate(sorted(sources))}
    for name, path in paths.items():
        # Nothing runs it while it is loaded: it is imported only where that is asked for, which checks the policy.
        files.add(path, sources[name].encode("utf-8", "surrogatepass"))
    return paths


def _reached_modules(reach: Reach) -> dict[str, ModuleType]:
    paths = {code.co_filename for code in reach.codes()}
    loaded = dict(sys.modules)
    loaded.pop("__mp_main__", None)  # another name of `__main__`
    found = {name: module for name, module in loaded.items() if getattr(module, "__file__", None) in paths}
    found.update({name: loaded[name] for name in reach.modules if name in loaded})
    return {name: module for name, module in found.items() if _is_project(module)}


def _is_project(module: Any) -> bool:
    return isinstance(module, ModuleType) and realm_of_loaded(module) == "project"


def _asked_for(code: Iterable[Any] | bool | None) -> Iterator[ModuleType]:
    if code is None or isinstance(code, bool):
        return
    for item in code:
        module = sys.modules.get(item) if isinstance(item, str) else item
        if not isinstance(module, ModuleType):
            raise InvalidInputError(
                f"code= takes modules, or names of imported modules, found {item!r}. Import it and give the module."
            )
        yield module


def _closed(modules: Mapping[str, ModuleType]) -> dict[str, ModuleType]:
    """The modules, with those of the project that they import, and the packages that all of them lie in."""
    found: dict[str, ModuleType] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        module = sys.modules.get(name) or modules.get(name)
        if name in found or not name or not _is_project(module):
            continue
        assert module is not None
        found[name] = module
        waiting.append(name.rpartition(".")[0])
        waiting.extend(_imported_by(module))
    return found


def _imported_by(module: ModuleType) -> Iterator[str]:
    source = _source_of(module)
    if source is None:
        return
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return
    package = module.__name__ if hasattr(module, "__path__") else module.__name__.rpartition(".")[0]
    for node in ast.walk(tree):
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


def _source_of(module: ModuleType) -> str | None:
    path = getattr(module, "__file__", None)
    if not isinstance(path, str) or not path.endswith(".py"):
        return None
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _main_source(reach: Reach) -> str:
    """What a model reaches of a notebook or prompt, which has no file: the functions and classes themselves."""
    written = [code for code in reach.codes() if not Path(code.co_filename).exists()]
    return "\n\n".join(dict.fromkeys(filter(None, map(_cell_source, written))))


def _cell_source(code: CodeType) -> str:
    return "".join(linecache.getlines(code.co_filename))
