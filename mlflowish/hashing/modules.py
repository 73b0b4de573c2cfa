"""Whole modules: what a module contributes when the program holds the module itself and can ask it for any name."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from mlflowish.hashing.constants import sized
from mlflowish.hashing.guards import MISSING
from mlflowish.hashing.packages import file_digest, realm_of_loaded

if TYPE_CHECKING:
    from mlflowish.hashing.walk import Walk

# What a notebook keeps in its namespace for the person at the keyboard.
_NOTEBOOK = frozenset({"In", "Out", "exit", "quit", "get_ipython", "open"})
_COMPILED = (".so", ".pyd", ".dylib")


def module_edge(walk: Walk, module: ModuleType, label: str) -> bytes:
    """An edge to a module that is used as a value."""
    realm = realm_of_loaded(module)
    name = module.__name__
    if realm != "project" and name.partition(".")[0] != walk.own_package:
        return walk.leaf((name, ""))
    file = module.__dict__.get("__file__")
    if isinstance(file, str) and file.endswith(_COMPILED):
        return compiled_edge(walk, file, name)
    walk.note(f"{label}: the module {name} is used as a value, so everything in it counts.")
    return walk.visit(module, name, record_module)


def compiled_edge(walk: Walk, file: str, name: str) -> bytes:
    """An edge to a compiled module of the project, known by the content of its file."""
    found = file_digest(file)
    walk.add_part(name, "file", found, lambda: file)
    walk.guards.file(file)
    return b"K" + found


def record_module(walk: Walk, number: int, module: ModuleType, label: str) -> bytes:
    """The record of a module: every name in it."""
    return b"M" + _names(walk, module.__dict__, label)


def namespace_edge(walk: Walk, namespace: dict[str, Any], label: str) -> bytes:
    """An edge to everything in the globals of a function."""
    return walk.visit(namespace, label, _record_namespace)


def _record_namespace(walk: Walk, number: int, namespace: dict[str, Any], label: str) -> bytes:
    return b"M" + _names(walk, namespace, label)


def _names(walk: Walk, namespace: dict[str, Any], label: str) -> bytes:

    file = namespace.get("__file__")
    if isinstance(file, str):
        walk.files.add(file)
    notebook = "get_ipython" in namespace
    walk.guards.size(namespace, len(namespace))
    out = bytearray()
    for name in sorted(namespace):
        if _is_own(name) or (notebook and (name.startswith("_") or name in _NOTEBOOK)):
            continue
        value = namespace.get(name, MISSING)
        walk.guards.binding(namespace, name, value)
        out += sized(name) + walk.edge(value, f"{label}.{name}", name=name, lenient=True)
    walk.add_part(label, "module", blake3(bytes(out)).digest(16), lambda: "every name in it")
    return bytes(out)


def _is_own(name: str) -> bool:
    return name.startswith("__") and name.endswith("__") and name not in {"__getattr__", "__all__"}
