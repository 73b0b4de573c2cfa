"""Codec `torch`: dense tensors in the safetensors format, mapped on load; no pickle.

Specification: https://github.com/huggingface/safetensors#format (eight bytes of header length, a header in JSON, the
elements). A file holds one tensor, named `tensor`; what the format has no words for (gradients wanted, Parameter or
not, device) rests in the head. Tensors come back on their device where there is one of its kind, else on the CPU.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

from mlflowish.codecs.arrow import stream_in, with_stream
from mlflowish.codecs.base import Buffer, Declined, Encoded, Part, PartReader
from mlflowish.codecs.refusals import damaged, sense_made
from mlflowish.codecs.slabs import slabs

_ALIGN = 64
_SUFFIX = ".safetensors"
DTYPES = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "int16": "I16",
    "uint16": "U16",
    "int32": "I32",
    "uint32": "U32",
    "int64": "I64",
    "uint64": "U64",
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
    "float64": "F64",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "complex64": "C64",
    "complex128": "C128",
}
DTYPE_NAMES = {short: name for name, short in DTYPES.items()}


class TensorCodec:
    """The head is a plain stream of (class, requires_grad, device, the file if it is small)."""

    name = "torch"
    executes_code = False

    def encode(self, value: Any, *, inline_limit: int) -> Encoded:
        dense = dense_form(value)
        header = _header(dense)
        data = dense.reshape(-1).view(_torch().uint8).numpy().data if dense.numel() else memoryview(b"")

        def chunks() -> Iterator[Buffer]:
            yield header
            yield from slabs(data)

        meta = (type(value).__name__, bool(value.requires_grad), str(value.device))
        return with_stream(self.name, meta, Part(chunks, len(header) + data.nbytes, _SUFFIX), inline_limit)

    def decode(self, head: bytes, parts: Sequence[PartReader], *, allow_pickle: bool) -> Any:
        with sense_made(self.name):
            (kind, wants_gradient, device), buffer = stream_in(self.name, head, parts)
            tensor = _placed(_tensor(buffer), device)
            if kind == "Parameter":
                return _torch().nn.Parameter(tensor, requires_grad=wants_gradient)
            if kind != "Tensor":
                raise damaged(self.name, f"a tensor of class {kind!r}")
            return tensor.requires_grad_(wants_gradient)


def _torch() -> Any:
    import torch

    return torch


def dense_form(value: Any) -> Any:
    """The elements on the CPU, in C order."""
    torch = _torch()
    plain = value.layout is torch.strided and not value.is_quantized and value.device.type != "meta"
    name = str(value.dtype).removeprefix("torch.")
    if not plain or name not in DTYPES or set(vars(value)) - {"_backward_hooks"} or value.is_nested:
        raise Declined(f"a {value.layout} tensor of {value.dtype}, or with attributes of its own")
    return value.detach().resolve_conj().resolve_neg().cpu().contiguous()


def _header(dense: Any) -> bytes:
    fields = {
        "dtype": DTYPES[str(dense.dtype).removeprefix("torch.")],
        "shape": list(dense.shape),
        "data_offsets": [0, dense.numel() * dense.element_size()],
    }
    text = json.dumps({"tensor": fields}, separators=(",", ":")).encode()
    length = -(-(8 + len(text)) // _ALIGN) * _ALIGN - 8
    return length.to_bytes(8, "little") + text.ljust(length)


def _tensor(buffer: memoryview) -> Any:
    torch = _torch()
    start = 8 + int.from_bytes(buffer[:8], "little")
    fields = json.loads(bytes(buffer[8:start]))["tensor"]
    dtype = getattr(torch, DTYPE_NAMES[fields["dtype"]])
    shape = fields["shape"]
    count = math.prod(shape)
    if any(type(length) is not int or length < 0 for length in shape) or len(buffer) != start + count * dtype.itemsize:
        raise damaged("torch", f"{len(buffer) - start} bytes for a tensor of {shape} {dtype}")
    if not count:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(buffer, dtype=dtype, count=count, offset=start).reshape(shape)


def _placed(tensor: Any, device: str) -> Any:
    kind = device.partition(":")[0]
    if kind == "cpu":
        return tensor
    torch = _torch()
    here = getattr(torch, kind, None)
    usable = here is not None and getattr(here, "is_available", lambda: False)()
    return tensor.to(device) if usable else tensor
