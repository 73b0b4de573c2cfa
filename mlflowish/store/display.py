"""How records show themselves in a notebook: small pieces of HTML, pure functions of their text.

Everything is escaped, nothing is loaded from elsewhere, styles are inline (notebooks strip style sheets), and
colours are translucent over the page's own, so that light and dark themes both read well.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from html import escape

_MAX_LINES = 200
_KINDS = {"good": "46,160,67", "new": "56,139,253", "warn": "219,154,4", "bad": "248,81,73"}
_NEUTRAL = "128,128,128"

_BORDER = f"1px solid rgba({_NEUTRAL},.35)"
_MONO = "font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:.92em"
_FRAME = (
    f"display:inline-block;max-width:100%;box-sizing:border-box;border:{_BORDER};border-radius:6px;"
    "padding:.55em .8em;line-height:1.45"
)
_CELL = "text-align:left;vertical-align:top;padding:.1em 1em .1em 0;border:none"
_LINED = f"{_CELL};border-bottom:{_BORDER}"
_DIFF = (
    f"{_MONO};margin:.2em 0;padding:.3em 0;background:none;color:inherit;border:{_BORDER};border-radius:4px;"
    "overflow-x:auto;line-height:1.4"
)
# Old page modes give tables a colour and size of their own.
_PLAIN_TABLE = "border-collapse:collapse;border:none;color:inherit;font:inherit"


def card(title: str, rows: Sequence[tuple[str, str]], *, body_html: str = "") -> str:
    """A framed title with a table of names and texts; `body_html` (trusted HTML) stands between the two."""
    parts = [f'<div style="font-weight:600;overflow-wrap:anywhere">{escape(title)}</div>']
    if body_html:
        parts.append(f'<div style="margin-top:.35em">{body_html}</div>')
    if rows:
        lines = "".join(_card_row(name, text) for name, text in rows)
        parts.append(f'<table style="{_PLAIN_TABLE};margin:.35em 0 0">{lines}</table>')
    return f'<div style="{_FRAME}">{"".join(parts)}</div>'


def badge(text: str, kind: str = "neutral") -> str:
    """A short word in a coloured pill: `kind` is "good", "new", "warn", "bad", or anything else for grey."""
    colour = _KINDS.get(kind, _NEUTRAL)
    style = (
        f"display:inline-block;padding:0 .6em;border-radius:1em;border:1px solid rgba({colour},.6);"
        f"background:rgba({colour},.18);font-size:.88em"
    )
    return f'<span style="{style}">{escape(text)}</span>'


def diff_html(old: str, new: str, *, title: str = "") -> str:
    """The lines that differ between two texts, with three lines around them, under a title; 200 lines at most."""
    lines = list(difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=3))[2:]
    if "\n" not in old and "\n" not in new:
        lines = lines[1:]  # of one line each, where it stands says nothing
    if not lines and old:
        lines = [f" {line}" for line in old.splitlines()]
    shown = [_diff_line(line) for line in lines[:_MAX_LINES]]
    if len(lines) > _MAX_LINES:
        shown.append(_diff_line(f"@@ {len(lines) - _MAX_LINES} more lines"))
    head = f'<div style="margin-top:.5em">{escape(title)}</div>' if title else ""
    return f'{head}<pre style="{_DIFF}">{"".join(shown)}</pre>'


def table_html(columns: Sequence[str], rows: Sequence[Sequence[str]], *, more: int = 0) -> str:
    """Rows of texts under their names; `more` says how many are not shown."""
    head = "".join(f'<th style="{_LINED}">{escape(name)}</th>' for name in columns)
    body = "".join(_table_row(row) for row in rows)
    note = f'<div style="opacity:.7">{more} more rows</div>' if more else ""
    table = f'<table style="{_PLAIN_TABLE}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div style="overflow-x:auto">{table}{note}</div>'


def sparkline_of(pairs: Iterable[tuple[float, float]]) -> str:
    """A series of (x, value), by x, as a small line, an SVG image that reads on light and dark pages; "" if there is no
    line. What is no finite number is left out; of many points each stretch shows its least and greatest."""
    shown = _thinned([pair for pair in pairs if math.isfinite(pair[1])])
    if len(shown) < 2:
        return ""
    low, high = min(value for _, value in shown), max(value for _, value in shown)
    span = high / 2 - low / 2  # halves: the difference of two large numbers may be none
    first, last = shown[0][0], shown[-1][0]

    def place(x: float, value: float) -> str:
        across = 2 + (_WIDE - 4) * ((x - first) / (last - first) if last > first else 0.5)
        up = _HIGH - 3 - (_HIGH - 6) * ((value / 2 - low / 2) / span if span > 0 else 0.5)
        return f"{across:.1f},{up:.1f}"

    points = " ".join(place(x, value) for x, value in shown)
    end_x, end_y = place(*shown[-1]).split(",")
    return (
        f'<svg width="{_WIDE}" height="{_HIGH}" viewBox="0 0 {_WIDE} {_HIGH}" role="img">'
        f'<polyline points="{points}" fill="none" stroke="rgb({_LINE})" stroke-width="1.5" stroke-linejoin="round"/>'
        f'<circle cx="{end_x}" cy="{end_y}" r="2" fill="rgb({_LINE})"/></svg>'
    )


_WIDE, _HIGH, _POINTS = 160, 28, 120
_LINE = _KINDS["new"]  # of middling lightness: reads on white and on black


def _thinned(pairs: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Few enough to draw: of each stretch its lowest and highest value, and the two ends."""
    if len(pairs) <= _POINTS:
        return pairs
    width = math.ceil(len(pairs) / (_POINTS // 2))
    kept = {0, len(pairs) - 1}
    for start in range(0, len(pairs), width):
        stretch = range(start, min(start + width, len(pairs)))
        kept |= {min(stretch, key=lambda i: pairs[i][1]), max(stretch, key=lambda i: pairs[i][1])}
    return [pairs[i] for i in sorted(kept)]


def _card_row(name: str, text: str) -> str:
    return (
        f'<tr style="background:none"><td style="{_CELL};opacity:.7;white-space:nowrap">{escape(name)}</td>'
        f'<td style="{_CELL};{_MONO};overflow-wrap:anywhere">{_with_breaks(text)}</td></tr>'
    )


def _table_row(row: Sequence[str]) -> str:
    cells = "".join(f'<td style="{_LINED}">{_with_breaks(cell)}</td>' for cell in row)
    return f'<tr style="background:none">{cells}</tr>'


def _diff_line(line: str) -> str:
    colour = {"+": _KINDS["good"], "-": _KINDS["bad"]}.get(line[:1])
    background = f"background:rgba({colour},.18)" if colour else "opacity:.6" if line[:1] == "@" else ""
    return f'<span style="display:block;padding:0 .6em;{background}">{escape(line) or "&nbsp;"}</span>'


def _with_breaks(text: str) -> str:
    return escape(text).replace("\n", "<br>")
