"""Imports inside functions and by name, looked up in the source: a module counts the same before and after loading.

What counts is the slice of a module that a name needs: the statements that bind it, what those refer to, and every
statement that can have an effect when the module is imported. What differs in the loaded module from what its source
says is added (`overlay.py`).
"""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING

from mlflowish.hashing.constants import sized
from mlflowish.hashing.modules import compiled_edge
from mlflowish.hashing.outline import (
    PLACE,
    Outline,
    Statement,
    outline_of,
    outline_of_file,
    package_modules,
    place_edge,
)
from mlflowish.hashing.overlay import patched
from mlflowish.hashing.scopes import ImportOrigin, Reference
from mlflowish.hashing.units import LOADERS

if TYPE_CHECKING:
    from mlflowish.hashing.references import Space
    from mlflowish.hashing.walk import Walk

# A chain of re-exports longer than this is a circle.
_MAX_HOPS = 40


def imported(walk: Walk, space: Space, reference: Reference) -> bytes:
    """The edge for a name that is imported in the body of a live function."""
    package = space.names.get("__package__") or space.module.rpartition(".")[0]
    return _imported(walk, str(package), reference, hops=0)


def module_by_name(walk: Walk, name: str) -> bytes | None:
    """The edge for a whole module named in `depends=`; None if there is no such module."""
    origin = ImportOrigin(0, name, None)
    found = outline_of(name)
    if found is None:
        return None
    return _from_origin(walk, origin, (), stored=False, hops=0)


def module_in_file(walk: Walk, path: str) -> bytes | None:
    """The edge for a whole source file that no module name leads to; None if there is no such file."""
    found = outline_of_file(path)
    return None if found is None else _effects(walk, found) + _whole(walk, found)


def name_in_module(walk: Walk, module: str, name: str) -> bytes | None:
    """The edge for one name of a project module; None where its source does not show it."""
    found = outline_of(module)
    if found is None or found.realm != "project" or name not in found.bindings:
        return None
    return _from_origin(walk, ImportOrigin(0, module, name), (), stored=False, hops=0)


def _imported(walk: Walk, package: str, reference: Reference, *, hops: int) -> bytes:

    assert reference.origin is not None
    origin = _absolute(reference.origin, package)
    if origin is None:
        return b"A" + sized(reference.root)
    return _from_origin(walk, origin, reference.attrs, stored=reference.stored, hops=hops)


def _absolute(origin: ImportOrigin, package: str) -> ImportOrigin | None:
    """The origin with its leading dots resolved against the package of the importing module."""
    if not origin.level:
        return origin
    parts = package.split(".")
    if not package or origin.level > len(parts):
        return None
    base = ".".join(parts[: len(parts) - origin.level + 1])
    return ImportOrigin(0, f"{base}.{origin.module}" if origin.module else base, origin.name)


def _from_origin(walk: Walk, origin: ImportOrigin, attrs: tuple[str, ...], *, stored: bool, hops: int) -> bytes:

    outline = outline_of(origin.module)
    if outline is None:
        return b"A" + sized(origin.module) + sized(origin.name or "")
    if outline.realm != "project" and origin.module.partition(".")[0] != walk.own_package:
        name = ".".join(([origin.name] if origin.name else []) + list(attrs))
        return walk.leaf((origin.module, name), realm=outline.realm)
    if outline.compiled:
        return compiled_edge(walk, outline.path, outline.name) + sized(".".join(attrs))
    out = _effects(walk, outline)
    if origin.name == "*":
        return out + b"".join(_whole(walk, module) for module in package_modules(outline))
    path = attrs if origin.name is None else (origin.name, *attrs)
    if path:
        return out + _named(walk, outline, path[0], path[1:], hops=hops + 1)
    return out if stored else out + _whole(walk, outline)


def _effects(walk: Walk, outline: Outline) -> bytes:
    """An edge to what happens when a module is imported, its parent packages first."""
    out = bytearray()
    for parent in outline.parents():
        out += walk.visit(parent, parent.name, _record_effects)
    return bytes(out + walk.visit(outline, outline.name, _record_effects))


