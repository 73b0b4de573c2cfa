"""Prints the digests of every group as JSON: the torture suite of values, run in a process of its own.

For each value: its digest, and the digests of what `pickle` and `copy.deepcopy` make of it (None where they refuse).
With the argument `named`, classes and functions count by name: code fingerprints carry versions of libraries, which
differ between installations.
"""

from __future__ import annotations

import copy
import importlib
import json
import pickle
import sys
from collections.abc import Callable
from typing import Any

from groups import Group

from mlflowish.hashing import digest

MODULES = (
    "builtin_values",
    "standard_values",
    "object_values",
    "numpy_values",
    "pandas_values",
    "arrow_values",
    "library_values",
)


def named(obj: object, path: str) -> bytes:
    """The identity of code by its name."""
    return f"{getattr(obj, '__module__', '')}:{getattr(obj, '__qualname__', getattr(obj, '__name__', ''))}".encode()


def all_groups() -> list[tuple[str, Group]]:
    return [
        (f"{module}: {group.name}", group) for module in MODULES for group in importlib.import_module(module).groups
    ]


def evaluate() -> dict[str, list[list[str | None]]]:
    return {name: [digests_of(make()) for make in group.makes] for name, group in all_groups()}


def digests_of(value: Any) -> list[str | None]:
    own = digest_text(value)
    return [own, of_copy(value, lambda it: pickle.loads(pickle.dumps(it, 5))), of_copy(value, copy.deepcopy)]


def of_copy(value: Any, duplicate: Callable[[Any], Any]) -> str | None:
    try:
        copied = duplicate(value)
    except Exception:  # noqa: BLE001  # that a library cannot copy its object is not what is tested here
        return None
    return digest_text(copied)


def digest_text(value: Any) -> str:
    try:
        return digest(value, code=named if sys.argv[1:] == ["named"] else None).hex()
    except Exception as error:  # noqa: BLE001  # the report of one bad case must not hide the others
        return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    json.dump(evaluate(), sys.stdout)
