"""How names are written in the canonical form: locals by number, what comes from outside as a numbered reference."""

from __future__ import annotations

import ast
from typing import Any

from mlflowish.hashing import scopes
from mlflowish.hashing.constants import constant_bytes
from mlflowish.hashing.scopes import ImportOrigin, Reference, Scope


class Names:
    """Writes names: locals by number, names from outside as references. The base of `Dump`."""

    def __init__(self, class_name: str | None, *, keep_names: bool) -> None:
        self.out = bytearray()
        self.references: list[Reference] = []
        self.numbers: dict[tuple[Any, ...], int] = {}
        self.attributes: set[str] = set()
        self.dynamic: set[str] = set()
        self.scope: Scope | None = None
        self.class_name = class_name
        self.keep_names = keep_names
        self.locals = 0
        self.escaped: set[tuple[int, str]] = set()
        self.stored: set[str] = set()

    # What is written

    def tag(self, name: str) -> None:
        self.out += b"(" + name.encode() + b" "

    def text(self, value: str) -> None:
        raw = value.encode("utf-8", "surrogatepass")
        self.out += b"%d:" % len(raw) + raw

    def close(self) -> None:
        self.out += b")"

    def constant(self, value: object) -> None:
        self.out += constant_bytes(value)

    def visit(self, node: ast.AST) -> None:
        """Write any node; `Dump` knows how."""
        raise NotImplementedError

    # Names

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self.read(node, escapes=True)
        else:
            self.out += b"s" if isinstance(node.ctx, ast.Store) else b"d"
            self.stored_name(node.id)

    def stored_name(self, name: str) -> None:
        found = scopes.owner(self.scope, name)
        if found is None:
            # A global keeps its name where it is written: others may read it under that name.
            self.out += b"S"
            self.text(name)
            self.stored.add(name)
        else:
            self.local(found, name)

    def local(self, found: Scope, name: str) -> None:
        if name in found.parameters or found.kind == "class":
            self.out += b"P"
            self.text(name)
            return
        number = found.numbers.get(name)
        if number is None:
            number = found.numbers[name] = self.locals
            self.locals += 1
        self.out += b"L%d;" % number
        if self.keep_names:
            self.text(name)

    def read(
        self, node: ast.Name | ast.Attribute, *, escapes: bool, extra: tuple[str, ...] = (), shown: bool = False
    ) -> None:
        """A name or a chain of attributes that starts at one."""
        attrs: list[str] = []
        base: ast.expr = node
        while isinstance(base, ast.Attribute):
            attrs.append(base.attr)
            base = base.value
        if not isinstance(base, ast.Name):
            self.attribute(node)
            return
        path = (*reversed(attrs), *extra)
        found = scopes.owner(self.scope, base.id)
        if found is None:
            self.outside(base.id, path, escapes=escapes, shown=shown)
            return
        origin = found.bindings.sole_import(base.id)
        if origin is not None and not self.keep_names:
            self.outside(base.id, path, origin=origin, escapes=escapes)
            return
        if base.id in found.bindings.functions and (attrs or escapes):
            self.attributes.update(path)
            for _ in attrs:
                self.tag("Attribute")
            self.local(found, base.id)
            self.escaped.add((found.numbers.get(base.id, -1), base.id))
            for attr in path:
                self.text(attr)
            return
        self.attributes.update(path)
        for _ in attrs:
            self.tag("Attribute")
        self.local(found, base.id)
        if found.kind == "class":
            # Read before it is bound in the class body, the name comes from outside.
            self.outside(base.id, (), escapes=True)
        for attr in reversed(attrs):
            self.text(attr)
            self.close()

    def outside(
        self,
        root: str,
        path: tuple[str, ...],
        *,
        origin: ImportOrigin | None = None,
        escapes: bool = False,
        stored: bool = False,
        fed: bool = False,
        shown: bool = False,
        imports: bool = False,
    ) -> None:
        if origin is None and root.startswith("__") and not root.endswith("__") and self.class_name:
            root = f"_{self.class_name.lstrip('_')}{root}"
        key = (root if origin is None else origin, path, stored, fed)
        number = self.numbers.get(key)
        if number is None:
            number = self.numbers[key] = len(self.references)
            self.references.append(Reference(root, path, origin, stored, fed=fed))
        self.references[number].escapes |= escapes
        self.references[number].shown |= shown
        self.references[number].imports |= imports
        self.out += b"G%d;" % number

    def attribute(self, node: ast.expr) -> None:
        assert isinstance(node, ast.Attribute)
        self.tag("Attribute" if isinstance(node.ctx, ast.Load) else type(node.ctx).__name__)
        self.visit(node.value)
        self.text(node.attr)
        self.attributes.add(node.attr)
        self.close()
