"""Which syntax a closed body may be made of: everything that this Python knows is decided, one by one."""

from __future__ import annotations

import _ast
import ast
import sys

import pytest

from mlflowish.pipelines.allowed import Reading
from mlflowish.pipelines.words import BUILTINS, ERRORS, HARMFUL, Meaning, Open

_NAMES = {
    "one": Meaning.STEP,
    "mf": Meaning.MODULE,
    "when": Meaning.WHEN,
    "helper": Meaning.CODE,
    "RATES": Meaning.PLAIN,
}


def outside(name):
    if name in BUILTINS:
        return Meaning.BUILTIN
    if name in ERRORS:
        return Meaning.ERROR
    if name not in _NAMES:
        raise Open(f"the name {name}")
    return _NAMES[name]


def function_of(*lines):
    return ast.parse("\n ".join(["def body(x, y=1, *rest, k=2, **more):", *lines])).body[0]


def is_closed(*lines):
    try:
        found = Reading(function_of(*lines), outside).traits
    except Open:
        return False
    return not any(harmful in found for harmful in HARMFUL)


CLOSED = [
    ["'what it does'", "pass", "return"],
    ["a = [one(x), (y, 'b', b'c', 1.5, None, ...)]", "a.append(2)", "a += [x]", "a[0] = x", "del a[0], a", "return 1"],
    ["n: int = 0", "n += x", "while n < 3: n += 1", "return [] if n else {}"],
    ["for k, v in x.items():", "  if k: continue", "  else: break", "return one(k)"],
    ["assert x, y", "return one(x + 1 - 2 * 3 / 4 // 5 ** 6 << 7 >> 8 | 9 & 10 ^ 11)"],
    ["if x > 1 or x >= 2 and x < 3 or x <= 4 or x != 5 or not x == 6: raise ValueError('no')", "return -x + ~x, +x"],
    ["return x in {1, 2} or x not in y or x is None or None is not x or x is True"],
    ["return {k: v for k, v in enumerate(x)}, [k for k in reversed(y) if k], sum(k for k in x)"],
    ["return mf.when(one(x), lambda: one(y), helper), when(x, one)"],
    ["def inner(a, b=2):", "  return one(a)", "return inner(x)"],
    ["first, *others = x", "return one(*others, **more), x[1:2], (z := 3), 'a' if x else 'b'"],
    ["return f'{x:.3f} {y!r}', '{:>3} {a}'.format(x, a=y), '%s' % x"],
    ["return sorted(x, key=lambda each: each[0]), sorted(zip(x, y)), max(x, key=len), max(x, default=one(0))"],
    ["return one.map(x, y, k=k), one.map(a + b for a, b in zip(x, y)), one.submit(x)"],
    ["return [step(x) for step in (one, helper)], {'a': one}[x](1)"],
    ["a = b = []", "b.extend(k for k in x)", "a.pop()", "return one(a)"],
    ["c = x.copy() if k else sorted(x)", "c.insert(0, 1)", "return one(c)"],
    ["return x % 2"],
    ["return x - {'a': 1}[y]"],
]
OPEN = {
    "AnnAssign": ["x.y: int = 1"],
    "AsyncFor": ["async for k in x: pass"],
    "AsyncFunctionDef": ["async def f(): pass"],
    "AsyncWith": ["async with x: pass"],
    "Attribute": ["return x.y"],
    "Await": ["return await x"],
    "ClassDef": ["class A: pass"],
    "ExceptHandler": ["try: one(x)", "except ValueError: pass"],
    "FormattedValue": ["return f'{x:n}'"],
    "Global": ["global x1", "x1 = 2"],
    "Import": ["import os"],
    "ImportFrom": ["from os import sep"],
    "Is": ["return x is y"],
    "IsNot": ["return x is not y"],
    "MatMult": ["return x @ y"],
    "Match": ["match x:", "  case 1: pass"],
    "MatchAs": ["match x:", "  case y: pass"],
    "MatchClass": ["match x:", "  case int(): pass"],
    "MatchMapping": ["match x:", "  case {}: pass"],
    "MatchOr": ["match x:", "  case 1 | 2: pass"],
    "MatchSequence": ["match x:", "  case []: pass"],
    "MatchSingleton": ["match x:", "  case None: pass"],
    "MatchStar": ["match x:", "  case [*y]: pass"],
    "MatchValue": ["match x:", "  case 1: pass"],
    "Nonlocal": ["y = 1", "def f():", "  nonlocal y", "  y = 2"],
    "ParamSpec": ["def f[**P](): pass"],
    "SetComp": ["return [k for k in {k for k in x}]"],
    "Try": ["try: one(x)", "finally: pass"],
    "TryStar": ["try: one(x)", "except* ValueError: pass"],
    "TypeAlias": ["type A = int"],
    "TypeVar": ["def f[A](): pass"],
    "TypeVarTuple": ["def f[*A](): pass"],
    "With": ["with x: pass"],
    "Yield": ["yield x"],
    "YieldFrom": ["yield from x"],
    "alias": ["import os as o"],
    "match_case": ["match x:", "  case 1: pass"],
    "withitem": ["with x: pass"],
}
# In no body: of modules, of comments about types.
_ELSEWHERE = {"Expression", "FunctionType", "Interactive", "Module", "TypeIgnore"}
_NEW_IN_312 = {"ParamSpec", "TypeAlias", "TypeVar", "TypeVarTuple"}
_KINDS = {name: kind for name, kind in vars(_ast).items() if isinstance(kind, type) and issubclass(kind, ast.AST)}
_SYNTAX = sorted(
    name for name, kind in _KINDS.items() if not any(other in kind.__subclasses__() for other in _KINDS.values())
)


