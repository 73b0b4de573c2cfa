"""Where the boxes of a picture stand: in columns from left to right, so that arrows are short and cross seldom.

Sugiyama's method (Sugiyama, Tagawa, Toda 1981, IEEE SMC 11(2)): columns by the longest way, a way point in each column
that an arrow passes, rows by the mean of their neighbours, heights by least squares with the rows kept in order.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import networkx as nx

_SWEEPS = 6

Point = Hashable  # a node of the graph, or a way point (source, target, column)


@dataclass(frozen=True, slots=True)
class Layout:
    """`columns`: what stands in each, from the top. `tops`: the upper edge of each. `ways`: the way points of each
    arrow. `height`: of the whole."""

    columns: list[list[Point]]
    tops: dict[Point, float]
    ways: dict[tuple[Point, Point], list[Point]]
    height: float


def lay_out(graph: nx.DiGraph, height_of: Callable[[Point], float], way_height: float, gap: float) -> Layout:
    """Places for all nodes. Linear in nodes and arrows with their way points, times the sweeps."""
    columns = _columns(graph)
    at = {node: number for number, column in enumerate(columns) for node in column}
    ways: dict[tuple[Point, Point], list[Point]] = {}
    links: list[tuple[Point, Point]] = []
    for source, target in graph.edges:
        way: list[Point] = [(source, target, number) for number in range(at[source] + 1, at[target])]
        for point in way:
            columns[point[2]].append(point)  # type: ignore[index]  # only nodes of a layer are asked, which have one
        ways[source, target] = way
        if at[source] < at[target]:
            links += zip([source, *way], [*way, target], strict=True)
    before, after = _neighbours(links)
    _order(columns, before, after)
    heights = {p: way_height if _is_way(p, graph) else height_of(p) for column in columns for p in column}
    centres = _centres(columns, heights, gap, before, after)
    top = min((centres[p] - heights[p] / 2 for p in centres), default=0.0)
    tops = {p: centres[p] - heights[p] / 2 - top for p in centres}
    return Layout(columns, tops, ways, max((tops[p] + heights[p] for p in tops), default=0.0))


def _is_way(point: Point, graph: nx.DiGraph) -> bool:
    return point not in graph


def _columns(graph: nx.DiGraph) -> list[list[Point]]:
    """A node stands one column right of the last that goes into it; what nothing goes into, just before it is needed.
    What a cycle of records would make impossible stands in one column."""
    import networkx as nx

    try:
        order = list(nx.topological_sort(graph))
    except nx.NetworkXUnfeasible:
        return [list(graph)]
    at: dict[Point, int] = {}
    for node in order:
        at[node] = max((at[source] + 1 for source in graph.predecessors(node)), default=0)
    for node in order:
        if not graph.in_degree(node) and graph.out_degree(node):
            at[node] = min(at[target] for target in graph.successors(node)) - 1
    columns: list[list[Point]] = [[] for _ in range(max(at.values(), default=-1) + 1)]
    for node in graph:
        columns[at[node]].append(node)
    return columns


def _neighbours(
    links: Iterable[tuple[Point, Point]],
) -> tuple[dict[Point, list[Point]], dict[Point, list[Point]]]:
    before: dict[Point, list[Point]] = {}
    after: dict[Point, list[Point]] = {}
    for source, target in links:
        after.setdefault(source, []).append(target)
        before.setdefault(target, []).append(source)
    return before, after


def _order(columns: list[list[Point]], before: Mapping[Point, list[Point]], after: Mapping[Point, list[Point]]) -> None:
    """Sort each column by the mean place of its neighbours, to the right and to the left in turn."""
    place = {point: float(row) for column in columns for row, point in enumerate(column)}
    for sweep in range(_SWEEPS):
        forth = sweep % 2 == 0
        neighbours = before if forth else after
        for column in columns if forth else reversed(columns):
            wish = {
                point: sum(place[n] for n in near) / len(near) if (near := neighbours.get(point)) else place[point]
                for point in column
            }
            column.sort(key=wish.__getitem__)
            place.update((point, float(row)) for row, point in enumerate(column))


def _centres(
    columns: Sequence[Sequence[Point]],
    heights: Mapping[Point, float],
    gap: float,
    before: Mapping[Point, list[Point]],
    after: Mapping[Point, list[Point]],
) -> dict[Point, float]:
    centres: dict[Point, float] = {}
    for column in columns:
        offsets = _offsets(column, heights, gap)
        middle = offsets[-1] / 2 if offsets else 0.0
        centres.update((point, offset - middle) for point, offset in zip(column, offsets, strict=True))
    for sweep in range(_SWEEPS):
        forth = sweep % 2 == 0
        for column in columns if forth else reversed(columns):
            wishes = []
            for point in column:
                near = (before if forth else after).get(point, ())
                wishes.append(sum(centres[n] for n in near) / len(near) if near else centres[point])
            centres.update(zip(column, _apart(wishes, _offsets(column, heights, gap)), strict=True))
    return centres


def _offsets(column: Sequence[Point], heights: Mapping[Point, float], gap: float) -> list[float]:
    """How far the middle of each stands below that of the first, at least."""
    offsets: list[float] = []
    for row, point in enumerate(column):
        above = column[row - 1]
        offsets.append(offsets[-1] + (heights[above] + heights[point]) / 2 + gap if row else 0.0)
    return offsets


def _apart(wishes: Sequence[float], offsets: Sequence[float]) -> list[float]:
    """The heights nearest to those wished for (least squares) in which each keeps its distance: isotonic regression by
    pooling neighbours that are in each other's way."""
    pools: list[tuple[float, int]] = []  # mean, how many
    for wish, offset in zip(wishes, offsets, strict=True):
        mean, count = wish - offset, 1
        while pools and pools[-1][0] > mean:
            other, many = pools.pop()
            mean, count = (mean * count + other * many) / (count + many), count + many
        pools.append((mean, count))
    flat = [mean for mean, count in pools for _ in range(count)]
    return [mean + offset for mean, offset in zip(flat, offsets, strict=True)]
