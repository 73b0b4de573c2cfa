"""The outline of a module's source: which top-level statement binds which name, and which have effects on import.

Found without importing anything: loaded modules by their file, others along `sys.path`.
"""

from __future__ import annotations

import ast
import builtins
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.machinery import PathFinder
from typing import Any

from mlflowish.hashing import scopes, source
from mlflowish.hashing.constants import sized
from mlflowish.hashing.guards import MISSING, Guards
from mlflowish.hashing.packages import Realm, realm_of_file, realm_of_module
from mlflowish.hashing.parts import Kind
from mlflowish.hashing.scopes import Bindings, ImportOrigin
from mlflowish.hashing.units import TooDeepError, Unit, statement_unit

# What a module knows about itself and its place: moving it must not cost results.
PLACE = frozenset(
    {"__name__", "__file__", "__spec__", "__loader__", "__package__", "__path__", "__builtins__", "__cached__"}
)
# Of those, what may show in a result; the others serve to find modules and data.
_SHOWN = frozenset({"__name__", "__file__", "__spec__", "__package__"})
_COMPILED = (".so", ".pyd", ".dylib")
_BINDING_STATEMENTS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)


@dataclass(eq=False, slots=True)
class Statement:
    """One statement at the top level of a module."""

    outline: Outline
    node: ast.stmt
    bindings: Bindings
    has_effect: bool = False
    _unit: Unit | None = None

    @property
    def binds(self) -> set[str]:
        return self.bindings.names

    @property
    def label(self) -> str:
        name = getattr(self.node, "name", None) or next(iter(sorted(self.binds)), f"line {self.node.lineno}")
        return f"{self.outline.name}.{name}"

    @property
    def kind(self) -> Kind:
        if isinstance(self.node, ast.ClassDef):
            return "class"
        return "function" if isinstance(self.node, (ast.FunctionDef, ast.AsyncFunctionDef)) else "value"

    def sole_import(self, name: str) -> ImportOrigin | None:
        """Where `name` is imported from, if this is nothing but an import statement."""
        return self.bindings.sole_import(name) if isinstance(self.node, (ast.Import, ast.ImportFrom)) else None

    def unit(self) -> Unit:
        """The canonical form of the statement."""
        if self._unit is None:
            text = ast.get_source_segment(self.outline.text, self.node) or ""
            try:
                self._unit = statement_unit(self.node, text=text)
            except TooDeepError:
                from blake3 import blake3

                everything = frozenset({"exec"})
                self._unit = Unit(blake3(text.encode()).digest(16), (), frozenset(), everything, text=text)
        return self._unit


@dataclass(eq=False, slots=True)
class Outline:
    """A module as its source tells it."""

    name: str
    path: str
    realm: Realm
    text: str = ""
    is_package: bool = False
    compiled: bool = False
    statements: list[Statement] = field(default_factory=list)
    bindings: dict[str, list[Statement]] = field(default_factory=dict)
    imports: list[ImportOrigin] = field(default_factory=list)
    stars: list[ImportOrigin] = field(default_factory=list)

    @property
    def package(self) -> str:
        """What relative imports in this module start from."""
        return self.name if self.is_package else self.name.rpartition(".")[0]

    def parents(self) -> Iterator[Outline]:
        """The project packages around the module, outermost first."""
        parts = self.name.split(".")
        for end in range(1, len(parts)):
            found = outline_of(".".join(parts[:end]))
            if found is not None and found.realm == "project":
                yield found

    def guard(self, guards: Guards) -> None:
        """See to it that loading the module, or editing it before that, is noticed."""
        loaded = sys.modules.get(self.name, MISSING)
        guards.binding(sys.modules, self.name, loaded)
        if loaded is MISSING and self.path:
            guards.file(self.path)


_outlines: dict[str, tuple[object, Outline]] = {}


def outline_of(name: str) -> Outline | None:
    """The outline of a module, loaded or not; None if there is no such module."""
    if name in sys.builtin_module_names or (name.partition(".")[0] in sys.stdlib_module_names and not _shadowed(name)):
        return Outline(name, "", "stdlib")
    place = _find(name)
    if place is None:
        return None
    path, is_package = place
    realm = realm_of_file(path)
    if realm != "project":
        return Outline(name, path, realm, is_package=is_package)
    if path.endswith(_COMPILED):
        return Outline(name, path, realm, compiled=True)
    parsed = source.source_of_file(path) if path.endswith(".py") else None
    known = _outlines.get(name)
    if known is not None and known[0] is parsed and known[1].path == path:
        return known[1]
    outline = Outline(name, path, realm, is_package=is_package, text=parsed.text if parsed is not None else "")
    if parsed is not None:
        _fill(outline, parsed.tree.body)
    _outlines[name] = (parsed, outline)
    return outline


def place_edge(name: str, module: str, file: str | None) -> bytes:
    """What code that reads one of these names depends on: where the module lies within the project.

    Not where the project lies: code that finds its data by `__file__` has the same result in every copy of it.
    """
    if name not in _SHOWN:
        return b"P" + sized(name)
    return b"P" + sized(name) + sized(module) + sized(os.path.basename(file or "") if name == "__file__" else "")


