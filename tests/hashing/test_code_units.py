"""The canonical form of code: equal for what means the same, different for what does not, the same on every Python."""

from __future__ import annotations

import ast
import textwrap
import types
from typing import Any

import pytest

from mlflowish.hashing import source
from mlflowish.hashing.bytecode import bytecode_unit, normalised
from mlflowish.hashing.fingerprint import fingerprint
from mlflowish.hashing.units import TooDeepError, Unit, function_unit

# Changing one of these changes the identity of every function of every user: their results would be computed again.
PINNED = {
    "arithmetic": "7987ac2f1bdf245576579a88c707ac68",
    "control": "b315f7641bcd985ca0092229271aab8e",
    "text": "2dc4ddbf7893b604ee6b47029be9dc82",
    "scopes": "16a396dcbfc6668c73e173162ef6b54a",
    "errors": "3b77f471c46c8bcd6fbcc97a8e6ddbca",
    "match": "0706143e9857ded260a3844b099d6a65",
    "names": "9c5c40af0dd4fbeb84a996b4b175fcd4",
    "async": "f35a18e96f76a870704715fac7c94560",
}

SAMPLES = {
    "arithmetic": "def f(x, y=2):\n    return (x + y) * 2 ** 3 - 1.5 / x % 2\n",
    "control": (
        "def f(x):\n    for i in range(x):\n        if i % 2:\n            continue\n        yield i\n"
        "    while x:\n        x -= 1\n    else:\n        return None\n"
    ),
    "text": "def f(x):\n    return f'a{x!r:>{10}}b' + 'c' 'd' + rf'\\d{x}'\n",
    "scopes": (
        "def f(x):\n    k = 1\n    def g(y):\n        nonlocal k\n        k = [a for a in y if (b := a)]\n"
        "        return k, b\n    class C:\n        n: int = k\n    return g, C, lambda z=1: z + k\n"
    ),
    "errors": (
        "def f(x):\n    try:\n        with open(x) as h:\n            return h.read()\n"
        "    except (OSError, ValueError) as e:\n        raise KeyError(x) from e\n    finally:\n        del x\n"
    ),
    "match": (
        "def f(x):\n    match x:\n        case {'a': [1, *rest], **other} if rest:\n            return other\n"
        "        case C(a=1) | None:\n            return 0\n        case str() as s:\n            return s\n"
    ),
    "names": "def f(x):\n    import a.b as c\n    from .d import e\n    return c.g(e(h.i.j, key=K[0]))\n",
    "async": "async def f(x):\n    async with x as y:\n        return [await z async for z in y]\n",
}


def unit(text: str) -> Unit:
    node = ast.parse(textwrap.dedent(text)).body[0]
    assert isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    return function_unit(node)


@pytest.mark.parametrize("name", SAMPLES)
def test_units_are_pinned_on_every_python(name: str) -> None:
    assert unit(SAMPLES[name]).digest.hex() == PINNED[name]


@pytest.mark.parametrize("module", ["argparse", "dataclasses", "decimal", "textwrap", "difflib", "typing", "enum"])
def test_source_written_again_from_its_tree_has_the_same_units(module: str) -> None:
    import importlib

    try:
        path = importlib.import_module(f"_py{module}").__file__
    except ImportError:
        path = importlib.import_module(module).__file__
    assert path is not None
    with open(path, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    again = ast.parse(ast.unparse(tree))
    compared = 0
    for one, two in zip(ast.walk(tree), ast.walk(again), strict=True):
        if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            assert isinstance(two, type(one))
            assert function_unit(one).digest == function_unit(two).digest, ast.unparse(one)
            compared += 1
    assert compared > 10


def test_units_of_different_functions_of_a_library_differ() -> None:
    import argparse

    assert argparse.__file__ is not None
    with open(argparse.__file__, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    seen: dict[bytes, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            plain = ast.FunctionDef(**{**vars(node), "name": "f", "decorator_list": [], "returns": None})
            found = function_unit(plain)
            # References are resolved by the walk, so units that differ in nothing else are equal on purpose.
            names = [(reference.root, reference.attrs) for reference in found.references]
            text = ast.unparse(_without_docs(plain))
            key = found.digest + repr(names).encode()
            assert seen.setdefault(key, text) == text or _locals_only(seen[key], text)


def _without_docs(node: ast.FunctionDef) -> ast.FunctionDef:
    body = [part for part in node.body if not (isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant))]
    arguments = ast.arguments(**{**vars(node.args), "defaults": [], "kw_defaults": [None] * len(node.args.kwonlyargs)})
    return ast.FunctionDef(**{**vars(node), "body": body or [ast.Pass()], "args": arguments})


def _locals_only(one: str, two: str) -> bool:
    return len(one.splitlines()) == len(two.splitlines())


def test_syntax_nested_too_deep_is_left_to_the_bytecode() -> None:
    with pytest.raises(TooDeepError):
        unit("def f(x):\n    return " + "-" * 400 + "x\n")
    space: dict[str, Any] = {}
    exec("def f(x):\n    return " + " + ".join(["x"] * 600) + "\n", space)
    assert fingerprint(space["f"]).digest == fingerprint(space["f"]).digest


def _without_source(text: str) -> Any:
    module = types.ModuleType("m")
    exec(compile(text, "<nowhere>", "exec"), module.__dict__)
    return module.f


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return 1", "return 2"),
        ("return 1", "return 1.0"),
        ("return 1", "return True"),
        ("return x.a", "return x.b"),
        ("return x in {'a', 'b'}", "return x in {'a', 'c'}"),
        ("return lambda: 1", "return lambda: 2"),
        ("return (0.0, x)", "return (-0.0, x)"),
        (
            "try:\n        return x\n    except KeyError:\n        pass",
            "try:\n        return x\n    finally:\n        pass",
        ),
    ],
)
def test_without_source_every_constant_and_name_counts(old: str, new: str) -> None:
    one = fingerprint(_without_source(f"def f(x):\n    {old}\n"))
    two = fingerprint(_without_source(f"def f(x):\n    {new}\n"))
    assert one.digest != two.digest
    assert "bytecode" in one.parts[0].describe()


def test_without_source_lines_and_files_do_not_count() -> None:
    one = _without_source("def f(x):\n    return x in {'a', 'b', 'c', 'd'}\n")
    two = _without_source("\n\n\ndef f(x):\n\n    return x in {'a', 'b', 'c', 'd'}\n")
    assert normalised(one.__code__) == normalised(two.__code__)
    assert fingerprint(one).digest == fingerprint(two).digest


def test_without_source_globals_attributes_and_imports_are_followed() -> None:
    text = (
        "K = {}\nclass S: pass\nS.k = 1\ndef h(x): return x\ndef f(x):\n    import json\n    return h(x) + K[x] + S.k\n"
    )
    roots = {reference.root for reference in bytecode_unit(_without_source(text).__code__).references}
    assert {"json", "h", "K", "S"} <= roots
    one = _without_source(text)
    two = _without_source(text.replace("return x\n", "return -x\n"))
    assert fingerprint(one).digest != fingerprint(two).digest


def test_lambdas_on_one_line_are_told_apart() -> None:
    pair = (lambda x: x + 1), (lambda x: x + 2)
    units = [source.unit_of(function.__code__) for function in pair]
    assert [found.mode for found in units] == ["ast", "ast"]
    assert units[0].digest != units[1].digest
