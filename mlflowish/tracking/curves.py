"""From the points of a series to what is drawn of it: a line, and around it the range of what stands behind each spot.

A picture has a few hundred columns of pixels: of more points than that, each column shows the mean, the least and the
greatest value, so that a peak of a single step stays visible. Where nothing but NaN or infinity stands, the line has a
gap.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = 240
_BLOCKS = "▁▂▃▄▅▆▇█"


class Spot(NamedTuple):
    """One place of a line: `low` and `high` are the range of the points that it stands for."""

    x: float
    low: float
    mean: float
    high: float


@dataclass(frozen=True, slots=True)
class Curve:
    """A series as it is drawn. `stretches`: lines without a gap, from left to right; `points`: how many it stands for;
    `last`: the value of the last point; `axis`: what x is: `step`, or where all steps are the same `seconds` from the
    first point, or `point` where that is less than one."""

    name: str
    stretches: tuple[tuple[Spot, ...], ...] = ()
    points: int = 0
    last: float = math.nan
    axis: str = "step"

    def spots(self) -> Iterator[Spot]:
        """All places, from left to right."""
        return (spot for stretch in self.stretches for spot in stretch)


def curve_of(name: str, history: pa.Table, *, columns: int = COLUMNS) -> Curve:
    """The curve of a metric's history (step, value, time; by step and then time)."""
    rows = history.num_rows
    if not rows:
        return Curve(name)
    axis, places = _places(history)
    values = history["value"]
    last = float(values[rows - 1].as_py())
    if rows <= columns:
        spots = [Spot(x, value, value, value) for x, value in zip(places.to_pylist(), values.to_pylist(), strict=True)]
    else:
        spots = _columns(places, values, columns)
    return Curve(name, tuple(_stretches(spots)), rows, last, axis)


def sparktext(curve: Curve, width: int = 24) -> str:
    """The curve in block characters, a space where it has a gap: for terminals."""
    spots = list(curve.spots())
    if len(spots) < 2:
        return ""
    if curve.points <= width:
        low, high = min(spot.mean for spot in spots), max(spot.mean for spot in spots)
        lines = ("".join(_block([spot.mean], low, high) for spot in stretch) for stretch in curve.stretches)
        return " ".join(lines)
    first, last = spots[0].x, spots[-1].x
    low, high = min(spot.mean for spot in spots), max(spot.mean for spot in spots)
    cells: list[list[float]] = [[] for _ in range(width)]
    for spot in spots:
        cells[min(int(part_of(spot.x, first, last) * width), width - 1)].append(spot.mean)
    return "".join(_block(cell, low, high) for cell in cells)


def part_of(value: float, low: float, high: float) -> float:
    """Where between two bounds a value lies, from 0 to 1; 0.5 where the bounds are the same."""
    span = high / 2 - low / 2  # halves: the difference of two large numbers may be none
    return (value / 2 - low / 2) / span if span > 0 else 0.5


def _block(cell: list[float], low: float, high: float) -> str:
    if not cell:
        return " "
    return _BLOCKS[round(part_of(sum(value / len(cell) for value in cell), low, high) * (len(_BLOCKS) - 1))]


def _places(history: pa.Table) -> tuple[str, Any]:
    """What x is, and where points stand: at their steps, or, if they were logged without, at their times."""
    import pyarrow as pa
    import pyarrow.compute as pc

    steps: Any = history["step"]
    if len(steps) < 2 or steps[0].as_py() != steps[len(steps) - 1].as_py():
        return "step", steps.cast(pa.float64())
    times: Any = history["time"].cast(pa.int64())
    seconds: Any = pc.divide(pc.subtract(times, pc.min(times)).cast(pa.float64()), 1e6)
    if pc.max(seconds).as_py() >= 1:
        return "seconds", seconds
    return "point", pa.array(range(len(steps)), pa.float64())


def _columns(places: Any, values: Any, columns: int) -> list[Spot]:
    """A spot for each column of the picture that has points; NaN where none of them is a finite number."""
    import pyarrow as pa
    import pyarrow.compute as pc

    bounds = pc.min_max(places).as_py()
    width = (bounds["max"] - bounds["min"]) / columns or 1.0
    column = pc.floor(pc.divide(pc.subtract(places, bounds["min"]), width)).cast(pa.int64())
    finite = pc.if_else(pc.is_finite(values), values, pa.scalar(None, pa.float64()))
    table = pa.table({"column": pc.min_element_wise(column, columns - 1), "x": places, "value": finite})
    ways = [("x", "mean"), ("value", "min"), ("value", "mean"), ("value", "max")]
    found = table.group_by("column").aggregate(ways).sort_by("column")
    parts = (found[name].to_pylist() for name in ("x_mean", "value_min", "value_mean", "value_max"))
    return [
        Spot(x, math.nan, math.nan, math.nan) if low is None else Spot(x, low, _between(low, mean, high), high)
        for x, low, mean, high in zip(*parts, strict=True)
    ]


def _between(low: float, mean: float, high: float) -> float:
    # The sum of large numbers may be infinite.
    return mean if low <= mean <= high else low / 2 + high / 2


def _stretches(spots: Iterable[Spot]) -> Iterator[tuple[Spot, ...]]:
    stretch: list[Spot] = []
    for spot in spots:
        if math.isfinite(spot.mean):
            stretch.append(spot)
        elif stretch:
            yield tuple(stretch)
            stretch = []
    if stretch:
        yield tuple(stretch)
