"""Edits that change nothing: every one of them must reuse the result."""

# ruff: noqa: E501  one case a line: text of files, edit, expectation
# fmt: off

from cases import Cases

cases = Cases()
hit, miss = cases.hit, cases.miss

BASE = '''
import math

UNUSED = 1

def helper(a, b=2):
    """Doc of helper."""
    total = a * b
    return total + 1

def other(x):
    return x - 1

def f(x):
    """Doc of f."""
    result = []
    for item in range(x):
        result.append(helper(item))
    return sum(result) + math.floor(1.5)
'''

hit("nothing", BASE, ("UNUSED = 1", "UNUSED = 1"))
hit("comment in body", BASE, ("result = []", "result = []  # a list"))
hit("comment above", BASE, ("def f(x):", "# says hello\ndef f(x):"))
hit("comment in helper", BASE, ("total = a * b", "# multiply\n    total = a * b"))
hit("blank lines", BASE, ("result = []", "\n\n    result = []\n\n"))
hit("docstring changed", BASE, ("Doc of f.", "Quite another text."))
hit("docstring removed", BASE, ('    """Doc of f."""\n', ""))
hit("docstring of helper", BASE, ("Doc of helper.", "Another."))
hit("hints added", BASE, ("def f(x):", "def f(x: int) -> int:"))
hit("hints on a local", BASE, ("result = []", "result: list[int] = []"))
hit("hints on helper", BASE, ("def helper(a, b=2):", "def helper(a: float, b: int = 2) -> float:"))
hit("local renamed", BASE, ("result", "collected"))
hit("loop variable renamed", BASE, ("item", "i"))
hit("local of helper renamed", BASE, ("total", "product"))
hit("layout of a call", BASE, ("helper(item)", "helper(\n            item,\n        )"))
hit("parentheses", BASE, ("a * b", "(a * b)"))
hit("semicolons", BASE, ("total = a * b\n    return total + 1", "total = a * b; return total + 1"))
hit("helper renamed", BASE, ("helper", "assistant"))
hit("unused global added", BASE, ("UNUSED = 1", "UNUSED = 1\nMORE = [1, 2, 3]"))
hit("unused global changed", BASE, ("UNUSED = 1", "UNUSED = 2"))
hit("unused function changed", BASE, ("return x - 1", "return x - 2"))
hit("unused function removed", BASE, ("def other(x):\n    return x - 1\n", ""))
hit("unused import added", BASE, ("import math", "import math\nimport json"))
hit(
    "functions reordered",
    BASE,
    ('def helper(a, b=2):\n    """Doc of helper."""\n    total = a * b\n    return total + 1\n', ""),
    ("def other(x)", "def helper(a, b=2):\n    total = a * b\n    return total + 1\n\ndef other(x)"),
)
hit("all moved down", BASE, ("import math", "\n\n\n# header\n\nimport math"))
hit("future annotations", BASE, ("import math", "from __future__ import annotations\nimport math"))
hit("pass added", BASE, ("result = []", "result = []\n    pass"))
hit("default of the entry, given by the call", "def f(x, n=2):\n    return x * n", ("n=2", "n=5"), call="f(3, 7)")
hit("number written otherwise", "def f(x):\n    return x + 1000", ("1000", "1_000"))
hit("hex number", "def f(x):\n    return x + 255", ("255", "0xFF"))
hit("quotes", 'def f(x):\n    return "a" * x', ('"a"', "'a'"))
hit("string split over pieces", 'def f(x):\n    return "ab" * x', ('"ab"', '"a" "b"'))
hit("elif for else-if", "def f(x):\n    if x > 5:\n        return 1\n    else:\n        if x > 2:\n            return 2\n    return 3", ("    else:\n        if x > 2:\n            return 2\n", "    elif x > 2:\n        return 2\n"))
hit("comprehension variable", "def f(x):\n    return [i * 2 for i in range(x)]", ("i * 2 for i", "j * 2 for j"))
hit("except name", "def f(x):\n    try:\n        return 1 / x\n    except ZeroDivisionError as e:\n        return str(e)", ("e)", "err)"), ("as e:", "as err:"))
hit("with name", "import io\n\ndef f(x):\n    with io.StringIO('abc') as s:\n        return s.read() * x", ("as s", "as stream"), ("s.read", "stream.read"))
hit("walrus name", "def f(x):\n    if (n := x + 1) > 2:\n        return n\n    return 0", ("(n :=", "(m :="), ("return n", "return m"))
hit("match capture renamed", "def f(x):\n    match (x, 1):\n        case (a, b):\n            return a + b", ("(a, b)", "(p, q)"), ("a + b", "p + q"))
hit("unpacked names", "def f(x):\n    a, *b = [x, x + 1, x + 2]\n    return a, b", ("a, *b", "u, *v"), ("return a, b", "return u, v"))
hit("nested function's local", "def f(x):\n    def g(y):\n        z = y + 1\n        return z\n    return g(x)", ("z = ", "w = "), ("return z", "return w"))
hit("nested function renamed", "def f(x):\n    def g(y):\n        return y + 1\n    return g(x)", ("g(", "inner("))
hit("closure variable renamed", "def f(x):\n    k = 2\n    def g(y):\n        return y * k\n    return g(x)", ("k = 2", "scale = 2"), ("y * k", "y * scale"))
hit("nested docstring", "def f(x):\n    def g(y):\n        'one'\n        return y\n    return g(x)", ("'one'", "'two'"))
hit("ellipsis body", "def stub():\n    ...\n\ndef f(x):\n    stub()\n    return x", ("    ...", "    pass"))
hit("script part", "def f(x):\n    return x", ("    return x", "    return x\n\nif __name__ == '__main__':\n    print(f(1))"))
hit("module docstring", "'Old.'\ndef f(x):\n    return x", ("'Old.'", "'New.'"))
hit("type checking import", "from typing import TYPE_CHECKING\ndef f(x):\n    return x", ("def f(x)", "if TYPE_CHECKING:\n    from decimal import Decimal\n\ndef f(x: 'Decimal')"))
hit("__all__ added", "def f(x):\n    return x", ("def f", "__all__ = ['f']\n\ndef f"))
hit("overloads added", "def f(x):\n    return x", ("def f(x)", "from typing import overload\n\n@overload\ndef f(x: int) -> int: ...\n@overload\ndef f(x: str) -> str: ...\ndef f(x)"))
hit("type parameters", "def f(x):\n    return x", ("def f(x)", "def f[T](x: T) -> T"), minimum=(3, 12))
hit("generic helper", "def h(x):\n    return x + 1\n\ndef f(x):\n    return h(x)", ("def h(x)", "def h[T: int](x: T) -> T"), minimum=(3, 12))
hit("async docstring", "async def g(x):\n    'a'\n    return x\n\nasync def f(x):\n    return await g(x)", ("'a'", "'b'"))
hit("tabs for spaces", "def f(x):\n    y = x\n    return y", ("    ", "\t"))
hit("line continuation", "def f(x):\n    return x + 1", ("x + 1", "x + \\\n        1"))
hit("hint changed on a plain class", "class A:\n    n: int = 1\n    def m(self, x):\n        return x + self.n\n\ndef f(x):\n    return A().m(x)", ("n: int", "n: float"))
hit("methods reordered", "class A:\n    def p(self):\n        return 1\n    def q(self):\n        return 2\n\ndef f(x):\n    return A().p() + A().q() + x", ("    def p(self):\n        return 1\n    def q(self):\n        return 2\n", "    def q(self):\n        return 2\n    def p(self):\n        return 1\n"))
hit("class docstring", "class A:\n    'a'\n    def m(self):\n        return 1\n\ndef f(x):\n    return A().m() + x", ("'a'", "'b'"))
