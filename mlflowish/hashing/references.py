"""What a reference of a unit means now: looked up in closure, globals, builtins and along the attributes of modules."""

from __future__ import annotations

import collections
import io
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import CellType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from mlflowish.hashing.constants import sized
from mlflowish.hashing.guards import MISSING, cell_content
from mlflowish.hashing.leaves import leaf_name, project_class, project_function, type_name
from mlflowish.hashing.modules import namespace_edge
from mlflowish.hashing.opaque import is_harmless
from mlflowish.hashing.outline import PLACE, place_edge
from mlflowish.hashing.packages import realm_of_loaded
from mlflowish.hashing.patches import data_edge, in_library
from mlflowish.hashing.questions import read_edge
from mlflowish.hashing.scopes import Reference
from mlflowish.hashing.static import imported, module_by_name
from mlflowish.hashing.units import Unit

if TYPE_CHECKING:
    from mlflowish.hashing.walk import Walk

# Names that calls use which are handled elsewhere, so they need no guard of their own.
_FUNCTION_FACTS = frozenset({"__name__", "__qualname__", "__module__", "__doc__", "__annotations__"})


@dataclass(frozen=True, slots=True)
class Space:
    """Where the outside names of one unit are looked up."""

    names: dict[str, Any]
    builtins: Mapping[str, Any]
    cells: Mapping[str, CellType]
    label: str

    @property
    def module(self) -> str:
        found = self.names.get("__name__")
        return found if isinstance(found, str) else "?"


def references(walk: Walk, unit: Unit, space: Space) -> bytes:
    """Edges for all references of a unit, in their order."""
    out = bytearray()
    for reference in unit.references:
        out += b"," + resolve(walk, space, reference)
    cell = space.cells.get("__class__")
    if cell is not None:
        out += b"c" + cell_edge(walk, cell, f"{space.label}.__class__", "__class__")
    return bytes(out)


def cell_edge(
    walk: Walk, cell: CellType, label: str, name: str, *, escapes: bool = False, lenient: bool = False
) -> bytes:
    """An edge to the content of a closure variable; which variable it is counts, because closures can share one."""
    content = cell_content(cell)
    walk.guards.cell(cell, content)
    number = walk.identity(cell)
    if content is MISSING:
        return b"A" + number
    return b"c" + number + walk.edge(content, label, name=name, escapes=escapes, lenient=lenient)


def resolve(walk: Walk, space: Space, reference: Reference) -> bytes:
    """The edge that a reference stands for."""
    edge = _resolve(walk, space, reference)
    return edge + _named_modules(walk, space, reference) if reference.imports else edge


def _named_modules(walk: Walk, space: Space, reference: Reference) -> bytes:
    """Edges to the modules whose names are in a value: `import_module(NAME)`, `import_module(TABLE[key])`."""
    cell = space.cells.get(reference.root)
    found = space.names.get(reference.root, MISSING) if cell is None else cell_content(cell)
    for attr in reference.attrs:
        found = getattr(found, "__dict__", {}).get(attr, MISSING)
    texts = [found] if isinstance(found, str) else list(found.values() if isinstance(found, dict) else _items(found))
    names = [text.partition(":")[0] for text in texts if isinstance(text, str)]
    if len(names) < len(texts) or not names:
        walk.loads_by_name = True
    return b"".join(module_by_name(walk, name) or b"A" for name in names)


def _items(found: Any) -> tuple[Any, ...]:
    return tuple(found) if isinstance(found, (list, tuple, set, frozenset)) else ()


def _resolve(walk: Walk, space: Space, reference: Reference) -> bytes:
    if reference.origin is not None:
        return imported(walk, space, reference)
    if reference.fed and (edge := _fed(walk, space, reference)) is not None:
        return edge
    root = reference.root
    cell = space.cells.get(root)
    if cell is not None:
        return _through_cell(walk, space, reference, cell)
    if root in PLACE:
        return place_edge(root, space.module, space.names.get("__file__")) + _rest(reference.attrs)
    found = space.names.get(root, MISSING)
    walk.guards.binding(space.names, root, found)
    if found is MISSING:
        found = space.builtins.get(root, MISSING)
        walk.guards.binding(space.builtins, root, found)
        label = root
    else:
        label = f"{space.module}.{root}"
        walk.bound.append((_space_number(walk, space.names), root))
    if found is MISSING:
        return b"A" + sized(root) + _rest(reference.attrs)
    return along(walk, found, reference, reference.attrs, label, space)


