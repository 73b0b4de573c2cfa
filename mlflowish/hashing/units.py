"""The canonical form of one unit of code: what a function, a lambda or a statement means, whatever it is called.

Dropped: comments, layout, docstrings, hints, the unit's own name, decorators and defaults (the live objects show
those), names of pure locals. Kept: everything else, with typed constants. What comes from outside the unit (globals,
module attributes, closure variables, imports inside the body) is replaced by a numbered reference, and the list of
references is part of the unit: what they mean is found by the walk. The dump is our own: `ast.dump` changes between
versions of Python, this is equal on all of them.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from blake3 import blake3

from mlflowish.hashing.calls import looks_at_locals
from mlflowish.hashing.scopes import Reference
from mlflowish.hashing.syntax import Dump, FunctionNode, hints_of

__all__ = [
    "LOADERS",
    "FunctionNode",
    "Reference",
    "TooDeepError",
    "Unit",
    "function_unit",
    "hints_of",
    "statement_unit",
]

# Deeper syntax than this is left to the bytecode, so that the form never depends on how deep the stack already is.
_MAX_DEPTH = 250


# Ways to load code that a reader cannot follow.
LOADERS = frozenset(
    {"entry_points", "exec_module", "find_loader", "iter_modules", "load_module", "resolve_name", "run_module",
     "run_path", "spec_from_file_location", "walk_packages"}
)  # fmt: skip


class TooDeepError(Exception):
    """Syntax nested deeper than the canonical form goes; the bytecode is the unit then."""


@dataclass(frozen=True, slots=True)
class Unit:
    """The meaning of one piece of code, without the meaning of what it refers to."""

    digest: bytes
    references: tuple[Reference, ...]
    attributes: frozenset[str]
    dynamic: frozenset[str]
    stores: bool = False
    mode: str = "ast"
    text: str = ""


def function_unit(node: FunctionNode, *, class_name: str | None = None, text: str = "") -> Unit:
    """The unit of a function whose defaults and decorators are met as live objects."""
    return _run(node, class_name, text, Dump.own_function)


def statement_unit(node: ast.AST, *, text: str = "") -> Unit:
    """The unit of a statement or expression at the top level of a module."""
    return _run(node, None, text, Dump.top_level)


def _run(node: ast.AST, class_name: str | None, text: str, visit: Callable[[Dump, Any], None]) -> Unit:
    if _depth(node) > _MAX_DEPTH:
        raise TooDeepError
    dump = Dump(class_name, keep_names=looks_at_locals(node))
    visit(dump, node)
    dump.finish()
    return Unit(
        digest=blake3(b"mlf-unit-1" + bytes(dump.out)).digest(16),
        references=tuple(dump.references),
        attributes=frozenset(dump.attributes),
        dynamic=frozenset(dump.dynamic),
        stores=bool(dump.stored) or any(r.stored and r.origin is None for r in dump.references),
        text=text,
    )


def _depth(node: ast.AST) -> int:
    deepest, stack = 0, [(node, 1)]
    while stack:
        here, depth = stack.pop()
        deepest = max(deepest, depth)
        stack.extend((child, depth + 1) for child in ast.iter_child_nodes(here))
    return deepest
