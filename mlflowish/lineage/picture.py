"""A graph as an SVG of our own: columns by distance, arrows between them; no fonts, scripts or files from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from mlflowish.lineage.drawing import caption

if TYPE_CHECKING:
    import networkx as nx

_WIDE, _HIGH, _GAP_X, _GAP_Y, _EDGE = 190, 34, 60, 16, 12
_LETTERS = 27
_MOST = 200  # nodes; more than that nobody reads
_COLOURS = {"call": "56,139,253", "data": "46,160,67", "run": "163,113,247"}
_OTHER = "219,154,4"


def svg(graph: nx.DiGraph, roots: Sequence[str]) -> str:
    """Nodes in columns from what came first to what was made of it. Colours are translucent, so that they read on light
    and dark pages; each node has its whole name as a tool tip."""
    shown = graph.subgraph(list(graph)[:_MOST])
    places = _places(shown)
    width = max((x for x, _ in places.values()), default=0) + _WIDE + _EDGE
    height = max((y for _, y in places.values()), default=0) + _HIGH + _EDGE
    body = [_arrow(places[source], places[target], facts["role"]) for source, target, facts in shown.edges(data=True)]
    body += [_box(places[node], facts, is_root=node in roots) for node, facts in shown.nodes(data=True)]
    if len(graph) > _MOST:
        height += 20
        body.append(f'<text x="{_EDGE}" y="{height - 6}" opacity=".7">{len(graph) - _MOST:,} more nodes</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'style="max-width:100%;font:12px system-ui,sans-serif" fill="currentColor" role="img" '
        f'aria-label="lineage of {escape(", ".join(roots), quote=True)}">{"".join(body)}</svg>'
    )


def _places(graph: nx.DiGraph) -> dict[str, tuple[int, int]]:
    """Upper left corners. A node stands one column right of the last that went into it (layers of a topological order);
    what a cycle of records would make impossible stands in the first column."""
    import networkx as nx

    try:
        columns = [list(layer) for layer in nx.topological_generations(graph)]
    except nx.NetworkXUnfeasible:
        columns = [list(graph)]
    return {
        node: (_EDGE + number * (_WIDE + _GAP_X), _EDGE + row * (_HIGH + _GAP_Y))
        for number, column in enumerate(columns)
        for row, node in enumerate(column)
    }


def _box(place: tuple[int, int], facts: dict[str, object], *, is_root: bool) -> str:
    x, y = place
    colour = _COLOURS.get(str(facts["kind"]), _OTHER)
    whole = caption(facts)
    text = whole if len(whole) <= _LETTERS else whole[: _LETTERS - 1] + "…"
    radius = 6 if facts["kind"] == "data" else 16
    return (
        f"<g><title>{escape(whole)}</title>"
        f'<rect x="{x}" y="{y}" width="{_WIDE}" height="{_HIGH}" rx="{radius}" fill="rgba({colour},.18)" '
        f'stroke="rgb({colour})" stroke-width="{2.5 if is_root else 1}"/>'
        f'<text x="{x + _WIDE / 2:g}" y="{y + _HIGH / 2 + 4:g}" text-anchor="middle">{escape(text)}</text></g>'
    )


def _arrow(start: tuple[int, int], end: tuple[int, int], role: str) -> str:
    x1, y1 = start[0] + _WIDE, start[1] + _HIGH // 2
    x2, y2 = end[0], end[1] + _HIGH // 2
    bend = max((x2 - x1) // 2, 20)
    curve = f"M{x1},{y1} C{x1 + bend},{y1} {x2 - bend},{y2} {x2 - 6},{y2}"
    return (
        f'<g opacity=".65"><title>{escape(role)}</title><path d="{curve}" fill="none" stroke="currentColor"/>'
        f'<path d="M{x2},{y2} l-7,-3.5 v7 z"/></g>'
    )
