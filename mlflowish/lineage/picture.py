"""A graph as an SVG of our own: columns by distance, arrows between them; no fonts, scripts or files from elsewhere."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from html import escape
from math import ceil
from typing import TYPE_CHECKING, Any

from mlflowish.lineage.drawing import Look, Looks, caption
from mlflowish.lineage.layout import Layout, Point, lay_out

if TYPE_CHECKING:
    import networkx as nx

_NARROWEST, _WIDEST, _HIGH, _GAP_X, _GAP_Y, _EDGE = 84, 190, 34, 48, 16, 12
_LINE_HIGH = 15  # a second line in a box
_WAY_HIGH = 6
_LETTER_WIDE, _NOTE_LETTER_WIDE = 6.6, 5.8  # of a common font, a little more than it takes
_MARK_WIDE, _MARGIN = 26, 12
_MOST = 200  # nodes; more than that nobody reads
_COLOURS = {"call": "56,139,253", "data": "46,160,67", "run": "163,113,247"}
_OTHER = "219,154,4"


def svg(graph: nx.DiGraph, roots: Sequence[Hashable], looks: Looks | None = None, *, title: str = "") -> str:
    """Nodes in columns from what came first to what was made of it. Colours are translucent, so that they read on light
    and dark pages; each node has its whole name as a tool tip, or `tip` of its facts. `note` is a second line. A node
    with a `state` that has a look is drawn in it; one with `many` among its facts as a pile."""
    shown = graph.subgraph(list(graph)[:_MOST])
    layout = lay_out(shown, lambda node: _high(shown.nodes[node]), _WAY_HIGH, _GAP_Y)
    wide = _wide(shown, looks or {})
    lefts = {p: _EDGE + n * (wide + _GAP_X) for n, column in enumerate(layout.columns) for p in column}
    width = max(lefts.values(), default=0) + wide + _EDGE
    height = round(layout.height) + 2 * _EDGE
    body = [_arrow(layout, lefts, wide, shown, *edge) for edge in shown.edges(data=True)]
    for node, facts in shown.nodes(data=True):
        look = (looks or {}).get(facts.get("state", ""))
        body.append(_box(lefts[node], layout.tops[node] + _EDGE, wide, facts, look, is_root=node in roots))
    if len(graph) > _MOST:
        height += 20
        body.append(f'<text x="{_EDGE}" y="{height - 6}" opacity=".7">{len(graph) - _MOST:,} more nodes</text>')
    label = title or f"lineage of {', '.join(map(str, roots))}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'style="font:12px system-ui,sans-serif" fill="currentColor" role="img" '
        f'aria-label="{escape(label, quote=True)}">{"".join(body)}</svg>'
    )


def _high(facts: dict[str, Any]) -> float:
    return _HIGH + (_LINE_HIGH if facts.get("note") else 0)


def _wide(graph: nx.DiGraph, looks: Looks) -> int:
    """How wide boxes are: as the longest text asks for, within limits."""
    widest = 0.0
    for _, facts in graph.nodes(data=True):
        mark = _MARK_WIDE if facts.get("state") in looks else 0
        note = len(str(facts.get("note", ""))) * _NOTE_LETTER_WIDE
        widest = max(widest, len(caption(facts)) * _LETTER_WIDE + mark, note)
    return ceil(min(max(widest + _MARGIN, _NARROWEST), _WIDEST))


def _box(x: float, y: float, wide: int, facts: dict[str, Any], look: Look | None, *, is_root: bool) -> str:
    colour = look.rgb if look is not None else _COLOURS.get(str(facts["kind"]), _OTHER)
    high, note = _high(facts), str(facts.get("note", ""))
    radius = 6 if facts["kind"] == "data" else 8 if look is not None else 16
    frame = (
        f'<rect x="{x:g}" y="{y:g}" width="{wide}" height="{high:g}" rx="{radius}" fill="rgba({colour},.18)" '
        f'stroke="rgb({colour})" stroke-width="{2.5 if is_root else 1}"/>'
    )
    if facts.get("many"):  # the edge of one more behind it
        right, low = x + wide, y + high
        pile = f"M{x + 8:g},{low + 4:g} H{right - 4:g} Q{right + 4:g},{low + 4:g} {right + 4:g},{low - 4:g} V{y + 8:g}"
        frame = f'<path d="{pile}" fill="none" stroke="rgb({colour})" opacity=".6"/>{frame}'
    mark = ""
    if look is not None:
        mark = (
            f'<path d="{look.path}" transform="translate({x + 11:g},{y + _HIGH / 2 - 6:g})" fill="none" '
            f'stroke="rgb({colour})" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round"/>'
        )
    letters = int((wide - _MARGIN - (_MARK_WIDE if mark else 0)) / _LETTER_WIDE)
    middle = x + wide / 2 + (9 if mark else 0)
    text = f'<text x="{middle:g}" y="{y + _HIGH / 2 + 4:g}" text-anchor="middle">{_cut(caption(facts), letters)}</text>'
    if note:
        text += (
            f'<text x="{x + wide / 2:g}" y="{y + _HIGH + 5:g}" text-anchor="middle" font-size="10.5" opacity=".75">'
            f"{_cut(note, int((wide - _MARGIN) / _NOTE_LETTER_WIDE))}</text>"
        )
    return f"<g><title>{escape(str(facts.get('tip') or caption(facts)))}</title>{frame}{mark}{text}</g>"


def _cut(text: str, letters: int) -> str:
    return escape(text if len(text) <= letters else text[: letters - 1] + "…")


def _arrow(
    layout: Layout,
    lefts: dict[Point, int],
    wide: int,
    graph: nx.DiGraph,
    source: Point,
    target: Point,
    facts: dict[str, Any],
) -> str:
    def middle(node: Point) -> float:
        return layout.tops[node] + _EDGE + _high(graph.nodes[node]) / 2

    x, y = lefts[source] + wide, middle(source)
    path = f"M{x:g},{y:g}"
    for way in layout.ways[source, target]:
        left, way_y = lefts[way], layout.tops[way] + _EDGE + _WAY_HIGH / 2
        path += f"{_curve(x, y, left, way_y)} H{left + wide:g}"
        x, y = left + wide, way_y
    end_x, end_y = lefts[target], middle(target)
    path += _curve(x, y, end_x - 6, end_y)
    return (
        f'<g opacity=".65"><title>{escape(str(facts.get("role", "")))}</title>'
        f'<path d="{path}" fill="none" stroke="currentColor"/><path d="M{end_x:g},{end_y:g} l-7,-3.5 v7 z"/></g>'
    )


def _curve(x1: float, y1: float, x2: float, y2: float) -> str:
    bend = max((x2 - x1) / 2, 20)
    return f" C{x1 + bend:g},{y1:g} {x2 - bend:g},{y2:g} {x2:g},{y2:g}"
