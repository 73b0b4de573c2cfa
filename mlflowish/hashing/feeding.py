"""Statements that feed a container and look at nothing in it: `seen.append(x)`, `table[k] = v`, `counts[k] += 1`.

A function that only adds to a list outside of itself (a log of its calls, say) does not depend on what is in it. Such a
reference is marked, and `references.py` leaves the content out where the name means a builtin container.
"""

from __future__ import annotations

import ast

from mlflowish.hashing import scopes
from mlflowish.hashing.calls import Calls

# Methods of the builtin containers that add or clear, whatever the container holds, and never fail for what it holds.
FEEDING = frozenset(
    {
        "add",
        "append",
        "appendleft",
        "clear",
        "discard",
        "extend",
        "extendleft",
        "insert",
        "setdefault",
        "update",
        "write",
        "writelines",
    }
)


class Feeding(Calls):
    """Writes those statements. A base of `Dump`."""

    def generic(self, node: ast.AST, *, skip: frozenset[str] = frozenset()) -> None:
        """Write any other node of the same kind; `Dump` knows how."""
        raise NotImplementedError

    def visit_Expr(self, node: ast.Expr) -> None:
        call = node.value
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in FEEDING:
            root = self.outside_name(call.func.value)
            if root is not None:
                self.tag("Feed")
                self.text(call.func.attr)
                self.outside(root, (call.func.attr,), fed=True)
                for part in [*call.args, *call.keywords]:
                    self.visit(part)
                self.close()
                return
        self.generic(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        if len(node.targets) != 1 or not self.feeds_item(node.targets[0], node.value, "FeedItem"):
            self.generic(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if not self.feeds_item(node.target, node.value, f"Feed{type(node.op).__name__}"):
            self.generic(node)

    def feeds_item(self, target: ast.expr, value: ast.expr, tag: str) -> bool:
        """Write `outside[key] = value`, if that is what it is."""
        root = self.outside_name(target.value) if isinstance(target, ast.Subscript) else None
        if root is None or not isinstance(target, ast.Subscript):
            return False
        self.tag(tag)
        self.outside(root, (), fed=True)
        self.visit(target.slice)
        self.visit(value)
        self.close()
        return True

    def outside_name(self, node: ast.expr) -> str | None:
        """The name, if `node` is one that comes from outside of the unit."""
        found = isinstance(node, ast.Name) and scopes.owner(self.scope, node.id) is None
        return node.id if found and isinstance(node, ast.Name) else None
