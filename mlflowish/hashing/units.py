"""The canonical form of one unit of code: what a function, a lambda or a statement means, whatever it is called.

Dropped: comments, layout, docstrings, hints, the unit's own name, decorators and defaults (the live objects show those), names of pure
locals. Kept: everything else, with typed constants. What comes from outside the unit (globals, module attributes, closure
variables, imports inside the body) is replaced by a numbered reference, and the list of references is part of the unit: what they mean
is found by the walk. The dump is our own: `ast.dump` changes between versions of Python, this is equal on all of them.
"""

from __future__ import annotations

import ast
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from blake3 import blake3

from mlflowish.hashing import scopes
from mlflowish.hashing.scopes import Bindings, ImportOrigin, Scope

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

# Calls that look at the names of the locals around them.
_SEES_LOCALS = frozenset({"locals", "vars", "dir", "eval", "exec"})
# Calls that can reach any name of the module.
_SEES_GLOBALS = frozenset({"eval", "exec", "globals", "compile"})
# Calls that do not look at the `__name__` of a function that they are given.
_NAME_BLIND = frozenset(
    {"map", "filter", "sorted", "min", "max", "sum", "any", "all", "reduce", "isinstance", "issubclass", "iter", "next",
     "callable", "partial", "list", "tuple", "set", "len", "zip", "enumerate", "super", "type", "getattr", "hasattr"}
)  # fmt: skip
# Methods of frames that evaluate text with the names of the frame around them: `df.query("a > @LIMIT")`.
_EVALUATES_TEXT = frozenset({"query", "eval"})
# Deeper syntax than this is left to the bytecode, so that the form never depends on how deep the stack already is.
_MAX_DEPTH = 250


class TooDeepError(Exception):
    """Syntax nested deeper than the canonical form goes; the bytecode is the unit then."""


@dataclass(slots=True)
class Reference:
    """A name from outside the unit with the attributes read from it: `pkg.cfg.K`, or a name imported in the body."""

    root: str
    attrs: tuple[str, ...]
    origin: ImportOrigin | None = None
    stored: bool = False
    escapes: bool = False


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
    return _run(node, class_name, text, _Dump.own_function)


def statement_unit(node: ast.AST, *, text: str = "") -> Unit:
    """The unit of a statement or expression at the top level of a module."""
    return _run(node, None, text, _Dump.top_level)


def hints_of(node: FunctionNode) -> bytes:
    """A digest of the annotations of a function, for code that reads them while it runs."""
    if isinstance(node, ast.Lambda):
        return b""
    hints = [(a.arg, a.annotation) for a in ast.walk(node.args) if isinstance(a, ast.arg)]
    dump = _Dump(None, keep_names=True)
    for name, hint in [*hints, ("return", node.returns)]:
        if hint is not None:
            dump.text(name)
            dump.visit(hint)
    for reference in dump.references:
        for word in (reference.root, *reference.attrs):
            dump.text(word)
    return blake3(bytes(dump.out)).digest(16)


def _run(node: ast.AST, class_name: str | None, text: str, visit: Any) -> Unit:
    if _depth(node) > _MAX_DEPTH:
        raise TooDeepError
    dump = _Dump(class_name, keep_names=_looks_at_locals(node))
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


def _looks_at_locals(node: ast.AST) -> bool:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name) and inner.id in _SEES_LOCALS:
            return True
        if isinstance(inner, ast.Call) and inner.args and _last_name(inner.func) in _EVALUATES_TEXT:
            return True
    return False


