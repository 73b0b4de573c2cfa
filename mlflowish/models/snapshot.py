"""The source of the project's modules that a model reaches: kept with it. `importing.py` uses it.

A snapshot is closed: it holds every module of the project that one of its modules imports, as far as import statements
tell, and the packages around them.
"""

from __future__ import annotations

import linecache
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from mlflowish.errors import InvalidInputError
from mlflowish.hashing.imports import closed, is_project, modules_of, text_of
from mlflowish.models.files import FileWriter
from mlflowish.models.manifest import MAIN
from mlflowish.models.reach import Reach

_FOLDER = "code"


def store_code(reach: Reach, files: FileWriter, code: Iterable[Any] | bool | None) -> dict[str, str]:
    """Store the source of what `reach` found, and of the modules in `code`; the file of each module by its name."""
    if code is False:
        return {}
    found = closed(_reached_modules(reach))
    found.update(closed({module.__name__: module for module in _asked_for(code)}))
    sources = {name: source for name, module in found.items() if (source := text_of(module)) is not None}
    written = _main_source(reach)
    if written:
        sources.setdefault(MAIN, written)
    paths = {name: f"{_FOLDER}/{number:04d}.py" for number, name in enumerate(sorted(sources))}
    for name, path in paths.items():
        # Nothing runs it while it is loaded: it is imported only where that is asked for, which checks the policy.
        files.add(path, sources[name].encode("utf-8", "surrogatepass"))
    return paths


def _reached_modules(reach: Reach) -> dict[str, ModuleType]:
    named = {name: module for name in reach.modules if (module := sys.modules.get(name)) is not None}
    return {**modules_of(reach.codes()), **{name: module for name, module in named.items() if is_project(module)}}


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


def _main_source(reach: Reach) -> str:
    """What a model reaches of a notebook or prompt, which has no file: the functions and classes themselves."""
    written = [code for code in reach.codes() if not Path(code.co_filename).exists()]
    return "\n\n".join(dict.fromkeys(filter(None, map(_cell_source, written))))


def _cell_source(code: CodeType) -> str:
    return "".join(linecache.getlines(code.co_filename))
