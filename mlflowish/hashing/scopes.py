"""Which names a piece of syntax binds, and where a name that it reads comes from: the scoping rules of Python.

The canonical form of a unit (`units.py`) renames locals and replaces what comes from outside by numbered references,
so it has to know which is which without running anything.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["function", "class", "comprehension"]

COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


@dataclass(frozen=True, slots=True)
class ImportOrigin:
    """Where a name bound by an import statement comes from: `from <level dots><module> import <name>`."""

    level: int
    module: str
    name: str | None


@dataclass(slots=True)
class Reference:
    """A name from outside the unit with the attributes read from it: `pkg.cfg.K`, or a name imported in the body."""

    root: str
    attrs: tuple[str, ...]
    origin: ImportOrigin | None = None
    stored: bool = False
    escapes: bool = False
    fed: bool = False
    # Made into text, which for a class or function has its name.
    shown: bool = False
    # Names a module that is imported.
    imports: bool = False


@dataclass(slots=True)
class Bindings:
    """What one scope binds, by kind of statement."""

    names: set[str] = field(default_factory=set)
    globals: set[str] = field(default_factory=set)
    nonlocals: set[str] = field(default_factory=set)
    imports: dict[str, list[ImportOrigin]] = field(default_factory=dict)
    rebound: set[str] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)

    def bind(self, name: str) -> None:
        self.names.add(name)
        self.rebound.add(name)

    def sole_import(self, name: str) -> ImportOrigin | None:
        """The import that alone binds `name` in this scope, if that is so."""
        origins = self.imports.get(name)
        if origins is None or name in self.rebound or name in self.globals or name in self.nonlocals:
            return None
        return origins[0] if len(set(origins)) == 1 else None


@dataclass(eq=False, slots=True)
class Scope:
    """One scope on the way from the unit's own to the innermost, with the numbers given to its locals."""

    kind: Kind
    bindings: Bindings
    parent: Scope | None
    parameters: frozenset[str] = frozenset()
    numbers: dict[str, int] = field(default_factory=dict)

    def binds(self, name: str) -> bool:
        found = self.bindings
        return name in found.names and name not in found.globals and name not in found.nonlocals


def owner(scope: Scope | None, name: str) -> Scope | None:
    """The scope of the unit that `name`, used in `scope`, belongs to; None when it comes from outside the unit."""
    here = scope
    while here is not None:
        if (here.kind != "class" or here is scope) and here.binds(name):
            return here
        if name in here.bindings.globals:
            return None
        here = here.parent
    return None


def bound_in(nodes: Iterable[ast.AST]) -> Bindings:
    """The names bound by `nodes` themselves, without those of the scopes nested in them."""
    found = Bindings()
    stack: list[tuple[ast.AST, bool]] = [(node, False) for node in nodes]
    while stack:
        node, inside_comprehension = stack.pop()
        stack.extend((child, inside) for child, inside in _record(node, found, inside_comprehension))
    return found


def parameters_of(arguments: ast.arguments) -> list[str]:
    """Names of all parameters, in order."""
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    names = [argument.arg for argument in every]
    names.extend(extra.arg for extra in (arguments.vararg, arguments.kwarg) if extra is not None)
    return names


def _record(node: ast.AST, found: Bindings, inside: bool) -> list[tuple[ast.AST, bool]]:
    """Note what `node` binds; return the children that belong to the same scope."""
    if isinstance(node, ast.Name):
        if not isinstance(node.ctx, ast.Load) and not inside:
            found.bind(node.id)
        return []
    if isinstance(node, ast.NamedExpr):
        # A walrus in a comprehension binds in the scope around it (PEP 572).
        found.bind(node.target.id)
        return [(node.value, inside)]
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        found.bind(node.name)
        found.functions.add(node.name)
        return [(child, inside) for child in [*node.decorator_list, *_defaults(node.args)]]
    if isinstance(node, ast.Lambda):
        return [(child, inside) for child in _defaults(node.args)]
    if isinstance(node, ast.ClassDef):
        found.bind(node.name)
        return [(child, inside) for child in [*node.decorator_list, *node.bases, *node.keywords]]
    if isinstance(node, COMPREHENSIONS):
        return [(child, True) for child in ast.iter_child_nodes(node)]
    _record_statement(node, found)
    return [(child, inside) for child in ast.iter_child_nodes(node)]


def _record_statement(node: ast.AST, found: Bindings) -> None:
    if isinstance(node, ast.Import):
        for alias in node.names:
            whole = alias.asname is not None
            module = alias.name if whole else alias.name.partition(".")[0]
            _record_import(found, alias.asname or module, ImportOrigin(0, module, None))
    elif isinstance(node, ast.ImportFrom):
        for alias in node.names:
            _record_import(found, alias.asname or alias.name, ImportOrigin(node.level, node.module or "", alias.name))
    elif isinstance(node, ast.Global):
        found.globals.update(node.names)
    elif isinstance(node, ast.Nonlocal):
        found.nonlocals.update(node.names)
    elif isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)):
        if node.name:
            found.bind(node.name)
    elif isinstance(node, ast.MatchMapping) and node.rest:
        found.bind(node.rest)


def _record_import(found: Bindings, name: str, origin: ImportOrigin) -> None:
    found.names.add(name)
    found.imports.setdefault(name, []).append(origin)


def _defaults(arguments: ast.arguments) -> list[ast.expr]:
    return [*arguments.defaults, *(default for default in arguments.kw_defaults if default is not None)]
