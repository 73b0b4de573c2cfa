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
from mlflowish.errors import IntegrityError

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
        try:
            _check(value, value.format)
        except IntegrityError as error:
            raise Declined(str(error.data["found"])) from None
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
    if not isinstance(arrays[0], np.ndarray):
        raise damaged("sparse", "its data is no array")
    # Its constructor would narrow index arrays, and so change them: they are put in as they were.
    value = getattr(scipy.sparse, kind)(shape, dtype=arrays[0].dtype)
    for name, array in zip(_ARRAYS[form], arrays, strict=True):
        setattr(value, name, array)
    _check(value, form)
    return value


def _check(value: Any, form: str) -> None:
    """Indexes that lead outside would make scipy's compiled loops, which trust them, read wild memory."""
    if not value.data.dtype.isnative:
        raise damaged("sparse", "elements in the byte order of another machine")
    if form in ("csr", "csc", "bsr"):
        _check_compressed(value, form)
    elif form == "coo":
        if len(value.coords) != len(value.shape) or value.data.ndim != 1:
            raise damaged("sparse", "coordinates of another dimension")
        for places, length in zip(value.coords, value.shape, strict=True):
            _check_places(places, length, value.data.shape)
    elif value.data.ndim != 2 or not _is_index(value.offsets) or value.offsets.shape != value.data.shape[:1]:
        raise damaged("sparse", "diagonals of another number")


def _check_compressed(value: Any, form: str) -> None:
    # scipy's own check_format lets empty matrices through, and cuts arrays that are longer than they need to be.
    rows, columns = value.shape if len(value.shape) == 2 else (1, value.shape[0])
    block = value.data.shape[1:]
    if len(block) != (2 if form == "bsr" else 0) or 0 in block:
        raise damaged("sparse", "elements of another dimension")
    if block and (rows % block[0] or columns % block[1]):
        raise damaged("sparse", f"blocks of {block} in a shape of {value.shape}")
    rows, columns = (rows // block[0], columns // block[1]) if block else (rows, columns)
    major, minor = (columns, rows) if form == "csc" else (rows, columns)
    starts = value.indptr
    if not _is_index(starts) or starts.shape != (major + 1,) or starts.dtype != value.indices.dtype:
        raise damaged("sparse", "index pointers of another kind or number")
    if starts[0] != 0 or starts[-1] > len(value.indices) or (starts[1:] < starts[:-1]).any():
        raise damaged("sparse", "index pointers that lead outside")
    _check_places(value.indices, minor, value.data.shape[:1])


def _check_places(places: Any, length: int, shape: tuple[int, ...]) -> None:
    if not _is_index(places) or places.shape != shape:
        raise damaged("sparse", "indexes of another kind or number")
    if len(places) and not 0 <= places.min() <= places.max() < length:
        raise damaged("sparse", "indexes that lead outside")


def _is_index(array: Any) -> bool:
    import numpy as np

    return (
        isinstance(array, np.ndarray)
        and array.dtype in (np.int32, np.int64)
        and array.ndim == 1
        and array.dtype.isnative
    )
