"""The syntax that the body of a closed pipeline may be made of: an allow-list. What it does not name makes a body open.

Python is deterministic, so what a body calls follows from its code and its arguments, but for this: what it reads or
changes outside of itself; the order of a set, which is another in each process; addresses, in the text of a function
or an iterator; which of several equal objects one is (`is`); what is caught of errors that come from a limit, not from
the code; facts of the interpreter. The code that rules out each of them says so.

All of it is decided by syntax alone, without knowing types. Two things are harmless apart and not together: a function
or an iterator that is kept anywhere, and making text; a view of a dict that is kept, and the operators of sets. A body
that has both is open, wherever in it they are.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from typing import NoReturn, TypeAlias

from mlflowish.hashing import scopes
from mlflowish.hashing.scopes import Bindings, Scope
from mlflowish.pipelines.ownership import owned_names
from mlflowish.pipelines.words import (
    CHANGES,
    CONSTANTS,
    OF_STEPS,
    READS,
    READS_ALL,
    READS_ARGUMENTS,
    READS_FIRST,
    SINGLETONS,
    VIEWS,
    Meaning,
    Open,
    Trait,
    Use,
    is_sound_format,
    is_sound_template,
)

Function: TypeAlias = ast.FunctionDef | ast.Lambda


class Reading:
    """One reading of the syntax of a function. Open if something in it is not allowed."""

    def __init__(self, node: Function, outside: Callable[[str], Meaning], code_names: Iterable[str] = ()) -> None:
        self.traits = Trait.NONE
        self._outside = outside
        self._code_names: dict[Scope, set[str]] = {}
        self._owned: dict[Scope, frozenset[str]] = {}
        self._scope: Scope | None = None
        self._function(node, code_names)

    def _open(self, node: ast.AST, why: str) -> NoReturn:
        raise Open(f"{why}, line {getattr(node, 'lineno', '?')}")

    # -- scopes ------------------------------------------------------------------------------------

    def _function(self, node: Function, code_names: Iterable[str] = ()) -> None:
        body = [node.body] if isinstance(node, ast.Lambda) else node.body
        bindings = scopes.bound_in(body)
        parameters = scopes.parameters_of(node.args)
        for name in parameters:
            bindings.bind(name)
        self._enter("function", bindings, {*code_names})
        assert self._scope is not None
        self._owned[self._scope] = owned_names(body, parameters, self._is_builtin)
        if isinstance(node, ast.Lambda):
            self._value(node.body)
        else:
            self._block(node.body)
        self._leave()

    def _enter(self, kind: scopes.Kind, bindings: Bindings, code_names: set[str]) -> None:
        self._scope = Scope(kind, bindings, self._scope)
        self._code_names[self._scope] = code_names | bindings.functions

    def _leave(self) -> None:
        assert self._scope is not None
        self._scope = self._scope.parent

    def _is_builtin(self, name: str) -> bool:
        return scopes.owner(self._scope, name) is None and self._meaning(name) is Meaning.BUILTIN

    def _meaning(self, name: str) -> Meaning | None:
        """What a name from outside stands for; None for one of the function's own."""
        if scopes.owner(self._scope, name) is not None:
            return None
        if name.startswith("__"):
            raise Open(f"the name {name}")
        return self._outside(name)

    def _is_owned(self, node: ast.expr) -> bool:
        """Is it a name for nothing but containers that were made here? Others may be the caller's as well."""
        found = scopes.owner(self._scope, node.id) if isinstance(node, ast.Name) else None
        return found is not None and isinstance(node, ast.Name) and node.id in self._owned.get(found, ())

    # -- statements --------------------------------------------------------------------------------

    def _block(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            self._statement(statement)

    def _statement(self, node: ast.stmt) -> None:
        """A statement. Open: what catches errors (some come from the depth of the stack or the memory), binds names
        outside (`global`, `nonlocal`), imports, makes classes (`match` asks for them, and a node is of none), `with`,
        and whatever waits or yields."""
        match node:
            case ast.Pass() | ast.Break() | ast.Continue():
                pass
            case ast.Expr(value=value) | ast.Return(value=ast.expr() as value):
                self._value(value)
            case ast.Return():
                pass
            case ast.Assign():
                unpacks = any(isinstance(target, (ast.Tuple, ast.List)) for target in node.targets)
                self._value(node.value, Use.READ if unpacks and len(node.targets) == 1 else Use.KEPT)
                for target in node.targets:
                    self._target(target)
            case ast.AnnAssign(target=ast.Name(), simple=1):  # whose hint Python does not look at
                if node.value is not None:
                    self._value(node.value)
            case ast.AugAssign():
                self._augmented(node)
            case ast.For():
                self._value(node.iter, Use.READ)
                self._target(node.target)
                self._block([*node.body, *node.orelse])
            case ast.While() | ast.If():
                self._value(node.test)
                self._block([*node.body, *node.orelse])
            case ast.Assert():  # how Python was started is part of the key
                self._value(node.test)
                if node.msg is not None:
                    self._value(node.msg)
            case ast.Raise(exc=ast.Call(func=ast.Name() as kind, args=args, keywords=[]), cause=None):
                if self._meaning(kind.id) is not Meaning.ERROR:
                    self._open(node, "raises what it names otherwise")
                self._all(args)
            case ast.Delete():
                for target in node.targets:
                    if not isinstance(target, ast.Name):
                        self._target(target)
            case ast.FunctionDef(decorator_list=[], returns=None) if not getattr(node, "type_params", []):
                self._defaults(node.args)
                self._function(node)
            case _:
                self._open(node, f"a statement {type(node).__name__}")

    def _target(self, node: ast.expr) -> None:
        match node:
            case ast.Name():
                pass
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                for part in parts:
                    self._target(part)
            case ast.Starred(value=value):
                self._target(value)
            case ast.Subscript() if self._is_owned(node.value):
                self._value(node.slice)
            case _:
                self._open(node, "changes something that may be the caller's")

    def _augmented(self, node: ast.AugAssign) -> None:
        # In place for a list: `x += [1]`, `x *= 2`. A number can only be added to what cannot change.
        is_number = isinstance(node.value, ast.Constant) and type(node.value.value) in (int, float)
        self._operator(node, node.op)
        if isinstance(node.target, ast.Name) and self._is_owned(node.target):
            self._value(node.value, Use.KEPT)
        elif is_number and not isinstance(node.op, ast.Mult):
            if not isinstance(node.target, ast.Name):
                self._target(node.target)
        else:
            self._open(node, "changes something that may be the caller's")

    def _defaults(self, arguments: ast.arguments) -> None:
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        if any(each is not None and each.annotation is not None for each in every):
            raise Open("a function inside with hints, which Python looks at")
        self._all([*arguments.defaults, *(default for default in arguments.kw_defaults if default is not None)])

    # -- expressions -------------------------------------------------------------------------------

    def _all(self, nodes: Iterable[ast.expr | None], use: Use = Use.KEPT) -> None:
        for node in nodes:
            if node is not None:
                self._value(node, use)

    def _value(self, node: ast.expr, use: Use = Use.KEPT) -> None:
        """An expression. Open: sets but for looking into them, attributes but for calling them, whatever waits."""
        match node:
            case ast.Constant(value=value):
                if type(value) not in CONSTANTS:
                    self._open(node, f"a constant {value!r}")
            case ast.Name(id=name):
                self._name(node, name, use)
            case ast.List(elts=parts) | ast.Tuple(elts=parts):
                self._all(parts)
            case ast.Dict():
                self._all([*node.keys, *node.values])
            case ast.Starred(value=value):
                self._value(value, Use.READ)
            case ast.Slice():
                self._all([node.lower, node.upper, node.step])
            case ast.Subscript():
                self._all([node.value, node.slice])
            case ast.BoolOp(values=parts):
                self._all(parts, use)
            case ast.IfExp():
                self._value(node.test)
                self._all([node.body, node.orelse], use)
            case ast.NamedExpr():
                self._value(node.value)
            case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.UAdd() | ast.Invert()):
                self._value(node.operand)
            case ast.BinOp():
                self._operator(node, node.op)
                self._all([node.left, node.right])
            case ast.Compare():
                self._comparison(node)
            case ast.JoinedStr(values=parts):
                self._all(parts)
            case ast.FormattedValue():
                self._formatted(node)
            case ast.Lambda():
                if use is not Use.CALLED:
                    self.traits |= Trait.KEEPS_CODE
                self._defaults(node.args)
                self._function(node)
            case ast.ListComp() | ast.DictComp() | ast.GeneratorExp():
                if isinstance(node, ast.GeneratorExp) and use is not Use.READ:
                    self.traits |= Trait.KEEPS_CODE
                self._comprehension(node)
            case ast.Call():
                self._call(node, use)
            case _:
                self._open(node, f"an expression {type(node).__name__}")

    def _name(self, node: ast.Name, name: str, use: Use) -> None:
        found = scopes.owner(self._scope, name)
        if found is not None:
            is_code = name in self._code_names.get(found, ())
        else:
            meaning = self._meaning(name)
            if meaning in (Meaning.MODULE, Meaning.ERROR):
                self._open(node, f"{name} as a value")
            is_code = meaning is not Meaning.PLAIN
            if meaning is Meaning.BUILTIN and name == "str":
                self.traits |= Trait.MAKES_TEXT
        if is_code and use is not Use.CALLED:
            self.traits |= Trait.KEEPS_CODE

    def _operator(self, node: ast.AST, operator: ast.operator) -> None:
        match operator:
            case ast.Add() | ast.Mult() | ast.Div() | ast.FloorDiv() | ast.Pow() | ast.LShift() | ast.RShift():
                pass
            case ast.Mod():  # of a text, it makes text
                self.traits |= Trait.MAKES_TEXT
            case ast.Sub() | ast.BitAnd() | ast.BitOr() | ast.BitXor():
                self.traits |= Trait.HAS_SET_OPERATOR
            case _:
                self._open(node, f"an operator {type(operator).__name__}")

    def _comparison(self, node: ast.Compare) -> None:
        self._value(node.left)
        left = node.left
        for operator, right in zip(node.ops, node.comparators, strict=True):
            match operator:
                case ast.Eq() | ast.NotEq() | ast.Lt() | ast.LtE() | ast.Gt() | ast.GtE():
                    self._value(right)
                case ast.In() | ast.NotIn():  # in which order a set is looked into does not show
                    if isinstance(right, ast.Set):
                        self._all(right.elts)
                    else:
                        self._value(right, Use.READ)
                case ast.Is() | ast.IsNot() if _is_singleton(left) or _is_singleton(right):
                    self._value(right)
                case _:  # which of two equal objects it is, the digests of arguments do not say
                    self._open(node, f"a comparison {type(operator).__name__}")
            left = right

    def _formatted(self, node: ast.FormattedValue) -> None:
        self.traits |= Trait.MAKES_TEXT
        self._value(node.value)
        if node.format_spec is not None:
            parts = node.format_spec.values if isinstance(node.format_spec, ast.JoinedStr) else [node.format_spec]
            if not all(isinstance(part, ast.Constant) and is_sound_format(part.value) for part in parts):
                self._open(node, "a format that is computed, or goes by the locale")

    def _comprehension(self, node: ast.ListComp | ast.DictComp | ast.GeneratorExp) -> None:
        if any(each.is_async for each in node.generators):
            self._open(node, "waits")
        self._value(node.generators[0].iter, Use.READ)
        self._enter("comprehension", scopes.bound_in([each.target for each in node.generators]), set())
        for place, each in enumerate(node.generators):
            self._target(each.target)
            if place:
                self._value(each.iter, Use.READ)
            self._all(each.ifs)
        self._all([node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt])
        self._leave()

    # -- calls -------------------------------------------------------------------------------------

    def _call(self, node: ast.Call, use: Use) -> None:
        match node.func:
            case ast.Name(id=name) as called:
                self._value(called, Use.CALLED)
                meaning = self._meaning(name)
                if meaning is Meaning.BUILTIN:
                    self._builtin(node, name, use)
                elif meaning is Meaning.WHEN:
                    self._when(node)
                else:
                    self._arguments(node)
            case ast.Attribute(value=ast.Name(id=name)) as called if self._meaning(name) is Meaning.MODULE:
                if called.attr != "when":
                    self._open(node, f"{name}.{called.attr}")
                self._when(node)
            case ast.Attribute() as called:
                self._method(node, called, use)
            case _:
                self._value(node.func, Use.CALLED)
                self._arguments(node)

    def _arguments(self, node: ast.Call, use: Use = Use.KEPT) -> None:
        self._all(node.args, use)
        for keyword in node.keywords:
            self._value(keyword.value)

    def _builtin(self, node: ast.Call, name: str, use: Use) -> None:
        if name in READS_ALL and use is not Use.READ:
            self.traits |= Trait.KEEPS_CODE
        reads_first = name in READS_FIRST or (name in ("max", "min") and len(node.args) == 1)
        for place, argument in enumerate(node.args):
            self._value(argument, Use.READ if name in READS_ALL or (reads_first and not place) else Use.KEPT)
        for keyword in node.keywords:
            self._value(keyword.value, Use.CALLED if keyword.arg == "key" and name != "dict" else Use.KEPT)

    def _when(self, node: ast.Call) -> None:
        for place, argument in enumerate(node.args):
            self._value(argument, Use.CALLED if place else Use.KEPT)
        for keyword in node.keywords:
            self._value(keyword.value, Use.KEPT if keyword.arg in (None, "condition") else Use.CALLED)

    def _method(self, node: ast.Call, called: ast.Attribute, use: Use) -> None:
        name, owner = called.attr, called.value
        meaning = self._meaning(owner.id) if isinstance(owner, ast.Name) else None
        if name in CHANGES:
            if not self._is_owned(owner):
                self._open(node, f".{name}() of something that may be the caller's")
        elif name == "format":
            self.traits |= Trait.MAKES_TEXT
            if not (isinstance(owner, ast.Constant) and is_sound_template(owner.value)):
                self._open(node, "a template that is computed, asks for attributes, or goes by the locale")
        elif name in VIEWS:
            if use is not Use.READ:
                self.traits |= Trait.KEEPS_VIEW
        elif name not in READS and name not in OF_STEPS:
            self._open(node, f".{name}()")
        if meaning not in (None, Meaning.PLAIN) and not (meaning is Meaning.STEP and name in OF_STEPS):
            self._open(node, f"a method {name} of code")
        self._value(owner, Use.CALLED)
        self._arguments(node, Use.READ if name in READS_ARGUMENTS else Use.KEPT)


def _is_singleton(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and any(node.value is each for each in SINGLETONS)
