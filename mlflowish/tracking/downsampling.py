"""Fewer points of a series that look the same: of each bucket the first, the last, the least, the greatest, and a NaN.

The buckets are of equal numbers of points, as a plot with equally spaced steps shows them; min and max per bucket are
what keeps a peak of a single step visible (M4: Jugel et al., VLDB 2014).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlflowish.errors import InvalidInputError

if TYPE_CHECKING:
    import pyarrow as pa

_OF_A_BUCKET = 4


def downsampled(history: pa.Table, points: int) -> pa.Table:
    """About `points` rows of a metric's history (more where a bucket has a NaN), all of them if there are no more."""
    if not isinstance(points, int) or points < _OF_A_BUCKET:
        raise InvalidInputError(f"points is a number, {_OF_A_BUCKET} or more, found {points!r}", found=points)
    rows = history.num_rows
    if rows <= points:
        return history
    buckets = max(1, points // _OF_A_BUCKET)
    values = history["value"].combine_chunks()
    kept: list[int] = []
    for number in range(buckets):
        start, end = rows * number // buckets, rows * (number + 1) // buckets
        kept += sorted({start + place for place in _telling(values.slice(start, end - start))})
    return history.take(kept)


def _telling(values: pa.Array) -> set[int]:
    import pyarrow.compute as pc

    found = {0, len(values) - 1}
    numbers = pc.min_max(pc.if_else(pc.is_nan(values), None, values))
    found |= {pc.index(values, number).as_py() for number in (numbers["min"], numbers["max"]) if number.is_valid}
    first_nan = pc.index(pc.is_nan(values), True).as_py()
    return found | ({first_nan} if first_nan >= 0 else set())
