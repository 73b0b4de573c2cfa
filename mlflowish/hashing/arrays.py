"""NumPy: arrays, scalars, dtypes, random generators. Layout, strides and padding are invisible; dtypes are not."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any

from mlflowish.hashing.instances import attributes_part
from mlflowish.hashing.tree import Expand, Walk
from mlflowish.hashing.writer import BULK, Done, Node, bulk, digest_of, head, leaf, silent

# How much of an array is copied at a time where its bytes cannot be read in place.
SLAB_BYTES = 1 << 20
# How much is searched for NaN at a time: it is in a cache still when it is hashed, and enough for several threads.
LOOK_BYTES = 4 << 20


def expander_for(cls: type) -> Expand | None:
    """The expander for a class of numpy, or for a class derived from one of its arrays."""
    import numpy as np

    if issubclass(cls, np.ndarray):
        return _array_expander(cls)
    if issubclass(cls, np.generic):
        return _scalar
    if issubclass(cls, np.dtype):
        return _dtype
    if issubclass(cls, np.ufunc):
        return _ufunc
    if cls is type(np.sum):
        return _function
    if issubclass(cls, np.random.Generator) and cls.__module__.partition(".")[0] == "numpy":
        return _generator
    if issubclass(cls, np.random.BitGenerator) and cls.__module__.partition(".")[0] == "numpy":
        return _bit_generator
    if cls is np.random.RandomState:
        return _random_state
    if cls is np.random.SeedSequence:
        return _seed_sequence
    return None


def _array_expander(cls: type) -> Expand:
    import numpy as np

    if cls is np.ndarray or cls is np.memmap:
        return _array
    if cls is np.ma.MaskedArray:
        return _masked_array
    if cls is type(np.ma.masked):
        return _masked_constant
    return _array_subclass


# Arrays.


def _array(value: Any, walk: Walk) -> Node | Done:
    return array_part("ndarray", value, walk)


def array_part(tag: str, array: Any, walk: Walk) -> Node | Done:
    """The digest of an array's dtype, shape and elements, under a tag that says what the array is."""
    import numpy as np

    if type(array) is not np.ndarray:
        array = array.view(np.ndarray)
    dtype = array.dtype
    record_head = head(tag, dtype_fields(dtype), array.shape)
    if dtype.names is not None:
        fields = [array_part("field", array[name], walk) for name in dtype.names]
        return Node(record_head, fields, lambda i: f'["{dtype.names[i]}"]')
    if dtype.kind == "O":
        elements = array.ravel(order="C").tolist()
        return Node(record_head, (elements,), silent)
    if dtype.kind == "T":
        return _string_array(record_head, array)
    if dtype.hasobject:
        walk.refuse(array, f"the dtype {dtype} refers to objects in a way that is not known")
    return bulk(record_head, raw_buffers(array), size_bytes=array.nbytes)


def integers_part(tag: str, array: Any) -> Done:
    """The digest of one-dimensional integers by value, whatever their width: libraries narrow codes and places."""
    import numpy as np

    pieces = (slab.astype("<i8").view(np.uint8) for slab in _slabs(array) if slab.size)
    return bulk(head(tag, len(array)), pieces, size_bytes=0)


def _string_array(record_head: bytes, array: Any) -> Node:
    missing = getattr(array.dtype, "na_object", None)
    elements = array.ravel(order="C").tolist()
    return Node(record_head, (elements, missing), silent)


def raw_buffers(array: Any) -> Iterator[Any]:
    """The elements of an array of fixed-size items as bytes in C order, every NaN alike; in place where possible."""
    import numpy as np

    if array.size == 0:
        return
    inexact = array.dtype.kind in "fcb" and array.dtype.isbuiltin != 2
    if array.nbytes <= LOOK_BYTES and array.flags.c_contiguous:
        pieces: Iterable[Any] = (array.reshape(-1),)
    else:
        pieces = _pieces(array, inexact)
    for flat in pieces:
        yield (_clean(flat) if inexact and _needs_cleaning(flat) else flat).view(np.uint8)


