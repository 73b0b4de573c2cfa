"""Plots of metrics as SVG of our own: several curves on common axes, linear or logarithmic.

Text and grid have the colour of the page around them, curves are of middling lightness: they read on light and dark
pages. No scripts, no fonts, nothing from elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape

from mlflowish.errors import InvalidInputError
from mlflowish.tracking.curves import Curve, Spot, part_of, sparktext

COLOURS = ("56,139,253", "227,116,0", "46,160,67", "163,113,247", "248,81,73", "20,160,170", "219,97,162", "140,140,60")
_WIDE, _HIGH, _LEFT, _RIGHT, _TOP, _BOTTOM = 430, 190, 52, 10, 8, 30
_LINE, _LETTER = 16, 6.1
_MOST_CURVES = 32
_ALONE = (
    "<style>.mlf-plot{color:#24292f;background:#fff}"
    "@media(prefers-color-scheme:dark){.mlf-plot{color:#e6edf3;background:#0d1117}}</style>"
)
Scale = Callable[[float], float]


@dataclass(frozen=True, slots=True)
class Plot:
    """Curves under a title. Shows itself in a notebook; `to_svg()` gives a picture that stands alone; as text it is a
    line of block characters for each curve. `log`: the values on a logarithmic scale, where those of 0 and less are
    gaps."""

    title: str
    curves: tuple[Curve, ...]
    log: bool = False

    def to_svg(self) -> str:
        """A self-contained picture, dark where the viewer prefers that."""
        return svg(self, style=_ALONE)

    def _repr_html_(self) -> str:
        return svg(self)

    def __repr__(self) -> str:
        wide = max((len(curve.name) for curve in self.curves), default=0)
        lines = [f"{c.name.ljust(wide)}  {sparktext(c)}  {_short(c.last)}".rstrip() for c in self.curves]
        return "\n".join([self.title, *lines])


def plot_of(title: str, curves: Iterable[Curve], *, log: bool = False) -> Plot:
    """A plot of the curves that have anything to draw."""
    found = tuple(curve for curve in curves if curve.stretches)
    if len(found) > _MOST_CURVES:
        raise InvalidInputError(
            f"At most {_MOST_CURVES} curves can be told apart in one plot, found {len(found)}", found=len(found)
        )
    return Plot(title, found, log)


def spans_decades(curves: Sequence[Curve], least: float = 30.0) -> bool:
    """Are all values positive, and so far apart that a logarithmic scale shows more?"""
    values = [bound for curve in curves for spot in curve.spots() for bound in (spot.low, spot.high)]
    return bool(values) and min(values) > 0 and max(values) / min(values) >= least


def svg(plot: Plot, *, style: str = "") -> str:
    """The picture of a plot."""
    legend, legend_high = _legend(plot)
    curves = [_positive(curve) for curve in plot.curves] if plot.log else list(plot.curves)
    spots = [spot for curve in curves for spot in curve.spots()]
    head = legend_high + (_LINE if plot.title else 0)
    high = head + _HIGH
    body = [_text(_LEFT, 12, plot.title, weight=600)] if plot.title else []
    if spots:
        body += [legend, f'<g transform="translate(0,{head})">{_axes_and_lines(plot, curves, spots)}</g>']
    else:
        body.append(_text(_LEFT, head + _HIGH / 2, "nothing to draw"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="mlf-plot" viewBox="0 0 {_WIDE} {high}" width="{_WIDE}" '
        f'height="{high}" style="max-width:100%;height:auto;font:11px system-ui,sans-serif" fill="currentColor" '
        f'role="img" aria-label="{escape(plot.title, quote=True)}">{style}{"".join(body)}</svg>'
    )


def _axes_and_lines(plot: Plot, curves: Sequence[Curve], spots: Sequence[Spot]) -> str:
    left, right = min(spot.x for spot in spots), max(spot.x for spot in spots)
    low, high = _bounds(min(spot.low for spot in spots), max(spot.high for spot in spots), log=plot.log)
    wide, tall = _WIDE - _LEFT - _RIGHT, _HIGH - _TOP - _BOTTOM

    def across(x: float) -> float:
        return _LEFT + wide * part_of(x, left, right)

    def up(y: float) -> float:
        part = part_of(math.log10(y), math.log10(low), math.log10(high)) if plot.log else part_of(y, low, high)
        return _TOP + tall * (1 - part)

    parts = [_across_grid(tick, up(tick)) for tick in (_log_ticks(low, high) if plot.log else _ticks(low, high, 5))]
    parts += [_down_mark(tick, across(tick)) for tick in _ticks(left, right, 6)]
    parts.append(_text(_WIDE - _RIGHT, _HIGH - 2, curves[0].axis, anchor="end", opacity=0.6))
    for number, curve in enumerate(curves):
        parts.append(_curve(curve, COLOURS[number % len(COLOURS)], across, up))
    return "".join(parts)


def _curve(curve: Curve, colour: str, across: Scale, up: Scale) -> str:
    tip = f"<title>{escape(curve.name)}: {_short(curve.last)} last, {curve.points:,} points</title>"
    return f"<g>{tip}{''.join(_stretch(stretch, colour, across, up) for stretch in curve.stretches)}</g>"


def _stretch(stretch: Sequence[Spot], colour: str, across: Scale, up: Scale) -> str:
    if len(stretch) == 1:
        spot = stretch[0]
        return f'<circle cx="{across(spot.x):.1f}" cy="{up(spot.mean):.1f}" r="2" fill="rgb({colour})"/>'
    line = " ".join(f"{across(spot.x):.1f},{up(spot.mean):.1f}" for spot in stretch)
    drawn = f'<polyline points="{line}" fill="none" stroke="rgb({colour})" stroke-width="1.5" stroke-linejoin="round"/>'
    if all(spot.low == spot.high for spot in stretch):
        return drawn
    edge = [*((spot.x, spot.high) for spot in stretch), *((spot.x, spot.low) for spot in reversed(stretch))]
    band = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in edge)
    return f'<polygon points="{band}" fill="rgba({colour},.22)"/>{drawn}'


def _positive(curve: Curve) -> Curve:
    """The curve where it is above zero: the rest has no logarithm."""
    stretches: list[tuple[Spot, ...]] = []
    for stretch in curve.stretches:
        kept: list[Spot] = []
        for spot in stretch:
            if spot.mean > 0:
                kept.append(spot if spot.low > 0 else spot._replace(low=spot.mean))
            elif kept:
                stretches.append(tuple(kept))
                kept = []
        if kept:
            stretches.append(tuple(kept))
    return Curve(curve.name, tuple(stretches), curve.points, curve.last, curve.axis)


def _bounds(low: float, high: float, *, log: bool) -> tuple[float, float]:
    """The ends of the value axis: a little more than the values need."""
    if log:
        return (low, high) if low < high else (low / 2, high * 2 if math.isfinite(high * 2) else high)
    if low < high:
        margin = (high / 2 - low / 2) * 0.08
        return (
            (low - margin, high + margin)
            if math.isfinite(low - margin) and math.isfinite(high + margin)
            else (low, high)
        )
    return low - (abs(low) * 0.1 or 1.0), high + (abs(high) * 0.1 or 1.0)


def _ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers between two bounds: multiples of 1, 2 or 5 times a power of ten."""
    span = high / most - low / most
    if not 0 < span < math.inf:
        return [low]
    power = 10.0 ** math.floor(math.log10(span))
    step = next((factor * power for factor in (1, 2, 5, 10) if factor * power >= span), 10 * power)
    if not step or not math.isfinite(step):
        return [low, high]
    first, last = math.ceil(low / step), math.floor(high / step)
    return [number * step for number in range(first, last + 1)][: 2 * most]


