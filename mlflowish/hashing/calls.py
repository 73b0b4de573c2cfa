"""Calls in the canonical form: which arguments may be asked for their name, and calls that reach code by text."""

from __future__ import annotations

import ast

from mlflowish.hashing import scopes
from mlflowish.hashing.naming import Names
from mlflowish.hashing.scopes import ImportOrigin

# Calls that look at the names of the locals around them.
_SEES_LOCALS = frozenset({"locals", "vars", "dir", "eval", "exec"})
# Calls that can reach any name of the module.
_SEES_GLOBALS = frozenset({"eval", "exec", "globals", "compile"})
# Calls that do not look at the `__name__` of a function that they are given.
_NAME_BLIND = frozenset(
    {"map", "filter", "sorted", "min", "max", "sum", "any", "all", "reduce", "isinstance", "issubclass", "iter", "next",
     "callable", "partial", "list", "tuple", "set", "len", "zip", "enumerate", "super", "type", "getattr", "hasattr"}
)  # fmt: skip
# Calls that make text of what they are given.
_SHOWS = frozenset({"repr", "str", "ascii", "format", "print"})
# Calls that take the name of a module for the name of a log, which no result shows.
_NAMES_A_LOG = frozenset({"getLogger", "get_logger", "getChild"})
_IMPORTS = frozenset({"import_module", "__import__", "run_module", "resolve_name"})
# Methods of frames that evaluate text with the names of the frame around them: `df.query("a > @LIMIT")`.
_EVALUATES_TEXT = frozenset({"query", "eval"})


class Calls(Names):
    """Writes attributes and calls. The base of `Dump`."""

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if isinstance(node.ctx, ast.Load):
            self.read(node, escapes=True)
            return
        base: ast.expr = node
        attrs: list[str] = []
        while isinstance(base, ast.Attribute):
            attrs.append(base.attr)
            base = base.value
        if isinstance(base, ast.Name) and scopes.owner(self.scope, base.id) is None:
            self.out += b"s" if isinstance(node.ctx, ast.Store) else b"d"
            self.outside(base.id, tuple(reversed(attrs)), stored=True)
            return
        self.attribute(node)

    def visit_Call(self, node: ast.Call) -> None:
        self.tag("Call")
        called = node.func
        self.quiet(called)
        name = last_name(called)
        outside = isinstance(called, ast.Name) and scopes.owner(self.scope, called.id) is None
        blind = name in _NAME_BLIND and (outside or name in {"reduce", "partial"})
        chained = self.constant_getattr(node) if outside and name in {"getattr", "hasattr"} else False
        for position, argument in enumerate(node.args):
            if position == 0 and chained:
                continue
            if name in _NAMES_A_LOG and isinstance(argument, ast.Name) and argument.id == "__name__":
                self.text("__name__")
                continue
            self.argument(argument, escapes=not blind, shown=outside and name in _SHOWS)
        for keyword in node.keywords:
            self.out += b"**" if keyword.arg is None else b"k"
            if keyword.arg is not None:
                self.text(keyword.arg)
            self.argument(keyword.value, escapes=not blind)
        self.reflection(node, name, outside=outside)
        self.close()

    def quiet(self, node: ast.expr) -> None:
        """Visit what is called, indexed or iterated: that does not look at the name of a function."""
        self.argument(node, escapes=False)

    def argument(self, node: ast.expr, *, escapes: bool, shown: bool = False) -> None:
        if isinstance(node, (ast.Name, ast.Attribute)):
            self.read(node, escapes=escapes, shown=shown)
        else:
            self.visit(node)

    def constant_getattr(self, node: ast.Call) -> bool:
        """`getattr(module, "name")` is the attribute, not the whole module."""
        if len(node.args) < 2 or not isinstance(node.args[0], (ast.Name, ast.Attribute)):
            return False
        target = node.args[1]
        if not isinstance(target, ast.Constant) or not isinstance(target.value, str):
            return False
        self.read(node.args[0], escapes=True, extra=(target.value,))
        return True

    def reflection(self, node: ast.Call, name: str, *, outside: bool) -> None:
        """Calls that reach code by text: what the text names becomes a reference where it is constant."""
        first = node.args[0] if node.args else None
        if name in _IMPORTS:
            self.import_by_text(first)
        elif outside and name in {"eval", "exec"} and isinstance(first, ast.Constant) and isinstance(first.value, str):
            self.evaluate(first.value, name)
        elif outside and name in _SEES_GLOBALS:
            self.dynamic.add(name)
        elif not outside and name in _EVALUATES_TEXT:
            for inner in ast.walk(node):
                if isinstance(inner, ast.Constant) and isinstance(inner.value, str) and "@" in inner.value:
                    self.query(inner.value)

    def import_by_text(self, first: ast.expr | None) -> None:
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            text = first.value.partition(":")[0]
            dots = len(text) - len(text.lstrip("."))
            origin = ImportOrigin(dots, text[dots:], None)
            self.outside(text, (), origin=origin, escapes=True)
            return
        prefix = _constant_prefix(first)
        if "." in prefix.lstrip("."):
            package = prefix.rpartition(".")[0]
            self.outside(package, (), origin=ImportOrigin(0, package, "*"), escapes=True)
        elif not self.names_module(first):
            self.dynamic.add("import_module")

    def names_module(self, node: ast.expr | None) -> bool:
        """Mark what the name of a module is made of; whether that is one name from outside, and nothing else."""
        alone = False
        for part in ast.walk(node) if node is not None else ():
            root, path = chain(part)
            if root and scopes.owner(self.scope, root) is None:
                self.outside(root, path, escapes=True, imports=True)
                alone |= part is node
        return alone

    def evaluate(self, text: str, name: str) -> None:
        try:
            tree = ast.parse(text.strip(), mode="eval" if name == "eval" else "exec")
        except SyntaxError:
            self.dynamic.add(name)
            return
        self.visit(tree)

    def query(self, text: str) -> None:
        for word in text.split("@")[1:]:
            name = ""
            for letter in word:
                if not (letter.isalnum() or letter == "_"):
                    break
                name += letter
            if name and scopes.owner(self.scope, name) is None:
                self.outside(name, (), escapes=True)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        self.tag("Subscript" if isinstance(node.ctx, ast.Load) else type(node.ctx).__name__)
        self.quiet(node.value)
        self.visit(node.slice)
        self.close()


def chain(node: ast.AST) -> tuple[str, tuple[str, ...]]:
    """A name and the attributes read from it; an empty name for anything else."""
    attrs: list[str] = []
    while isinstance(node, ast.Attribute):
        attrs.append(node.attr)
        node = node.value
    return (node.id, tuple(reversed(attrs))) if isinstance(node, ast.Name) else ("", ())


def last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""


def _constant_prefix(node: ast.expr | None) -> str:
    """The constant beginning of a text that is put together: `f"plugins.{name}"`, `"plugins." + name`."""
    if isinstance(node, ast.JoinedStr) and node.values:
        return _constant_prefix(node.values[0])
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Mod)):
        return _constant_prefix(node.left).partition("%")[0]
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return ""


def looks_at_locals(node: ast.AST) -> bool:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name) and inner.id in _SEES_LOCALS:
            return True
        if isinstance(inner, ast.Call) and inner.args and last_name(inner.func) in _EVALUATES_TEXT:
            return True
    return False