def _pieces(array: Any, inexact: bool) -> Iterator[Any]:
    """The array in flat parts that follow each other in C order: whole where it is hashed without a look at it."""
    import numpy as np

    if not array.flags.c_contiguous:
        for slab in _slabs(array):
            yield np.ascontiguousarray(slab).reshape(-1)
        return
    flat = array.reshape(-1)
    size = max(1, LOOK_BYTES // array.itemsize) if inexact else flat.size
    for start in range(0, flat.size, size):
        yield flat[start : start + size]


def _slabs(array: Any) -> Iterator[Any]:
    if array.nbytes <= SLAB_BYTES:
        yield array
    elif len(array) == 1:
        yield from _slabs(array[0])
    else:
        rows = max(1, SLAB_BYTES // (array.nbytes // len(array)))
        for start in range(0, len(array), rows):
            if rows == 1:
                yield from _slabs(array[start])
            else:
                yield array[start : start + rows]


def _needs_cleaning(flat: Any) -> bool:
    """Whether equal elements may differ in bytes: NaNs, long doubles with padding, booleans made of other bytes."""
    import numpy as np

    kind, size = flat.dtype.kind, flat.dtype.itemsize
    if kind == "b":
        return bool(flat.view(np.uint8).max() > 1)
    if kind == "c":
        flat, size = flat.view(flat.real.dtype), size // 2
    if size > 8:
        return True
    # The least element is NaN exactly if there is a NaN. (A dot product is faster, but waits for threads of BLAS.)
    least = flat.min()
    return bool(least != least)


def _clean(flat: Any) -> Any:
    """The same elements with the one NaN in place of all others, long doubles without padding, and plain booleans."""
    import numpy as np

    if flat.dtype.kind == "b":
        return flat.view(np.uint8) != 0
    if flat.dtype.kind == "c":
        flat = flat.view(flat.real.dtype)
    nans = np.isnan(flat)
    if nans.any():
        flat = flat.copy()
        flat[nans] = np.nan
    if flat.dtype.itemsize > 8 and np.finfo(flat.dtype).nmant == 63:
        raw = flat.reshape(-1, 1).view(np.uint8)
        return np.ascontiguousarray(raw[:, :10] if sys.byteorder == "little" else raw[:, -10:]).reshape(-1)
    return flat


def _masked_array(value: Any, walk: Walk) -> Node:
    import numpy as np

    mask = np.ma.getmaskarray(value)
    data = value.data.view(np.ndarray).copy()
    _zero_where(data, mask)
    parts = (data, mask, np.asarray(value.fill_value))
    return Node(head("masked array"), parts, lambda i: (".data", ".mask", ".fill_value")[i])


def _zero_where(data: Any, mask: Any) -> None:
    import numpy as np

    if data.dtype.names is None:
        data[mask] = np.zeros((), data.dtype)[()]
        return
    for name in data.dtype.names:
        _zero_where(data[name], mask[name])


def _masked_constant(value: Any, walk: Walk) -> Done:
    return leaf("masked")


def _array_subclass(value: Any, walk: Walk) -> Node:
    import numpy as np

    cls = type(value)
    name = cls.__name__ if cls in (np.matrix, np.recarray, np.char.chararray) else None
    identity = (name, b"numpy") if name else walk.identity(cls)
    state = getattr(value, "__dict__", None) or {}
    if isinstance(value, np.ma.MaskedArray):
        state = {
            name: part
            for name, part in state.items()
            if name not in ("_mask", "_fill_value", "_sharedmask", "_basedict")
        }
        content: Any = _masked_array(value, walk)
    else:
        content = array_part("ndarray", value, walk)
    return Node(head("array subclass", *identity), (content, attributes_part(state)), silent)


# Scalars and dtypes.


def _scalar(value: Any, walk: Walk) -> Node | Done:
    import numpy as np

    dtype = value.dtype
    if (dtype.kind in "iub" and dtype.isbuiltin == 1) or (dtype.char in "fd" and value == value):
        record_head = head("numpy scalar", dtype_fields(dtype), ())
        return Done(digest_of(BULK + record_head + value.tobytes()))  # what follows, for the most frequent kinds
    return array_part("numpy scalar", np.asarray(value), walk)


def uniform_scalars(values: Any, walk: Walk) -> Done | None:
    """The digest of a list or tuple of numpy numbers of one type, at the speed of an array; None for other members."""
    import numpy as np

    kinds = set(map(type, values))
    cls = kinds.pop()
    if kinds or not issubclass(cls, np.number | np.bool_):
        return None
    array = np.array(values)
    # A timedelta64 is a number with a unit of its own.
    if (
        array.dtype.kind == "m"
        or array.shape != (len(values),)
        or array.dtype.type is not cls
        or array.dtype.isbuiltin != 1
    ):
        return None
    record_head = head("numpy scalars", type(values).__name__, dtype_fields(array.dtype), len(values))
    return bulk(record_head, raw_buffers(array), size_bytes=array.nbytes)


def _dtype(value: Any, walk: Walk) -> Node | Done:
    record_head = head("dtype", dtype_fields(value))
    if value.kind == "T":
        return Node(record_head, (getattr(value, "na_object", None),), silent)
    return Node(record_head, (), silent)


def dtype_fields(dtype: Any) -> tuple[Any, ...]:
    """A dtype as nested tuples of plain values: kind, size, byte order, unit; fields with their places; subarrays."""
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return ("subarray", dtype_fields(base), tuple(map(int, shape)))
    if dtype.names is not None:
        fields = tuple(_field(name, dtype.fields[name]) for name in dtype.names)
        return ("struct", fields, int(dtype.itemsize), dtype.type.__name__)
    if dtype.kind == "T":
        has_missing = hasattr(dtype, "na_object")
        return ("string", bool(dtype.coerce), has_missing)
    # Dtypes that other libraries add share a kind and size: bfloat16, several float8.
    return (str(dtype.str), dtype.type.__name__ if dtype.kind == "V" or dtype.isbuiltin == 2 else "")


def _field(name: str, field: Any) -> tuple[Any, ...]:
    title = field[2] if len(field) > 2 else None
    return (name, dtype_fields(field[0]), int(field[1]), str(title) if title is not None else None)


# Functions and generators.


def _function(value: Any, walk: Walk) -> Done:
    return leaf("code", bytes(walk.code(value, walk.path)))


def _ufunc(value: Any, walk: Walk) -> Done:
    name = value.__name__
    for module in ("numpy", "scipy.special"):
        if getattr(sys.modules.get(module), name, None) is value:
            return leaf("ufunc", module, name, bytes(walk.code(value, walk.path)))
    return walk.refuse(value, "a ufunc that was made at run time does not show its function")


def _generator(value: Any, walk: Walk) -> Node:
    return Node(head("numpy generator", type(value).__name__), (value.bit_generator,), lambda i: ".bit_generator")


def _bit_generator(value: Any, walk: Walk) -> Node:
    seeds = getattr(value, "seed_seq", None)  # what `spawn` goes on from
    return Node(head("bit generator", type(value).__name__), (value.state, seeds), lambda i: (".state", ".seed_seq")[i])


def _random_state(value: Any, walk: Walk) -> Node:
    return Node(head("RandomState"), (value.get_state(legacy=False),), lambda i: ".get_state()")


def _seed_sequence(value: Any, walk: Walk) -> Node:
    state = value.state
    return Node(head("SeedSequence"), ({name: state[name] for name in sorted(state)},), lambda i: ".state")
