"""How far two results are from each other, if they are numbers or hold numbers."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from mlflowish.codecs import describe
from mlflowish.reproduction.records import Distance

_NUMBERS = (bool, int, float)
_MOST_PLACES = 100_000


def distance(recorded: Any, found: Any) -> Distance:
    """The greatest difference of two numbers in the same place; what differs in kind or shape is told first."""
    worst = Distance()
    for number, (place, absolute, relative, text) in enumerate(_differences(recorded, found, "")):
        if text:
            return Distance(place=place, text=f"{place}: {text}" if place else text)
        if worst.absolute is None or absolute > worst.absolute or math.isnan(absolute):
            worst = Distance(absolute, max(relative, worst.relative or 0.0), place)
        elif worst.relative is None or relative > worst.relative:
            worst = Distance(worst.absolute, relative, worst.place)
        if number > _MOST_PLACES:
            break
    return worst


Found = tuple[str, float, float, str]


def _differences(one: Any, other: Any, place: str) -> Iterator[Found]:
    if isinstance(one, _NUMBERS) and isinstance(other, _NUMBERS):
        yield from _of_numbers(float(one), float(other), place)
        return
    arrays = _as_array(one), _as_array(other)
    if arrays[0] is not None and arrays[1] is not None:
        yield from _of_arrays(*arrays, place)
    elif _is_frame(one) and _is_frame(other):
        yield from _of_mappings({str(n): one[n] for n in one.columns}, {str(n): other[n] for n in other.columns}, place)
    elif type(one) is not type(other):
        yield place, 0.0, 0.0, f"{describe(one)} became {describe(other)}"
    elif isinstance(one, Mapping):
        yield from _of_mappings(one, other, place)
    elif isinstance(one, (list, tuple)):
        if len(one) != len(other):
            yield place, 0.0, 0.0, f"{len(one):,} members became {len(other):,}"
        for number, (a, b) in enumerate(zip(one, other, strict=False)):
            yield from _differences(a, b, f"{place}[{number}]")
    elif isinstance(one, (str, bytes, type(None))) and one != other:
        yield place, 0.0, 0.0, f"{describe(one)} became {describe(other)}"


def _of_numbers(one: float, other: float, place: str) -> Iterator[Found]:
    if one != other and not (math.isnan(one) and math.isnan(other)):
        far = abs(one - other)
        scale = max(abs(one), abs(other))
        yield place, far, far / scale if scale else 0.0, ""


def _of_mappings(one: Mapping[Any, Any], other: Mapping[Any, Any], place: str) -> Iterator[Found]:
    for key in one:
        if key not in other:
            yield f"{place}[{key!r:.60}]", 0.0, 0.0, "it is gone"
    for key, value in other.items():
        if key not in one:
            yield f"{place}[{key!r:.60}]", 0.0, 0.0, "it is new"
        else:
            yield from _differences(one[key], value, f"{place}[{key!r:.60}]")


def _of_arrays(one: Any, other: Any, place: str) -> Iterator[Found]:
    import numpy as np

    if one.shape != other.shape or one.dtype.kind != other.dtype.kind:
        yield place, 0.0, 0.0, f"{one.dtype} {one.shape} became {other.dtype} {other.shape}"
        return
    if one.dtype.kind not in "biufc" or not one.size:
        if not np.array_equal(one, other):
            yield place, 0.0, 0.0, "the content differs"
        return
    # 64 bits, so that integers without a sign do not wrap; complex numbers stay what they are.
    wide = complex if one.dtype.kind == "c" else float
    a, b = one.astype(wide).ravel(), other.astype(wide).ravel()
    with np.errstate(all="ignore"):
        far = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
        scale = np.maximum(np.abs(a), np.abs(b))
        relative = np.where(far > 0, far / np.where(scale > 0, scale, 1.0), 0.0)
    where = int(np.argmax(np.where(np.isnan(far), np.inf, far)))
    if far[where] != 0:
        index = ", ".join(map(str, np.unravel_index(where, one.shape)))
        yield f"{place}[{index}]" if one.ndim else place, float(far[where]), float(np.nanmax(relative)), ""


def _as_array(value: Any) -> Any:
    """A numpy array of the value, if it is an array of some library; None if it is not."""
    np = sys.modules.get("numpy")
    if np is None:
        return None
    if isinstance(value, (np.ndarray, np.generic)):
        return np.asarray(value)
    module = type(value).__module__.partition(".")[0]
    if module == "torch" and hasattr(value, "detach"):
        return value.detach().cpu().numpy()
    if module in ("pandas", "polars") and hasattr(value, "to_numpy") and not _is_frame(value):
        return np.asarray(value.to_numpy())
    return None


def _is_frame(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] in ("pandas", "polars") and type(value).__name__ == "DataFrame"