def _log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten between two bounds; within one or two decades 2 and 5 times those as well."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = max(1, (last - first) // 6)
    factors = (1, 2, 5) if last - first <= 2 else (1,)
    found = [f * 10.0**power for power in range(first, min(last, 308) + 1, every) for f in factors if power > -300]
    return [tick for tick in found if low <= tick <= high] or [low, high]


def _legend(plot: Plot) -> tuple[str, int]:
    """Names and last values, in rows under the title; and how high that is. None for one curve of the title's name."""
    if len(plot.curves) == 1 and plot.curves[0].name == plot.title:
        last = plot.curves[0].last
        return _text(_WIDE - _RIGHT, 12, _short(last), anchor="end", opacity=0.75), 0
    x, y, parts = float(_LEFT), _LINE if plot.title else 0, []
    for number, curve in enumerate(plot.curves):
        name = curve.name if len(curve.name) <= 36 else f"{curve.name[:35]}…"
        text = f"{name} {_short(curve.last)}"
        wide = 16 + len(text) * _LETTER
        if x > _LEFT and x + wide > _WIDE - _RIGHT:
            x, y = float(_LEFT), y + _LINE
        colour = COLOURS[number % len(COLOURS)]
        parts.append(f'<circle cx="{x + 4:.1f}" cy="{y + 8}" r="4" fill="rgb({colour})"/>')
        parts.append(_text(x + 12, y + 12, text, opacity=0.85))
        x += wide + 8
    return "".join(parts), y + _LINE - (_LINE if plot.title else 0)


def _across_grid(tick: float, y: float) -> str:
    line = f'<path d="M{_LEFT},{y:.1f} H{_WIDE - _RIGHT}" stroke="currentColor" stroke-opacity=".15"/>'
    return line + _text(_LEFT - 6, y + 4, _short(tick), anchor="end", opacity=0.75)


def _down_mark(tick: float, x: float) -> str:
    bottom = _HIGH - _BOTTOM
    mark = f'<path d="M{x:.1f},{bottom} v4" stroke="currentColor" stroke-opacity=".4"/>'
    return mark + _text(x, bottom + 16, _short(tick), anchor="middle", opacity=0.75)


def _text(x: float, y: float, text: str, *, anchor: str = "start", opacity: float = 1.0, weight: int = 400) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" opacity="{opacity:g}" font-weight="{weight}">'
        f"{escape(text)}</text>"
    )


def _short(value: float) -> str:
    size = abs(value)
    if 1000 <= size < 1e15 and value == int(value):
        for unit, text in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
            if size >= unit and size >= 10_000 and value / unit == round(value / unit, 2):
                return f"{value / unit:g}{text}"
    return f"{value:.4g}"
