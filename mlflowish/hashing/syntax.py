"""The canonical form of every kind of syntax: tagged, length-prefixed, in source order."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from blake3 import blake3

from mlflowish.hashing import scopes
from mlflowish.hashing.feeding import Feeding
from mlflowish.hashing.scopes import Bindings, ImportOrigin, Scope

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

_IGNORED_FIELDS = frozenset({"ctx", "kind", "type_comment", "type_ignores", "simple"})


class Dump(Feeding):
    """Writes one unit."""

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
        if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
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

    def visit_FormattedValue(self, node: ast.FormattedValue) -> None:
        self.tag("FormattedValue")
        self.out += b"value="
        self.argument(node.value, escapes=True, shown=True)
        self.out += b"conversion="
        self.constant(node.conversion)
        if node.format_spec is not None:
            self.out += b"format_spec="
            self.visit(node.format_spec)
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

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self.tag(type(node).__name__)
        self.visit(node.target)
        self.quiet(node.iter)
        self.block(node.body)
        self.block(node.orelse)
        self.close()

    visit_AsyncFor = visit_For

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


def hints_of(node: FunctionNode) -> bytes:
    """A digest of the annotations of a function, for code that reads them while it runs."""
    if isinstance(node, ast.Lambda):
        return b""
    hints = [(a.arg, a.annotation) for a in ast.walk(node.args) if isinstance(a, ast.arg)]
    dump = Dump(None, keep_names=True)
    for name, hint in [*hints, ("return", node.returns)]:
        if hint is not None:
            dump.text(name)
            dump.visit(hint)
    for reference in dump.references:
        for word in (reference.root, *reference.attrs):
            dump.text(word)
    return blake3(bytes(dump.out)).digest(16)
