"""How the tensors of a module lie in memory, beside their values: the order of their dimensions, and which are parts of
others. A file of weights has no words for either.

In another order (channels last) a layer sums in another order too, so the last bits of what it gives differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlflowish.errors import IntegrityError


def memory_record(weights: Mapping[str, Any]) -> dict[str, Any]:
    """What a manifest says of it: nothing, if each tensor is apart from the others and its dimensions are in order."""
    orders = {name: order for name, tensor in weights.items() if (order := _order(tensor)) is not None}
    parts = _parts(weights)
    return {**({"orders": orders} if orders else {}), **({"parts": parts} if parts else {})}


def _order(tensor: Any) -> list[int] | None:
    """The dimensions from the one with the widest steps to the one with the narrowest; None if that is their order, or
    there are holes between the elements."""
    if tensor.is_contiguous() or not tensor.numel():
        return None
    order = sorted(range(tensor.ndim), key=lambda dim: (-tensor.stride(dim), -tensor.size(dim)))
    return order if tensor.permute(order).is_contiguous() else None


def _parts(weights: Mapping[str, Any]) -> dict[str, Any]:
    """Tensors that are a part of the memory of another one, by their names."""
    wholes: dict[int, list[tuple[str, Any]]] = {}
    found: dict[str, Any] = {}
    for name, tensor in sorted(weights.items(), key=lambda item: -item[1].numel()):
        alike = wholes.setdefault(tensor.untyped_storage().data_ptr(), [])
        for whole, other in alike:
            if other is not tensor and other.dtype == tensor.dtype and _is_within(tensor, other):
                offset = tensor.storage_offset() - other.storage_offset()
                found[name] = [whole, list(tensor.shape), list(tensor.stride()), offset]
                break
        else:
            if tensor.is_contiguous() and tensor.numel():
                alike.append((name, tensor))
    return found


def _is_within(tensor: Any, other: Any) -> bool:
    begin = tensor.storage_offset() - other.storage_offset()
    return bool(tensor.numel()) and begin >= 0 and begin + _reach(tensor.shape, tensor.stride()) <= other.numel()


def _reach(shape: Any, stride: Any) -> int:
    """How many elements lie from the first to the last one."""
    return 1 + int(sum((length - 1) * step for length, step in zip(shape, stride, strict=True)))


def laid_out(weights: dict[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The tensors as `memory_record` says that they lay. IntegrityError if what it says makes no sense."""
    orders, parts = options.get("orders", {}), options.get("parts", {})
    if not orders and not parts:
        return weights
    try:
        placed = weights | {name: _ordered(weights[name], order) for name, order in orders.items()}
        return placed | {name: _part(placed, weights[name], *described) for name, described in parts.items()}
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise IntegrityError(
            f"A stored module says of the memory of its tensors what makes no sense: {type(error).__name__}: "
            f"{str(error)[:200]}. Store the model again."
        ) from error


def _ordered(tensor: Any, order: list[int]) -> Any:
    """The tensor, of the same values, its dimensions in this order in memory."""
    if sorted(order) != list(range(tensor.ndim)):
        raise ValueError(f"{order} is no order of {tensor.ndim} dimensions")
    back = [order.index(dim) for dim in range(tensor.ndim)]
    return tensor.permute(order).contiguous().permute(back)


def _part(weights: Mapping[str, Any], tensor: Any, whole: str, shape: list[int], stride: list[int], offset: int) -> Any:
    numbers = (*shape, *stride, offset)
    if not all(type(number) is int and number >= 0 for number in numbers) or list(tensor.shape) != shape:
        raise ValueError(f"a part of {whole!r} of shape {shape}, {stride} at {offset}")
    other = weights[whole]
    if other.dtype != tensor.dtype or offset + _reach(shape, stride) > other.numel() or not other.is_contiguous():
        raise ValueError(f"{whole!r} has no part of shape {shape}, {stride} at {offset}")
    return other.as_strided(shape, stride, other.storage_offset() + offset)
