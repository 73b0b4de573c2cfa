"""The source of one definition, and what it reads from around it."""

from __future__ import annotations

import ast
import linecache
import symtable
import sys
import textwrap
import types
from typing import Any

from mlflowish.hashing import source

NO_HINTS = "from __future__ import annotations"


def needs(text: str, *, has_hints: bool) -> list[str]:
    """The names that a definition at the top of a page reads from around it; in hints as well, if these count."""
    try:
        top = symtable.symtable(text if has_hints else f"{NO_HINTS}\n{text}", "<page>", "exec")
    except SyntaxError:
        return []
    waiting, found = [top], dict[str, None]()
    while waiting:
        table = waiting.pop()
        waiting.extend(table.get_children())
        for symbol in table.get_symbols():
            if symbol.is_referenced() and (symbol.is_global() or (table is top and not symbol.is_assigned())):
                found[symbol.get_name()] = None
    own = {symbol.get_name() for symbol in top.get_symbols() if symbol.is_assigned() or symbol.is_imported()}
    return [name for name in found if name not in own and name != "annotations"]


def without_step(text: str, namespace: dict[str, Any]) -> tuple[str, bool]:
    """A definition without `@mf.step(...)` and what stands above that; whether it makes no step by itself now."""
    try:
        definition = ast.parse(text).body[0]
    except (SyntaxError, IndexError):
        return text, True  # a lambda among the arguments of a call
    if not isinstance(definition, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return text, True
    lines = text.splitlines()
    for decorator in definition.decorator_list:
        if _is_step(decorator, namespace):
            return "\n".join(lines[decorator.end_lineno or 0 :]), True
    return text, not definition.decorator_list


def _is_step(decorator: ast.expr, namespace: dict[str, Any]) -> bool:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
        module = namespace.get(called.value.id)
        return called.attr == "step" and getattr(module, "__name__", "").partition(".")[0] == "mlflowish"
    if isinstance(called, ast.Name):
        found = namespace.get(called.id)
        return getattr(found, "__module__", "") == "mlflowish.steps.decorator"
    return False


def class_text(cls: type) -> str | None:
    """The source of a class that stands in no module that could be imported."""
    files = {
        function.__code__.co_filename for function in vars(cls).values() if isinstance(function, types.FunctionType)
    }
    module = sys.modules.get(cls.__module__)
    main = getattr(module, "__file__", None)
    # Cells of a notebook, the newest first: where a class of data alone stands is not written on it.
    cells = [name for name in reversed(list(linecache.cache)) if name.startswith("<ipython") or "ipykernel" in name]
    for name in [*sorted(files), *([main] if main else []), *cells]:
        parsed = source.source_of_file(name)
        found = _definition(parsed, cls.__qualname__) if parsed is not None else None
        if parsed is not None and found is not None:
            first = min([found.lineno, *(decorator.lineno for decorator in found.decorator_list)])
            return textwrap.dedent("\n".join(parsed.text.splitlines()[first - 1 : found.end_lineno]))
    return None


def _definition(parsed: source.SourceText, qualname: str) -> ast.ClassDef | None:
    name = qualname.rpartition(".")[2]
    found = [node for node in ast.walk(parsed.tree) if isinstance(node, ast.ClassDef) and node.name == name]
    return max(found, key=lambda node: node.lineno) if found else None
