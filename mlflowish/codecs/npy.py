"""Codec `numpy`: arrays in the `.npy` format (NEP 1), written from their memory and loaded as a view of the bytes.

A small array is its whole `.npy` file in the head; of a large one the head is the file's header, and the one part
the file, header included, so that `numpy.load` reads the object as it lies in the store.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from mlflowish.codecs.base import Declined, Encoded, Part, PartReader
from mlflowish.codecs.refusals import damaged, sense_made
from mlflowish.codecs.slabs import SLAB_BYTES, gathered, slabs

if TYPE_CHECKING:
    import numpy as np

_MAGIC = b"\x93NUMPY"
_ALIGN = 64
_KINDS = frozenset("biufcmMSUV")
_SIMPLE_HEADER = re.compile(r"\{'descr': '([^'\\]+)', 'fortran_order': (True|False), 'shape': \(([0-9, ]*)\), \} *\n\Z")


class NumpyCodec:
    """Stores `ndarray` and `memmap` (which come back as `ndarray`) of every dtype without Python objects."""

    name = "numpy"
    executes_code = False

    def encode(self, value: Any, *, inline_limit: int) -> Encoded:
        array = _checked(value)
        fortran = array.flags.f_contiguous and not array.flags.c_contiguous
        header = _header(array.dtype, array.shape, fortran)
        if len(header) + array.nbytes <= inline_limit:
            return Encoded(self.name, header + gathered(_data(array)))

        def chunks() -> Iterator[bytes | memoryview]:
            yield header
            yield from _data(array)

        return Encoded(self.name, header, (Part(chunks, len(header) + array.nbytes, ".npy"),))

    def decode(self, head: bytes, parts: Sequence[PartReader], *, allow_pickle: bool) -> Any:
        with sense_made(self.name):
            if not parts:
                # A bytearray of its own: the caller may write to what a hit gave.
                return _array(memoryview(bytearray(head)), head)
            if len(parts) != 1:
                raise damaged(self.name, f"an array in {len(parts)} parts")
            file = parts[0].buffer()
            if file[: len(head)] != head:
                raise damaged(self.name, "the array's header differs between entry and object")
            return _array(file, head)


def _checked(value: Any) -> np.ndarray[Any, Any]:
    import numpy as np

    if type(value) not in (np.ndarray, np.memmap):
        raise Declined(f"a {type(value).__qualname__}")
    dtype = value.dtype
    if dtype.kind not in _KINDS or dtype.hasobject or dtype.metadata:
        raise Declined(f"dtype {dtype}")
    if dtype.kind == "V":
        restored = np.lib.format.descr_to_dtype(_descr(dtype))
        if restored != dtype or restored.isalignedstruct != dtype.isalignedstruct:
            raise Declined(f"dtype {dtype}")
    array: np.ndarray[Any, Any] = np.asarray(value)
    return array


def _descr(dtype: np.dtype[Any]) -> Any:
    import numpy as np

    if dtype.kind != "V":
        return dtype.str
    try:
        return np.lib.format.dtype_to_descr(dtype)
    except ValueError:
        raise Declined(f"dtype {dtype}, whose fields overlap") from None


@lru_cache(maxsize=512)
def _header(dtype: np.dtype[Any], shape: tuple[int, ...], fortran: bool) -> bytes:
    text = f"{{'descr': {_descr(dtype)!r}, 'fortran_order': {fortran}, 'shape': {shape!r}, }}"
    try:
        encoded, version = text.encode("latin1"), 1
    except UnicodeEncodeError:
        encoded, version = text.encode("utf-8"), 3
    if version == 1 and len(encoded) + 1 + _ALIGN > 0xFFFF:
        version = 2
    length_bytes = 2 if version == 1 else 4
    prefix = len(_MAGIC) + 2 + length_bytes
    padded = -(-(prefix + len(encoded) + 1) // _ALIGN) * _ALIGN - prefix
    return b"".join(
        (_MAGIC, bytes((version, 0)), padded.to_bytes(length_bytes, "little"), encoded.ljust(padded - 1), b"\n")
    )


def _data(array: np.ndarray[Any, Any]) -> Iterator[bytes | memoryview]:
    """The array's bytes in C order, or in Fortran order for one that lies so."""
    import numpy as np

    if array.nbytes == 0:
        return
    if array.flags.c_contiguous or array.flags.f_contiguous:
        yield from slabs(array.reshape(-1, order="A").view(np.uint8).data)
        return
    items = max(1, SLAB_BYTES // array.itemsize)
    piece: Any
    for piece in np.nditer(array, flags=["external_loop", "buffered", "zerosize_ok"], buffersize=items, order="C"):
        yield piece.tobytes()


def _array(file: memoryview, head: bytes) -> np.ndarray[Any, Any]:
    import numpy as np

    start, text = _header_text(bytes(head))
    dtype, fortran, shape = _parsed(text)
    size = math.prod(shape)
    if len(file) != start + size * dtype.itemsize:
        raise damaged("numpy", f"{len(file) - start} bytes for an array of {shape} {dtype}")
    if not size or not dtype.itemsize:
        return np.zeros(shape, dtype, order="F" if fortran else "C")
    array = np.frombuffer(file, dtype, size, start).reshape(shape, order="F" if fortran else "C")
    # A caller whose parts lie at odd addresses gets a copy: few libraries take unaligned arrays.
    return array if array.flags.aligned else array.copy(order="K")


def _header_text(head: bytes) -> tuple[int, str]:
    version = head[6] if len(head) > 12 and head[:6] == _MAGIC and head[7] == 0 else 0
    if version not in (1, 2, 3):
        raise damaged("numpy", "it does not begin as an .npy file does")
    first = 10 if version == 1 else 12
    end = first + int.from_bytes(head[8:first], "little")
    if end > len(head):
        raise damaged("numpy", "the array's header is cut off")
    return end, head[first:end].decode("utf-8" if version == 3 else "latin1")


@lru_cache(maxsize=512)
def _parsed(text: str) -> tuple[np.dtype[Any], bool, tuple[int, ...]]:
    import numpy as np

    if simple := _SIMPLE_HEADER.match(text):
        descr, fortran, shape = simple.groups()
        return _without_objects(np.dtype(descr)), fortran == "True", tuple(map(int, re.findall("[0-9]+", shape)))
    header = ast.literal_eval(text.strip())
    shape, fortran = header["shape"], header["fortran_order"]
    if header.keys() != {"descr", "fortran_order", "shape"} or type(fortran) is not bool or type(shape) is not tuple:
        raise damaged("numpy", "the array's header has other keys than an .npy file's")
    if any(type(length) is not int or length < 0 for length in shape):
        raise damaged("numpy", f"the array's shape is {shape}")
    return _without_objects(np.lib.format.descr_to_dtype(header["descr"])), fortran, shape


def _without_objects(dtype: np.dtype[Any]) -> np.dtype[Any]:
    if dtype.hasobject or dtype.kind not in _KINDS:
        raise damaged("numpy", f"the array's dtype is {dtype}")
    return dtype