def along(walk: Walk, found: Any, reference: Reference, attrs: tuple[str, ...], label: str, space: Space) -> bytes:
    """Follow attributes through modules, then refer to what is there."""

    position, name = 0, reference.root
    last = len(attrs) - 1 if reference.stored else len(attrs)
    while isinstance(found, ModuleType) and position < last:
        module, name = found, attrs[position]
        if name in PLACE:
            return place_edge(name, module.__name__, module.__dict__.get("__file__")) + _rest(attrs[position + 1 :])
        if name == "__dict__":
            return walk.edge(module, label) + _rest(attrs[position:])
        namespace = module.__dict__
        found = namespace.get(name, MISSING)
        if found is MISSING:
            found = _made_on_demand(module, name)
        walk.guards.binding(namespace, name, namespace.get(name, MISSING))
        if found is MISSING:
            return _not_there(walk, module, attrs[position:], label)
        label = f"{module.__name__}.{name}"
        realm = realm_of_loaded(module)
        position += 1
        if realm == "project":
            walk.bound.append((_space_number(walk, namespace), name))
        elif not isinstance(found, ModuleType) and not _leads_back(found):
            rest = attrs[position:]
            return _library_value(walk, found, module, name, rest) + _rest(rest)
    rest = attrs[position:]
    if reference.stored:
        number = walk.identity(found.__dict__) if isinstance(found, ModuleType) else walk.edge(found, label, name=name)
        return b"=" + number + _rest(rest)
    if found is sys.modules:
        return _module_table(walk, space) + _rest(rest)
    if isinstance(found, FunctionType) and rest:
        return _function_attribute(walk, found, rest, label)
    walk.attributes.update(rest)
    edge = walk.edge(found, label, name=name, escapes=reference.escapes and not rest)
    if isinstance(found, type) and in_library(found):
        edge += data_edge(walk, found, name, found, rest, label)
    elif isinstance(found, type) and reference.shown and not rest:
        # `repr(cls)` says where the class is.
        edge += sized(type_name(found))
    elif rest and is_harmless(type(found)):
        edge += read_edge(walk, found, rest[0], label)
    return edge + _rest(rest)


def _fed(walk: Walk, space: Space, reference: Reference) -> bytes | None:
    """A container that this statement only adds to: its content cannot show in a result, so it does not count.

    None if what the name means is no builtin container with that method: it then counts like any other value.
    """

    cell = space.cells.get(reference.root)
    found = space.names.get(reference.root, MISSING) if cell is None else cell_content(cell)
    method = reference.attrs[0] if reference.attrs else "[]"
    if not any(type(found) is kind and method in methods for kind, methods in _FED.items()):
        return None
    if cell is None:
        walk.guards.binding(space.names, reference.root, found)
    else:
        walk.guards.cell(cell, found)
    walk.fed.append(found)
    # By name: another container of the same kind may be read by a way that shows only its content.
    return b"f" + sized(type(found).__name__) + sized(method) + sized(reference.root)


_FED: dict[type, frozenset[str]] = {
    io.StringIO: frozenset({"write", "writelines"}),
    io.BytesIO: frozenset({"write", "writelines"}),
    list: frozenset({"append", "clear", "extend", "insert"}),
    set: frozenset({"add", "clear", "discard", "update"}),
    dict: frozenset({"[]", "clear", "setdefault", "update"}),
    collections.defaultdict: frozenset({"[]", "clear", "setdefault", "update"}),
    collections.Counter: frozenset({"[]", "clear", "setdefault", "update"}),
    collections.deque: frozenset({"append", "appendleft", "clear", "extend", "extendleft"}),
}


