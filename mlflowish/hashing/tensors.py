"""PyTorch tensors and generators: dtype, shape, kind of device, flags, elements. Modules are ordinary instances."""

from __future__ import annotations

from typing import Any

from mlflowish.hashing.instances import attributes_part
from mlflowish.hashing.tree import Expand, Walk
from mlflowish.hashing.writer import Done, Node, bulk, head, silent


def expander_for(cls: type) -> Expand | None:
    """The expander for tensors and generators; None for the rest of torch."""
    import torch

    if issubclass(cls, torch.Tensor):
        return _tensor
    if issubclass(cls, torch.Generator):
        return _generator
    return None


def _tensor(value: Any, walk: Walk) -> Node:
    import torch

    cls = type(value)
    own = cls in (torch.Tensor, torch.nn.Parameter)
    identity = (cls.__name__, b"torch") if own else walk.identity(cls)
    data = value.detach()
    facts = (str(data.dtype), tuple(data.shape), data.device.type, str(data.layout), bool(value.requires_grad))
    state = attributes_part({name: part for name, part in vars(value).items() if not name.startswith("_backward")})
    return Node(head("tensor", *identity, *facts), [*_elements(data, walk), state], silent)


def _elements(data: Any, walk: Walk) -> list[Any]:
    import torch

    if data.is_quantized:
        scheme = str(data.qscheme())
        if "channel" in scheme:
            scales = [data.q_per_channel_scales(), data.q_per_channel_zero_points(), data.q_per_channel_axis()]
        else:
            scales = [data.q_scale(), data.q_zero_point()]
        return [scheme, *scales, data.int_repr()]
    if data.layout is torch.sparse_coo:
        return [bool(data.is_coalesced()), data._indices(), data._values()]
    if data.layout in (torch.sparse_csr, torch.sparse_bsr):
        return [data.crow_indices(), data.col_indices(), data.values()]
    if data.layout in (torch.sparse_csc, torch.sparse_bsc):
        return [data.ccol_indices(), data.row_indices(), data.values()]
    if data.layout is not torch.strided or data.device.type == "meta":
        walk.refuse(data, f"the elements of a {data.layout} tensor on {data.device.type} cannot be read")
    return [_strided(data)]


def _strided(data: Any) -> Done:
    import torch

    dense = data.resolve_conj().resolve_neg().cpu().contiguous()
    if dense.is_floating_point() and bool(torch.isnan(dense).any()):
        dense = torch.where(torch.isnan(dense), torch.full_like(dense, float("nan")), dense)
    raw = dense.reshape(-1).view(torch.uint8).numpy() if dense.numel() else b""
    return bulk(head("elements", int(dense.numel())), (raw,), size_bytes=dense.numel() * dense.element_size())


def _generator(value: Any, walk: Walk) -> Node:
    return Node(head("torch generator", value.device.type), (value.get_state(),), lambda i: ".get_state()")