def test_every_kind_of_syntax_that_this_python_has_is_decided():
    closed = {type(node).__name__ for lines in CLOSED for node in ast.walk(function_of(*lines))}
    assert set(_SYNTAX) - closed - set(OPEN) - _ELSEWHERE == set()


@pytest.mark.parametrize("lines", CLOSED, ids=lambda lines: lines[0][:30])
def test_what_follows_from_code_and_arguments_is_closed(lines):
    assert is_closed(*lines)


@pytest.mark.parametrize("name", OPEN)
def test_other_syntax_is_open(name):
    if name in _NEW_IN_312 and sys.version_info < (3, 12):
        pytest.skip("this Python does not know it")
    assert name in {type(node).__name__ for node in ast.walk(function_of(*OPEN[name]))}
    assert not is_closed(*OPEN[name])


@pytest.mark.parametrize(
    "line",
    [
        # Sets, and what makes one of views.
        "return list({x, 2})", "return [k for k in {1, 2}]", "return one({1})", "return x.keys() & y.keys()",
        "a = x.items()\n return [one(k) for k in a - y]", "return max(x.keys(), y) - k", "return set(x)",
        "return frozenset(x)",
        # What is changed may be the caller's.
        "x.append(1)", "rest[0] = 1", "del x[0]", "x += [1]", "x += y", "x *= 2", "for k in x: k.append(1)",
        "a = x\n a.append(1)", "a = []\n a = x\n a.append(1)", "a = [x]\n a[0].append(1)", "RATES.append(1)",
        "y.setdefault(k, []).append(x)", "a = x or []\n a.append(1)", "a, b = x\n a.append(1)", "more.update(a=1)",
        "a = {}\n a['k'] = x\n a['k'] += [1]", "a = max([], x)\n a.append(1)", "[a := x]\n a.append(1)",
        "def f(a=x):\n  a.append(1)\n return f()", "append = x.append\n append(1)", "list.append(x, 1)",
        "list = helper\n a = list(x)\n a.append(1)", "def a(): pass\n a.append(1)", "dict.update(x, a=1)",
        "x.field = 1", "a = b = x\n b.append(1)", "a = sum([], x)\n a.append(1)",
        # Addresses, and the names and places of code, in a text.
        "return str(helper)", "return f'{one}'", "return '%s' % one", "return '{}'.format(lambda: 1)",
        "return f'{(k for k in x)}'", "return str(enumerate(x))", "a = zip(x)\n return f'{a}'",
        "return [str(f) for f in [one]]", "return max(x, key=str), [helper]", "def f(): pass\n return f'{f}'",
        "return helper(one), f'{x}'", "return '{0.__init__}'.format(1)", "return x.format(1)",
        "return '{:{}}'.format(1, x)", "return '{0[a]}'.format(x)", "return '{:n}'.format(x)", "return f'{x:{y}}'",
        "return str.format('{:n}', x)", "return str.join(x, y)", "return f'{len}'",
        # What lies outside.
        "return open(x)", "return print(x)", "return isinstance(x, int)", "return getattr(x, 'y')", "return id(x)",
        "return hash(x)", "return repr(x)", "return unknown", "return mf.File(x)", "return mf", "return one.fn",
        "return one.forget(x)", "return helper.map(x)", "return mf.when", "return __debug__", "return __name__",
        "return ValueError", "raise x", "raise ValueError", "raise ValueError(x) from None", "raise helper(x)",
        "return map(helper, x)", "return iter(x)", "return next(x)", "return input()", "return globals()",
        "def f(a: int): pass", "def f() -> int: pass", "@one\n def f(): pass", "return vars()", "return type(x)",
        "return (lambda a=open: a)()", "return [k async for k in x]", "return x.encode()", "return x.sort()",
    ],
    ids=lambda line: line.replace("\n", ";")[:40],
)  # fmt: skip
def test_these_are_open(line):
    assert not is_closed(line)


def test_a_builtin_by_another_name_makes_no_new_list():
    assert is_closed("a = list(x)", "a.append(1)")
    assert not is_closed("a = helper(x)", "a.append(1)")


def test_a_lambda_and_a_parameter_that_holds_code_are_read_as_well():
    assert (
        Reading(ast.parse("lambda x: one(x)").body[0].value, outside).traits
        == Reading(function_of("return one(x)"), outside).traits
    )
    shown = function_of("return f'{y}'")
    assert not any(harmful in Reading(shown, outside).traits for harmful in HARMFUL)
    assert any(harmful in Reading(shown, outside, ["y"]).traits for harmful in HARMFUL)