class _Dump:
    """Writes one unit: tagged, length-prefixed, in source order."""

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

    # How nodes are visited

    def visit(self, node: ast.AST) -> None:
        method = getattr(self, "visit_" + type(node).__name__, None)
        if method is None:
            self.generic(node)
        else:
            method(node)

    def generic(self, node: ast.AST, *, skip: frozenset[str] = frozenset()) -> None:
        self.tag(type(node).__name__)
        for name in node._fields:
            value = getattr(node, name, None)
            if value is None or value == [] or name in skip or name in _IGNORED_FIELDS:
                continue
            self.out += name.encode() + b"="
            self.field(value)
        self.close()

    def field(self, value: object) -> None:
        if isinstance(value, list) and isinstance(value[0], ast.stmt):
            self.block(value)
        elif isinstance(value, list):
            self.out += b"["
            for item in value:
                if item is None:
                    self.out += b"-"
                else:
                    self.field(item)
            self.out += b"]"
        elif isinstance(value, ast.AST):
            self.visit(value)
        elif isinstance(value, str):
            self.text(value)
        else:
            self.constant(value)

    def block(self, statements: Iterable[ast.stmt]) -> None:
        self.out += b"{"
        for statement in statements:
            if isinstance(statement, (ast.Pass, ast.Global, ast.Nonlocal)):
                continue
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                continue
            self.visit(statement)
        self.out += b"}"

    # Entry points

    def own_function(self, node: FunctionNode) -> None:
        self.tag("async" if isinstance(node, ast.AsyncFunctionDef) else "function")
        self.signature(node.args)
        self.body_of(node)
        self.close()

    def top_level(self, node: ast.AST) -> None:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            self.function_definition(node)
        else:
            self.visit(node)

    def finish(self) -> None:
        """The names of nested functions that leave the unit: `__name__` of those can be seen."""
        for number, name in sorted(self.escaped):
            self.out += b"E%d" % number
            self.text(name)
        for number, reference in enumerate(self.references):
            if reference.root in self.stored and not reference.stored:
                self.out += b"W%d" % number
                self.text(reference.root)

    # Scopes

    def signature(self, arguments: ast.arguments) -> None:
        """Names and kinds of parameters, without hints and defaults."""
        self.out += b"<"
        for argument in arguments.posonlyargs:
            self.out += b"/"
            self.text(argument.arg)
        for argument in arguments.args:
            self.out += b","
            self.text(argument.arg)
        if arguments.vararg:
            self.out += b"*"
            self.text(arguments.vararg.arg)
        for argument in arguments.kwonlyargs:
            self.out += b";"
            self.text(argument.arg)
        if arguments.kwarg:
            self.out += b"**"
            self.text(arguments.kwarg.arg)
        self.out += b">"

    def body_of(self, node: FunctionNode) -> None:
        body = [node.body] if isinstance(node, ast.Lambda) else node.body
        bindings = scopes.bound_in(body)
        parameters = scopes.parameters_of(node.args)
        bindings.names.update(parameters)
        bindings.rebound.update(parameters)
        type_names = [p.name for p in getattr(node, "type_params", [])]
        bindings.names.update(type_names)
        bindings.rebound.update(type_names)
        self.enter(Scope("function", bindings, self.scope, frozenset(parameters)))
        used = {inner.id for part in body for inner in ast.walk(part) if isinstance(inner, ast.Name)}
        for parameter in getattr(node, "type_params", []):
            # A type parameter that the body never names is a hint like any other.
            if parameter.name in used:
                self.visit(parameter)
        if isinstance(node, ast.Lambda):
            self.visit(node.body)
        else:
            self.block(node.body)
        self.leave()

    def enter(self, scope: Scope) -> None:
        self.scope = scope

    def leave(self) -> None:
        assert self.scope is not None
        self.scope = self.scope.parent

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self.nested_function(node, b"lambda")

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.function_definition(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.function_definition(node)

    def function_definition(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for decorator in node.decorator_list:
            self.out += b"@"
            self.visit(decorator)
        if self.scope is not None:
            self.stored_name(node.name)
        self.nested_function(node, b"async" if isinstance(node, ast.AsyncFunctionDef) else b"def")
        if node.decorator_list:
            # A decorator may read the hints; one that is applied here cannot be looked into.
            self.out += hints_of(node)

    def nested_function(self, node: FunctionNode, tag: bytes) -> None:
        self.tag(tag.decode())
        self.signature(node.args)
        for default in [*node.args.defaults, *node.args.kw_defaults]:
            self.out += b"="
            if default is not None:
                self.visit(default)
        self.body_of(node)
        self.close()

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.tag("class")
        # The name of a class is part of what it does: it shows in every repr.
        self.text(node.name)
        for decorator in node.decorator_list:
            self.out += b"@"
            self.visit(decorator)
        if self.scope is not None:
            self.stored_name(node.name)
        for part in [*node.bases, *node.keywords]:
            self.visit(part)
        bindings = scopes.bound_in(node.body)
        outer_class, self.class_name = self.class_name, node.name
        self.enter(Scope("class", bindings, self.scope))
        self.block(node.body)
        self.leave()
        self.class_name = outer_class
        self.close()

    def comprehension(self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) -> None:
        self.tag(type(node).__name__)
        first = node.generators[0]
        self.quiet(first.iter)
        bindings = Bindings()
        for generator in node.generators:
            bindings.names |= scopes.bound_in([generator.target]).names
        bindings.rebound |= bindings.names
        self.enter(Scope("comprehension", bindings, self.scope))
        for generator in node.generators:
            self.out += b"for!" if generator.is_async else b"for"
            self.visit(generator.target)
            if generator is not first:
                self.quiet(generator.iter)
            self.field(generator.ifs)
        results = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        for result in results:
            self.visit(result)
        self.leave()
        self.close()

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = comprehension

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

    def read(self, node: ast.Name | ast.Attribute, *, escapes: bool, extra: tuple[str, ...] = ()) -> None:
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
            self.outside(base.id, path, escapes=escapes)
            return
        origin = found.bindings.sole_import(base.id)
        if origin is not None and not self.keep_names:
            self.outside(base.id, path, origin=origin, escapes=escapes)
            return
        if escapes and base.id in found.bindings.functions and not attrs:
            self.local(found, base.id)
            self.escaped.add((found.numbers.get(base.id, -1), base.id))
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
    ) -> None:
        if origin is None and root.startswith("__") and not root.endswith("__") and self.class_name:
            root = f"_{self.class_name.lstrip('_')}{root}"
        key = (root if origin is None else origin, path, stored)
        number = self.numbers.get(key)
        if number is None:
            number = self.numbers[key] = len(self.references)
            self.references.append(Reference(root, path, origin, stored))
        self.references[number].escapes |= escapes
        self.out += b"G%d;" % number

    # Attributes and calls

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

    def attribute(self, node: ast.expr) -> None:
        assert isinstance(node, ast.Attribute)
        self.tag("Attribute" if isinstance(node.ctx, ast.Load) else type(node.ctx).__name__)
        self.visit(node.value)
        self.text(node.attr)
        self.attributes.add(node.attr)
        self.close()

    def visit_Call(self, node: ast.Call) -> None:
        self.tag("Call")
        called = node.func
        self.quiet(called)
        name = _last_name(called)
        outside = isinstance(called, ast.Name) and scopes.owner(self.scope, called.id) is None
        blind = name in _NAME_BLIND and (outside or name in {"reduce", "partial"})
        chained = self.constant_getattr(node) if outside and name in {"getattr", "hasattr"} else False
        for position, argument in enumerate(node.args):
            if position == 0 and chained:
                continue
            self.argument(argument, escapes=not blind)
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

    def argument(self, node: ast.expr, *, escapes: bool) -> None:
        if isinstance(node, (ast.Name, ast.Attribute)):
            self.read(node, escapes=escapes)
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
        if name in {"import_module", "__import__"}:
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
            dots = len(first.value) - len(first.value.lstrip("."))
            origin = ImportOrigin(dots, first.value[dots:], None)
            self.outside(first.value, (), origin=origin, escapes=True)
            return
        prefix = _constant_prefix(first)
        if "." in prefix.strip("."):
            package = prefix.rpartition(".")[0]
            self.outside(package, (), origin=ImportOrigin(0, package, "*"), escapes=True)
        else:
            self.dynamic.add("import_module")

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

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self.tag(type(node).__name__)
        self.visit(node.target)
        self.quiet(node.iter)
        self.block(node.body)
        self.block(node.orelse)
        self.close()

    visit_AsyncFor = visit_For

    # Statements with parts that do not count

    def visit_Constant(self, node: ast.Constant) -> None:
        self.constant(node.value)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Adjacent constant pieces are merged: versions of Python split them differently."""
        self.tag("f")
        piece = ""
        for value in node.values:
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                piece += value.value
                continue
            if piece:
                self.text(piece)
                piece = ""
            self.visit(value)
        if piece:
            self.text(piece)
        self.close()

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        in_class = self.scope is not None and self.scope.kind == "class"
        if in_class:
            self.generic(node)
        elif node.value is not None:
            self.tag("Assign")
            self.out += b"targets=["
            self.visit(node.target)
            self.out += b"]value="
            self.visit(node.value)
            self.close()

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            bound = alias.asname or alias.name.partition(".")[0]
            module = alias.name
            self.import_statement(bound, ImportOrigin(0, module, None))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            self.import_statement(alias.asname or alias.name, ImportOrigin(node.level, node.module or "", alias.name))

    def import_statement(self, bound: str, origin: ImportOrigin) -> None:
        found = scopes.owner(self.scope, bound)
        self.out += b"I"
        if found is not None and found.bindings.sole_import(bound) and not self.keep_names:
            # Where the name is used, the reference says what is meant; the import runs the module all the same.
            self.outside(bound, (), origin=origin, stored=True)
            return
        self.outside(bound, (), origin=origin, escapes=True)
        if self.scope is not None:
            self.stored_name(bound)

    def visit_If(self, node: ast.If) -> None:
        self.tag("If")
        self.visit(node.test)
        self.block(node.body)
        self.block(node.orelse)
        self.close()

    def visit_Assert(self, node: ast.Assert) -> None:
        self.attributes.add("__debug__")
        self.generic(node)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        self.tag("except")
        if node.type is not None:
            self.visit(node.type)
        if node.name:
            self.stored_name(node.name)
        self.block(node.body)
        self.close()

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        self.tag("MatchAs")
        if node.pattern is not None:
            self.visit(node.pattern)
        if node.name:
            self.stored_name(node.name)
        self.close()

    def visit_MatchStar(self, node: ast.MatchStar) -> None:
        self.tag("MatchStar")
        if node.name:
            self.stored_name(node.name)
        self.close()

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        self.generic(node, skip=frozenset({"rest"}))
        if node.rest:
            self.stored_name(node.rest)

    def visit_MatchClass(self, node: ast.MatchClass) -> None:
        self.attributes.update(node.kwd_attrs)
        self.generic(node)


_IGNORED_FIELDS = frozenset({"ctx", "kind", "type_comment", "type_ignores", "simple"})


def constant_bytes(value: object) -> bytes:
    """A constant of code with its type: `1`, `True`, `1.0` and `"1"` all differ."""
    if value is None or value is True or value is False or value is Ellipsis:
        return f"!{value}".encode()
    if isinstance(value, int):
        return b"i%d;" % value if -(10**18) < value < 10**18 else b"x%x;" % value
    if isinstance(value, float):
        return b"r" + struct.pack(">d", value)
    if isinstance(value, complex):
        return b"c" + struct.pack(">dd", value.real, value.imag)
    if isinstance(value, str):
        raw = value.encode("utf-8", "surrogatepass")
        return b"u%d:" % len(raw) + raw
    if isinstance(value, bytes):
        return b"b%d:" % len(value) + value
    if isinstance(value, tuple):
        return b"t%d:" % len(value) + b"".join(map(constant_bytes, value))
    if isinstance(value, frozenset):
        return b"z%d:" % len(value) + b"".join(sorted(map(constant_bytes, value)))
    raise TypeError(f"a constant of type {type(value).__qualname__} in code")


def _last_name(node: ast.expr) -> str:
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
