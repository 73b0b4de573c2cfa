"""Codec `sparse`: matrices and arrays of scipy.sparse in their compressed and coordinate forms, each of their arrays a
leaf.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlflowish.codecs.base import Declined, Encoded, PartReader
from mlflowish.codecs.constructors import NotPlain
from mlflowish.codecs.plain import stream_of, stream_placed
from mlflowish.codecs.refusals import damaged, sense_made
from mlflowish.codecs.streams import dump_tree, load_tree
from mlflowish.codecs.tree import LeafReader, LeafWriter

_ARRAYS = {
    "csr": ("data", "indices", "indptr"),
    "csc": ("data", "indices", "indptr"),
    "bsr": ("data", "indices", "indptr"),
    "coo": ("data", "coords"),
    "dia": ("data", "offsets"),
}


class SparseCodec:
    """The head (or first part) is a stream as in `tree` of (class, shape, its arrays)."""

    name = "sparse"
    executes_code = False

    def encode(self, value: Any, *, inline_limit: int) -> Encoded:
        if value.data.dtype == object or (hasattr(value, "indptr") and value.indices.dtype != value.indptr.dtype):
            raise Declined(f"a {type(value).__name__} of objects, or with index arrays of two types")
        leaves = LeafWriter(inline_limit)
        arrays = tuple(getattr(value, name) for name in _ARRAYS[value.format])
        try:
            sink = dump_tree((type(value).__name__, tuple(map(int, value.shape)), arrays), leaves.refer)
        except NotPlain as answer:
            raise Declined(str(answer)) from None
        head, first = stream_placed(sink, inline_limit)
        return Encoded(self.name, head, (*first, *leaves.parts))

    def decode(self, head: bytes, parts: Sequence[PartReader], *, allow_pickle: bool) -> Any:
        leaves = LeafReader(self.name, parts if head else parts[1:], allow_pickle=allow_pickle)
        found = load_tree(stream_of(self.name, head, parts), leaves.resolve, codec=self.name)
        with sense_made(self.name):
            return _restored(*found)


def _restored(kind: str, shape: tuple[int, ...], arrays: tuple[Any, ...]) -> Any:
    import numpy as np
    import scipy.sparse

    form, _, flavour = kind.partition("_")
    if form not in _ARRAYS or flavour not in ("matrix", "array") or len(arrays) != len(_ARRAYS[form]):
        raise damaged("sparse", f"a {kind} of {len(arrays)} arrays")
    if not all(isinstance(array, np.ndarray) for array in arrays[:1]):
        raise damaged("sparse", "its data is no array")
    # Its constructor would narrow index arrays, and so change them: they are put in as they were.
    value = getattr(scipy.sparse, kind)(shape, dtype=arrays[0].dtype)
    for name, array in zip(_ARRAYS[form], arrays, strict=True):
        setattr(value, name, array)
    _check(value, form)
    return value


def _check(value: Any, form: str) -> None:
    """Indexes that lead outside would make scipy's compiled loops read wild memory."""
    if form in ("csr", "csc", "bsr"):
        dtypes = value.indices.dtype, value.indptr.dtype
        value.check_format(full_check=True)
        if (value.indices.dtype, value.indptr.dtype) != dtypes:
            raise damaged("sparse", "index arrays of unequal types")
    elif form == "coo":
        if len(value.coords) != len(value.shape):
            raise damaged("sparse", "coordinates of another dimension")
        for places, length in zip(value.coords, value.shape, strict=True):
            if places.shape != value.data.shape or (len(places) and not 0 <= places.min() <= places.max() < length):
                raise damaged("sparse", "coordinates outside the shape")
    elif value.data.ndim != 2 or value.offsets.shape != value.data.shape[:1]:
        raise damaged("sparse", "diagonals of another number")