def _through_cell(walk: Walk, space: Space, reference: Reference, cell: CellType) -> bytes:

    content = cell_content(cell)
    label = f"{space.label}.{reference.root}"
    if reference.attrs and (isinstance(content, (ModuleType, FunctionType)) or is_harmless(type(content))):
        walk.guards.cell(cell, content)
        return b"c" + walk.identity(cell) + along(walk, content, reference, reference.attrs, label, space)
    walk.attributes.update(reference.attrs)
    escapes = reference.escapes and not reference.attrs
    return cell_edge(walk, cell, label, reference.root, escapes=escapes) + _rest(reference.attrs)


def _library_value(walk: Walk, found: Any, module: ModuleType, name: str, rest: tuple[str, ...]) -> bytes:
    """Something in a library: known by the place where it is kept, or by its own public name; and what the program
    changed there.
    """
    named = leaf_name(found) if isinstance(found, (type, FunctionType)) else None
    label = f"{module.__name__}.{name}"
    out = walk.leaf(named if named is not None else (module.__name__, name))
    return out + data_edge(walk, module, name, found, rest, label)


def _leads_back(found: Any) -> bool:
    """Whether something found in a library is the project's own: a library can be patched."""

    if found is sys.modules:
        return True
    if isinstance(found, FunctionType):
        return project_function(found)
    return isinstance(found, type) and project_class(found)


def _made_on_demand(module: ModuleType, name: str) -> Any:
    """What a library gives for a name that it loads when it is first asked for; MISSING if it gives nothing.

    Asked for here because running the code asks too: otherwise the first call of a process would have another identity
    than those that come when the name is there.
    """
    is_lazy = "__getattr__" in module.__dict__ or type(module) is not ModuleType
    if not is_lazy or realm_of_loaded(module) == "project":
        return MISSING
    try:
        return getattr(module, name)
    except Exception:  # noqa: BLE001  a library's code, which may raise anything: the function will meet it itself
        return MISSING


def _not_there(walk: Walk, module: ModuleType, attrs: tuple[str, ...], label: str) -> bytes:
    """A name that its module does not have now: made on demand, a submodule not loaded yet, or set later."""
    realm = realm_of_loaded(module)
    if realm != "project":
        return walk.leaf((module.__name__, attrs[0])) + _rest(attrs[1:])
    on_demand = module.__dict__.get("__getattr__")
    walk.guards.binding(module.__dict__, "__getattr__", on_demand if on_demand is not None else MISSING)
    found = b"A" + _rest(attrs)
    if type(module) is not ModuleType:
        # Its class may compute the name from anything in the module.
        found += walk.edge(type(module), label) + walk.edge(module, label)
    if on_demand is not None:
        found += walk.edge(on_demand, f"{module.__name__}.__getattr__")
    return found


def _module_table(walk: Walk, space: Space) -> bytes:

    walk.note(f"{space.label} uses sys.modules, which can reach any module: everything in its own module counts.")
    return b"*" + namespace_edge(walk, space.names, space.label)


def _function_attribute(walk: Walk, function: FunctionType, rest: tuple[str, ...], label: str) -> bytes:
    """`helper.calls`, `helper.__doc__`: the function, and the attribute as it is now."""
    name = rest[0]
    out = walk.edge(function, label) + _rest(rest)
    if name in function.__dict__:
        value = function.__dict__[name]
        walk.guards.binding(function.__dict__, name, value)
        return out + walk.edge(value, f"{label}.{name}", name=name)
    if name in _FUNCTION_FACTS:
        value = getattr(function, name)
        walk.guards.probe(lambda: getattr(function, name), value)
        return out + walk.edge(value, f"{label}.{name}", name=name)
    if name not in dir(FunctionType):
        walk.guards.binding(function.__dict__, name, MISSING)
    walk.attributes.add(name)
    return out


def _space_number(walk: Walk, namespace: dict[str, Any]) -> int:
    """Which namespace a name is in, by order of first use."""
    spaces = walk.spaces
    return spaces.setdefault(id(namespace), len(spaces))


def _rest(attrs: tuple[str, ...]) -> bytes:

    return b"".join(b"." + sized(attr) for attr in attrs)