def _record_effects(walk: Walk, number: int, outline: Outline, label: str) -> bytes:
    walk.files.add(outline.path)
    outline.guard(walk.guards)
    out = bytearray(b"I")
    for statement in outline.statements:
        if statement.has_effect:
            out += walk.visit(statement, statement.label, _record_statement)
    for origin in outline.imports:
        target = _absolute(origin, outline.package)
        found = outline_of(target.module) if target is not None else None
        if found is not None and found.realm == "project" and not found.compiled:
            out += _effects(walk, found)
    return bytes(out)


def _whole(walk: Walk, outline: Outline) -> bytes:
    """An edge to everything in a module."""
    walk.note(f"The module {outline.name} is used as a value inside a function, so everything in it counts.")
    return walk.visit(outline.statements, outline.name, _record_whole)


def _record_whole(walk: Walk, number: int, statements: list[Statement], label: str) -> bytes:

    out = bytearray(b"M")
    names = sorted({name for statement in statements for name in statement.binds})
    for name in names:
        out += sized(name) + _named(walk, statements[0].outline, name, (), hops=0, whole=True)
    return bytes(out)


def _named(walk: Walk, outline: Outline, name: str, attrs: tuple[str, ...], *, hops: int, whole: bool = False) -> bytes:
    """The edge for a name at the top level of a module."""

    rest = b"".join(b"." + sized(attr) for attr in attrs)
    walk.attributes.update(attrs)
    if name in PLACE:
        return place_edge(name, outline.name, outline.path)
    if hops > _MAX_HOPS:
        return b"H"
    statements = outline.bindings.get(name)
    if not statements:
        return _unbound(walk, outline, name, attrs, hops=hops)
    origin = statements[0].sole_import(name) if len(statements) == 1 else None
    if origin is not None:
        target = _absolute(origin, outline.package)
        if target is None:
            return b"A" + sized(name)
        # A module that is merely among the names of a module is not descended into.
        return _from_origin(walk, target, attrs, stored=whole and not attrs and target.name is None, hops=hops)
    out = bytearray(b"s")
    for statement in statements:
        out += walk.visit(statement, statement.label, _record_statement)
    return bytes(out) + patched(walk, outline, name, statements) + rest


def _unbound(walk: Walk, outline: Outline, name: str, attrs: tuple[str, ...], *, hops: int) -> bytes:

    child = outline_of(f"{outline.name}.{name}") if outline.is_package else None
    if child is not None:
        return _from_origin(walk, ImportOrigin(0, child.name, None), attrs, stored=False, hops=hops)
    for star in outline.stars:
        target = _absolute(star, outline.package)
        found = outline_of(target.module) if target is not None else None
        if found is not None and (name in found.bindings or found.stars):
            return _from_origin(walk, ImportOrigin(0, found.name, name), attrs, stored=False, hops=hops + 1)
    if "__getattr__" in outline.bindings:
        return sized(name) + _named(walk, outline, "__getattr__", (), hops=hops + 1)
    if hasattr(builtins, name):
        return walk.leaf(("builtins", name)) + b"".join(b"." + sized(attr) for attr in attrs)
    return b"A" + sized(name)


def _record_statement(walk: Walk, number: int, statement: Statement, label: str) -> bytes:
    unit = statement.unit()
    outline = statement.outline
    walk.attributes |= unit.attributes
    walk.loads_by_name |= bool(unit.dynamic or unit.attributes & LOADERS)
    walk.stores |= unit.stores
    walk.add_part(label, statement.kind, unit.digest, lambda: unit.text)
    out = bytearray(b"Z" + unit.digest)
    for reference in unit.references:
        if reference.origin is not None:
            out += b"," + _imported(walk, outline.package, reference, hops=0)
        elif reference.root in PLACE and statement.has_effect:
            # Not what a result is made of: `sys.path.insert(0, os.path.dirname(__file__))`.
            out += b",P"
        elif reference.root not in statement.binds or statement.kind != "value":
            out += b"," + _named(walk, outline, reference.root, reference.attrs, hops=0)
    if unit.dynamic:
        calls = ", ".join(f"{name}()" for name in sorted(unit.dynamic))
        walk.note(f"{label} uses {calls}, which can reach any name: everything in its module counts.")
        out += walk.visit(outline.statements, outline.name, _record_whole)
    return bytes(out)
