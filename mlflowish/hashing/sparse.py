"""SciPy sparse arrays and matrices as they are held: format, order and duplicates count, `.data` shows them."""

from __future__ import annotations

from typing import Any

from mlflowish.hashing.arrays import integers_part
from mlflowish.hashing.tree import Expand, Walk
from mlflowish.hashing.writer import Node, head

_PARTS = {
    "csr": ("data", "indices", "indptr"),
    "csc": ("data", "indices", "indptr"),
    "bsr": ("data", "indices", "indptr"),
    "dia": ("data", "offsets"),
    "lil": ("rows", "data"),
}


def expander_for(cls: type) -> Expand | None:
    """The expander for sparse containers of scipy itself."""
    import sys

    sparse = sys.modules.get("scipy.sparse")
    if sparse is None or not cls.__module__.startswith("scipy.sparse."):
        return None
    return _sparse if issubclass(cls, (sparse.spmatrix, sparse.sparray)) else None


def _sparse(value: Any, walk: Walk) -> Node:
    kind = value.format
    shape = tuple(map(int, value.shape))
    if kind == "coo":
        coords = value.coords if hasattr(value, "coords") else (value.row, value.col)
        parts = {"data": value.data, **{f"coords[{i}]": axis for i, axis in enumerate(coords)}}
    elif kind == "dok":
        parts = {"items": sorted(value.items(), key=lambda item: item[0])}
    else:
        parts = {name: getattr(value, name) for name in _PARTS[kind]}
    names = list(parts)
    record_head = head("sparse", type(value).__name__, kind, shape, value.dtype.str)
    return Node(record_head, [_widened(name, part) for name, part in parts.items()], lambda i: f".{names[i]}")


def _widened(name: str, part: Any) -> Any:
    """Indices by value: scipy picks 32 or 64 bits by size and history."""
    if name in ("indices", "indptr", "offsets") or name.startswith("coords"):
        return integers_part(name, part)
    return part
