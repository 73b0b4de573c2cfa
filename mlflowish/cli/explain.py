"""`mlflowish explain`: would this call be read back, and if not, what differs."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import click

from mlflowish.cli.options import Location, json_option, store_options
from mlflowish.cli.printing import print_json
from mlflowish.errors import InvalidInputError, NotFoundError, nearest

if TYPE_CHECKING:
    from mlflowish.steps import Explanation, Step


@click.command()
@click.argument("target", metavar="MODULE:STEP")
@click.option(
    "-a",
    "--arg",
    "pairs",
    multiple=True,
    metavar="NAME=VALUE",
    help="An argument of the call; VALUE is a Python literal, else text.",
)
@store_options
@json_option
def explain(target: str, pairs: tuple[str, ...], location: Location, as_json: bool) -> None:
    """Why a call would be read back or computed. Runs nothing but the import of the module.

    MODULE is importable from this folder (pkg.mod) or a file (train.py).
    """
    arguments = dict(_argument(pair) for pair in pairs)
    step = _step(target)
    with location.open():
        try:
            found = step.explain(**arguments)
        except TypeError as error:
            raise click.UsageError(f"{target} cannot be called so: {error}") from error
    if as_json:
        print_json(document(found))
    else:
        print(found)


def document(found: Explanation) -> dict[str, Any]:
    """An explanation for programs."""
    return {
        "step": found.step,
        "hit": found.hit,
        "reason": found.reason,
        "key": found.key,
        "nearest": found.nearest,
        "differences": [
            {"kind": d.kind, "name": d.name, "old": d.old, "new": d.new, "diff": d.diff} for d in found.differences
        ],
    }


def _argument(pair: str) -> tuple[str, Any]:
    name, equals, text = pair.partition("=")
    if not equals or not name.isidentifier():
        raise click.BadParameter(f"{pair!r} is not NAME=VALUE", param_hint="--arg")
    try:
        return name, ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return name, text


def _step(target: str) -> Step[..., Any]:
    from mlflowish.steps import Step

    module_name, colon, path = target.rpartition(":")
    if not colon or not module_name or not path:
        raise click.UsageError(f"{target!r} is not MODULE:STEP, for example train.py:features")
    module = load_module(module_name)
    found: Any = module
    for name in path.split("."):
        found = getattr(found, name, None)
    if isinstance(found, Step):
        return found
    known = [name for name, value in vars(module).items() if isinstance(value, Step)]
    there = f"its steps are {', '.join(nearest(path, known))}" if known else "it has no steps"
    if found is None:
        raise NotFoundError(f"There is no {path} in {module_name}; {there}", name=path, known=known)
    raise InvalidInputError(f"{target} is a {type(found).__name__}, not a step; {there}", name=path, known=known)


def load_module(name: str) -> ModuleType:
    """Import a module by its name, seen from the working directory, or a file."""
    is_file = name.endswith(".py")
    if is_file and not os.path.isfile(name):
        raise NotFoundError(f"There is no file {name} in {os.getcwd()}", path=name)
    folder = os.path.dirname(os.path.abspath(name)) if is_file else os.getcwd()
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return _from_file(name) if is_file else importlib.import_module(name)
    except (
        Exception,
        SystemExit,
    ) as error:  # whatever the user's module raises: the reason is theirs, the message ours
        raise InvalidInputError(f"Importing {name} failed: {type(error).__name__}: {error}", module=name) from error


def is_file_module(module: ModuleType) -> bool:
    """Was it loaded from a file that was named, and not by its name?"""
    return module in _named_files


_named_files: list[ModuleType] = []


def _from_file(path: str) -> ModuleType:
    name = os.path.splitext(os.path.basename(path))[0]
    spec = importlib.util.spec_from_file_location(name, os.path.abspath(path))
    if spec is None or spec.loader is None:
        raise InvalidInputError(f"{path} is not a Python file", path=path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    _named_files.append(module)
    spec.loader.exec_module(module)
    return module
