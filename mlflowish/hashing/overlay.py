"""What a loaded module has that its source does not say: names that were patched or assigned at run time."""

from __future__ import annotations

import ast
import sys
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from mlflowish.errors import UncacheableError
from mlflowish.hashing import digests, source
from mlflowish.hashing.constants import sized
from mlflowish.hashing.guards import MISSING
from mlflowish.hashing.units import TooDeepError, function_unit

if TYPE_CHECKING:
    from mlflowish.hashing.outline import Outline, Statement
    from mlflowish.hashing.walk import Walk

NOT_LITERAL: Any = object()
# Modules that were asked for before they were loaded, and those loaded since: their values were seen when they were
# still as the module made them.
_unloaded: set[str] = set()
_pristine: WeakKeyDictionary[ModuleType, dict[str, bytes]] = WeakKeyDictionary()


def patched(walk: Walk, outline: Outline, name: str, statements: list[Statement]) -> bytes:
    """What to add for a name whose live object is not what its source makes; nothing while the module is not loaded."""
    module = sys.modules.get(outline.name)
    if module is None:
        _unloaded.add(outline.name)
        return b""
    if outline.name in _unloaded:
        _unloaded.discard(outline.name)
        _pristine[module] = {}
    namespace = module.__dict__
    live = namespace.get(name, MISSING)
    walk.guards.binding(namespace, name, live)
    if live is MISSING:
        return b""
    label = f"{outline.name}.{name}"
    node = statements[-1].node
    if len(statements) == 1 and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return b"" if _is_written(walk, live, node) else b"!" + walk.edge(live, label, name=name)
    if isinstance(node, ast.ClassDef):
        return _class_patches(walk, live, node, label)
    return _value_patch(walk, module, name, live, node if len(statements) == 1 else None, label)


def _is_written(
    walk: Walk, live: Any, node: ast.FunctionDef | ast.AsyncFunctionDef, class_name: str | None = None
) -> bool:
    inner = live
    for _ in range(20):
        step = getattr(inner, "__wrapped__", None) or getattr(inner, "__func__", None) or getattr(inner, "fget", None)
        if step is None or not node.decorator_list:
            break
        inner = step
    if not isinstance(inner, FunctionType):
        # What a decorator made of it cannot be compared; the decorator and the function are in the slice.
        return bool(node.decorator_list)
    walk.guards.function(inner)
    walk.codes.append(inner.__code__)
    try:
        written = function_unit(node, class_name=class_name).digest
    except TooDeepError:
        return True
    return source.unit_of(inner.__code__).digest == written or bool(node.decorator_list and inner is live)


def _class_patches(walk: Walk, live: Any, node: ast.ClassDef, label: str) -> bytes:

    if not isinstance(live, type):
        return b"" if node.decorator_list else b"!" + walk.edge(live, label)
    out = bytearray()
    for inner in node.body:
        if not isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        method = live.__dict__.get(inner.name, MISSING)
        walk.guards.binding(live.__dict__, inner.name, method)
        if method is not MISSING and not _is_written(walk, method, inner, node.name):
            out += b"!" + sized(inner.name) + walk.edge(method, f"{label}.{inner.name}", name=inner.name)
    return bytes(out)


def _value_patch(walk: Walk, module: ModuleType, name: str, live: Any, node: ast.stmt | None, label: str) -> bytes:
    try:
        now = digests.digest(live, path=label)
    except UncacheableError:
        return b""
    walk.guards.value(live, now, lambda current: digests.digest(current, path=label))
    literal = literal_of(node)
    pristine = _pristine.get(module)
    if literal is not NOT_LITERAL and (digests.digest(literal) == now or not isinstance(literal, (list, dict, set))):
        if pristine is not None:
            pristine.setdefault(name, digests.digest(literal))
        return b"" if digests.digest(literal) == now else b"!" + now
    # What can change in place may have been filled while the module was loaded.
    if pristine is not None:
        return b"" if pristine.setdefault(name, now) == now else b"!" + now
    if walk.from_source:
        return b""
    # It was loaded before anybody looked, so it cannot be known whether it is still as the module made it.
    return b"~" + now


def literal_of(node: ast.stmt | None) -> Any:
    """The value that a statement gives to its one name, if it is written out; else `NOT_LITERAL`."""
    value = node.value if isinstance(node, (ast.Assign, ast.AnnAssign)) else None
    if value is None or not isinstance(getattr(node, "targets", [None])[0], (ast.Name, type(None))):
        return NOT_LITERAL
    try:
        return ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return NOT_LITERAL