def outline_of_file(path: str) -> Outline | None:
    """The outline of a source file by its path, for code that runs without being a module."""
    parsed = source.source_of_file(path)
    if parsed is None:
        return None
    outline = Outline(os.path.basename(path).removesuffix(".py"), path, "project", text=parsed.text)
    _fill(outline, parsed.tree.body)
    return outline


def package_modules(outline: Outline) -> list[Outline]:
    """The modules directly inside a package, by name."""
    folder = os.path.dirname(outline.path)
    try:
        entries = sorted(os.listdir(folder))
    except OSError:
        return []
    names = [entry.removesuffix(".py") for entry in entries if entry.endswith(".py") and entry != "__init__.py"]
    found = [outline_of(f"{outline.name}.{name}") for name in names]
    return [module for module in found if module is not None]


def _shadowed(name: str) -> bool:
    """Whether the project has a module with the name of one of the standard library."""
    return name in sys.modules and realm_of_module(name) == "project"


def _find(name: str) -> tuple[str, bool] | None:
    """(file, whether it is a package) of a module, without importing its parents."""
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None)
    if isinstance(file, str):
        return file, hasattr(module, "__path__")
    search: Any = getattr(module, "__path__", None)
    if module is not None and search is not None:
        return os.path.join(next(iter(search), ""), "__init__.py"), True
    path: list[str] | None = None
    spec = None
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        full = ".".join(parts[:end])
        spec = PathFinder.find_spec(full, path)
        if spec is None:
            return None
        path = list(spec.submodule_search_locations or ())
        if end < len(parts) and not path:
            return None
    if spec is None:
        return None
    if spec.origin is None or spec.origin == "namespace":
        # A namespace package has no file of its own.
        return os.path.join(path[0] if path else "", "__init__.py"), True
    return spec.origin, spec.submodule_search_locations is not None


def _fill(outline: Outline, body: list[ast.stmt]) -> None:
    for node in _executed(body):
        statement = Statement(outline, node, scopes.bound_in([node]))
        outline.statements.append(statement)
        for name in statement.binds:
            outline.bindings.setdefault(name, []).append(statement)
        for name in list(statement.binds):
            outline.imports.extend(statement.bindings.imports.get(name, ()))
        for inner in ast.walk(node):
            if isinstance(inner, ast.ImportFrom) and any(alias.name == "*" for alias in inner.names):
                star = ImportOrigin(inner.level, inner.module or "", None)
                outline.stars.append(star)
                outline.imports.append(star)
    for statement in outline.statements:
        statement.has_effect = _has_effect(outline, statement.node)


def _executed(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Top-level statements that run on import: not those for type checkers, not docstrings, not the script part."""
    for node in body:
        if isinstance(node, ast.If):
            test = ast.unparse(node.test)
            if test in {"TYPE_CHECKING", "typing.TYPE_CHECKING"} or test.startswith("__name__ == "):
                yield from _executed(node.orelse)
                continue
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        if isinstance(node, ast.Pass):
            continue
        yield node


def _has_effect(outline: Outline, node: ast.stmt) -> bool:
    """Whether a statement can change something besides the names that it binds."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return False
    if not isinstance(node, _BINDING_STATEMENTS):
        return True
    if isinstance(node, ast.Assign) and not all(isinstance(target, (ast.Name, ast.Tuple)) for target in node.targets):
        return True
    return any(_is_own(outline, root) for root in _called(node))


def _called(node: ast.stmt) -> Iterator[str]:
    """Root names of what a statement calls while the module is imported: decorators, bases, calls outside function
    bodies.
    """
    if isinstance(node, ast.ClassDef):
        for part in [*node.decorator_list, *node.bases, *(keyword.value for keyword in node.keywords)]:
            yield _root(part)
        for inner in node.body:
            yield from _called(inner)
        return
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        for part in node.decorator_list:
            yield _root(part)
        return
    for call in ast.walk(node):
        if isinstance(call, ast.Call):
            yield _root(call.func)


def _root(node: ast.expr) -> str:
    here: ast.AST = node
    while isinstance(here, (ast.Attribute, ast.Call, ast.Subscript)):
        here = here.func if isinstance(here, ast.Call) else here.value
    return here.id if isinstance(here, ast.Name) else ""


def _is_own(outline: Outline, name: str) -> bool:
    """Whether a name at the top level of the module is the project's own, and not a library's or a builtin."""
    statements = outline.bindings.get(name)
    if not statements:
        return bool(name) and not hasattr(builtins, name) and bool(outline.stars)
    for statement in statements:
        origin = statement.sole_import(name)
        if origin is None or origin.level:
            return True
        module = origin.module
        if realm_of_module(module) == "project" and _find_realm(module) == "project":
            return True
    return False


def _find_realm(module: str) -> Realm:
    place = _find(module)
    return realm_of_file(place[0]) if place is not None else "stdlib"
