"""Which names of a function stand for nothing but values that it made itself, so that nobody else sees them changed.

What a body was given, it may have been given twice: `p(a, a)` is another matter than `p([1], [1])` for one that
appends to the first and reads the second, even if it takes the change back. Their digests are the same.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable

# What they give is new, or cannot change.
_MAKES = frozenset({"abs", "bool", "dict", "float", "int", "len", "list", "range", "round", "sorted", "str", "tuple"})
_MAKES_METHODS = frozenset({"copy", "split"})
_NEW = (ast.Constant, ast.List, ast.Tuple, ast.Dict, ast.ListComp, ast.DictComp, ast.JoinedStr, ast.BinOp, ast.UnaryOp)
_INSIDE = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


def owned_names(
    body: Iterable[ast.AST], parameters: Iterable[str], is_builtin: Callable[[str], bool]
) -> frozenset[str]:
    """The names that are bound in `body`, and only to what it makes. `is_builtin`: does a name mean the builtin?"""
    owned: dict[str, bool] = dict.fromkeys(parameters, False)

    def bind(target: ast.AST, value: ast.expr | None) -> None:
        if isinstance(target, ast.Name):
            owned[target.id] = owned.get(target.id, True) and value is not None and _makes(value, is_builtin)
        elif isinstance(target, (ast.Tuple, ast.List, ast.Starred)):
            for part in ast.iter_child_nodes(target):
                bind(part, None)

    stack = list(body)
    while stack:
        node = stack.pop()
        match node:
            case ast.Assign():
                for target in node.targets:
                    # `a = b = []` is one list, and both names are ours.
                    bind(target, node.value)
            case ast.AnnAssign(value=ast.expr() as value):
                bind(node.target, value)
            case ast.For() | ast.NamedExpr():
                bind(node.target, None)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                owned[node.name] = False
            case _:
                pass
        if not isinstance(node, _INSIDE):
            stack.extend(ast.iter_child_nodes(node))
    return frozenset(name for name, is_owned in owned.items() if is_owned)


def _makes(node: ast.expr, is_builtin: Callable[[str], bool]) -> bool:
    """Is the value of an expression new, or one that cannot change?"""
    match node:
        case ast.IfExp():
            return _makes(node.body, is_builtin) and _makes(node.orelse, is_builtin)
        case ast.Subscript(slice=ast.Slice()):
            return True
        case ast.Call(func=ast.Name(id=name)):
            return name in _MAKES and is_builtin(name)
        case ast.Call(func=ast.Attribute(attr=name)):
            return name in _MAKES_METHODS
        case _:
            return isinstance(node, _NEW)
