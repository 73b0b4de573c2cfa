"""What the program changed in a library: data that it set there, and functions of its own that it put in the place of
the library's.

The version of a package says what is in it only as long as nobody writes to it. So data that is read in a library
counts by its present value, and functions of the project that are found in a module or class of a library count as if
they were called. Looked for where the code reaches into the library, not in all of it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from functools import cache
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from mlflowish.hashing import describe, source
from mlflowish.hashing.constants import sized
from mlflowish.hashing.guards import MISSING
from mlflowish.hashing.leaves import module_of, project_class, project_function, state_of, type_name
from mlflowish.hashing.library import library_edge
from mlflowish.hashing.opaque import is_immutable
from mlflowish.hashing.overlay import NOT_LITERAL, literal_of
from mlflowish.hashing.packages import realm_of_loaded, realm_of_module
from mlflowish.hashing.plain import CONTAINERS, plain_digest
from mlflowish.hashing.scopes import bound_in

if TYPE_CHECKING:
    from mlflowish.hashing.walk import Walk

# More than this is a table that comes with the library, too long to look at in every call.
_MAX_ITEMS = 1_000
_SIZED = CONTAINERS | {str, bytes}  # of plain data; nothing else is asked, it may answer anything
# How an interpreter was started and found its modules; what its caller made of that is read elsewhere.
_PLACES = frozenset({("sys", "path"), ("sys", "modules"), ("sys", "path_importer_cache")})


def data_edge(walk: Walk, holder: Any, name: str, found: Any, rest: tuple[str, ...], label: str) -> bytes:
    """What plain data at `holder.name`, or along the attributes `rest` behind it, adds to the name of the library's."""
    for attr in rest:
        holder, name = found, attr
        found = _static_attribute(walk, holder, name)
        label = f"{label}.{name}"
        if found is MISSING:
            return b""
    if isinstance(found, FunctionType):
        return walk.edge(found, label) if rest and project_function(found) else b""
    if (name.startswith("__") and name.endswith("__")) or (getattr(holder, "__name__", ""), name) in _PLACES:
        return b""
    if _is_long(found) or _is_place(found):
        return b""
    digest = plain_digest(found)
    if digest is None:
        return b""
    if not walk.done and not is_immutable(found):
        walk.guards.value(found, digest, lambda current: plain_digest(current) or b"")
    walk.add_part(label, "value", digest, lambda: describe.value_text(label, found))
    return b"V" + digest


def library_facts(walk: Walk) -> dict[str, bytes]:
    """What was changed in the libraries that the walk reached, where no single reference shows it: by place."""
    found: dict[str, bytes] = {}
    for (module_name, path), static in list(walk.leaves.items()):
        module = sys.modules.get(module_name)
        if not isinstance(module, ModuleType) or realm_of_loaded(module) != "package":
            continue
        holders = [(module, module_name), *_classes_along(module, path, module_name)]
        for holder, label in holders:
            if f"patched {label}" not in found and (edges := _patches(walk, holder, label)):
                found[f"patched {label}"] = edges
        # Of a library that is imported in a body, and so perhaps not loaded yet, only what differs from its source.
        for name in (path.split(".")[0],) if static and path else () if path else sorted(walk.attributes):
            if edges := _set_since(walk, module, name):
                found[f"set {module_name}.{name}"] = edges
    return found


def _classes_along(module: ModuleType, path: str, label: str) -> list[tuple[type, str]]:
    found: list[tuple[type, str]] = []
    here: Any = module
    for name in path.split("."):
        here = vars(here).get(name)
        label = f"{label}.{name}"
        if not isinstance(here, type):
            break
        found.append((here, label))
        found += [(base, type_name(base)) for base in here.__mro__[1:] if in_library(base)]
    return found


def _patches(walk: Walk, holder: Any, label: str) -> bytes:
    """Edges to functions and classes of the project that a module or class of a library holds."""
    namespace = vars(holder)
    out = bytearray()
    for name, value in sorted(_foreign(namespace, holder), key=lambda item: item[0]):
        walk.guards.binding(namespace, name, value)
        out += sized(name) + library_edge(walk, value, f"{label}.{name}", name)
    return bytes(out)


def _is_long(value: Any) -> bool:
    return type(value) in _SIZED and len(value) > _MAX_ITEMS


def _set_since(walk: Walk, module: ModuleType, name: str) -> bytes:
    """The value of plain data in a loaded library that is not what the source of the library says."""
    value = module.__dict__.get(name, MISSING)
    if value is MISSING or _is_long(value):
        return b""
    now = plain_digest(value)
    file = module.__dict__.get("__file__")
    if now is None or not isinstance(file, str) or not file.endswith(".py"):
        return b""
    walk.guards.binding(module.__dict__, name, value)
    if not is_immutable(value):
        walk.guards.value(value, now, lambda current: plain_digest(current) or b"")
    parsed = source.source_of_file(file)
    written = [] if parsed is None else [node for node in parsed.tree.body if name in bound_in([node]).names]
    literal = literal_of(written[0]) if len(written) == 1 else NOT_LITERAL
    if literal is NOT_LITERAL or plain_digest(literal) == now:
        return b""
    label = f"{module.__name__}.{name}"
    walk.add_part(label, "value", now, lambda: describe.value_text(label, value))
    return now


def _foreign(namespace: Mapping[str, Any], holder: Any) -> list[tuple[str, Any]]:
    own = holder.__name__ if isinstance(holder, ModuleType) else module_of(holder)
    top = own.partition(".")[0]
    found = []
    for name, value in list(namespace.items()):
        # An accessor, or another descriptor of the library, around something of the project.
        inside = state_of(value) if isinstance(holder, type) else None
        parts = [value, *(inside or {}).values()]
        if any(_is_project(part, top) for part in parts):
            found.append((name, value))
    return found


def _home(value: Any) -> str:
    """The top-level name of the module that a function or class is from."""
    module = value.__globals__.get("__name__") if isinstance(value, FunctionType) else module_of(value)
    return module.partition(".")[0] if isinstance(module, str) else ""


def _is_project(value: Any, top: str) -> bool:
    # Code that a library generated has no home.
    if not isinstance(value, (FunctionType, type)) or _home(value) in {"", top}:
        return False
    return project_function(value) if isinstance(value, FunctionType) else project_class(value)


def _static_attribute(walk: Walk, holder: Any, name: str) -> Any:
    """An attribute as it is stored, without running code; MISSING where it would be computed."""
    own = state_of(holder)
    if isinstance(holder, type):
        spaces: list[Any] = [vars(base) for base in holder.__mro__]
    elif isinstance(holder, ModuleType):
        spaces = [holder.__dict__]
    else:
        spaces = [own, *(vars(base) for base in type(holder).__mro__)] if own is not None else []
    for space in spaces:
        if not walk.done:
            walk.guards.binding(space, name, space.get(name, MISSING))
        if name in space:
            return space[name]
    return MISSING


@cache
def _prefixes() -> tuple[str, ...]:
    roots = {sys.prefix, sys.base_prefix, sys.exec_prefix, *map(os.path.realpath, (sys.prefix, sys.base_prefix))}
    return tuple(root.rstrip(os.sep) + os.sep for root in roots if root.strip(os.sep))


def _is_place(found: Any) -> bool:
    """Whether a text says where the library is installed, which means nothing for a result."""
    return isinstance(found, str) and (f"{found}{os.sep}").startswith(_prefixes())


def in_library(obj: Any) -> bool:
    """Whether an object's class, or the object if it is one, belongs to a library."""
    return realm_of_module(module_of(obj if isinstance(obj, type) else type(obj))) != "project"
