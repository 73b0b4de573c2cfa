"""Many tensors in one safetensors file: written from their own memory, mapped when read. No code can be in it.

Specification: https://github.com/huggingface/safetensors#format. Wider elements come first, so that each tensor lies
at a multiple of its element's size without holes, which the format forbids. Names that mean one tensor (tied weights)
are written once; `__metadata__` says so, as `safetensors.torch.save_model` does.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from mlflowish.codecs import Buffer, Part
from mlflowish.codecs.slabs import slabs
from mlflowish.codecs.tensors import DTYPE_NAMES, DTYPES, dense_form
from mlflowish.errors import IntegrityError

_MOST_HEADER_BYTES = 100 << 20  # as the reference implementation
_METADATA = "__metadata__"


def weights_part(tensors: Mapping[str, Any]) -> Part:
    """The file of these tensors (names to dense torch tensors). Declined for one that the format has no words for."""
    first: dict[int, str] = {}
    aliases = {name: kept for name, tensor in tensors.items() if (kept := first.setdefault(id(tensor), name)) != name}
    dense = {name: dense_form(tensors[name]) for name in first.values()}
    order = sorted(dense, key=lambda name: (-dense[name].element_size(), name))
    fields: dict[str, Any] = {_METADATA: {"format": "pt", **aliases}}
    end = 0
    for name in order:
        begin, end = end, end + dense[name].numel() * dense[name].element_size()
        dtype = DTYPES[str(dense[name].dtype).removeprefix("torch.")]
        fields[name] = {"dtype": dtype, "shape": list(dense[name].shape), "data_offsets": [begin, end]}
    text = json.dumps(fields, separators=(",", ":")).encode()
    header = (-(-(8 + len(text)) // 64) * 64 - 8).to_bytes(8, "little") + text.ljust(-(-(8 + len(text)) // 64) * 64 - 8)

    def chunks() -> Iterator[Buffer]:
        yield header
        for name in order:
            yield from slabs(_bytes_of(dense[name]))

    return Part(chunks, len(header) + end, ".safetensors")


def _bytes_of(tensor: Any) -> memoryview:
    import torch

    return tensor.reshape(-1).view(torch.uint8).numpy().data if tensor.numel() else memoryview(b"")


def read_weights(buffer: memoryview) -> dict[str, Any]:
    """The tensors in a file, each name with its own; they share the buffer's memory. IntegrityError for nonsense."""
    try:
        start = 8 + int.from_bytes(buffer[:8], "little")
        if not 8 <= start <= min(len(buffer), _MOST_HEADER_BYTES):
            raise ValueError(f"a header of {start - 8} bytes")
        fields = json.loads(bytes(buffer[8:start]))
        metadata = fields.pop(_METADATA, {})
        tensors = {name: _tensor(buffer, start, described) for name, described in fields.items()}
        aliases = {name: tensors[kept] for name, kept in metadata.items() if name != "format" and kept in tensors}
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise IntegrityError(
            f"A file of weights is no safetensors file: {type(error).__name__}: {str(error)[:200]}. "
            "Store the model again."
        ) from error
    return tensors | aliases


def _tensor(buffer: memoryview, start: int, described: Any) -> Any:
    import torch

    dtype = getattr(torch, DTYPE_NAMES[described["dtype"]])
    shape, (begin, end) = described["shape"], described["data_offsets"]
    if not all(type(length) is int and length >= 0 for length in (*shape, begin, end)):
        raise ValueError(f"a tensor of shape {shape} at {begin}")
    count = math.prod(shape)
    if end - begin != count * dtype.itemsize or start + end > len(buffer):
        raise ValueError(f"{end - begin} bytes for a tensor of {shape} {dtype}")
    if not count:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(buffer, dtype=dtype, count=count, offset=start + begin).reshape(shape)
