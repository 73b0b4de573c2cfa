"""How a run shows itself in a notebook: a card, with a small line for each metric. Drawn here, nothing is loaded."""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from mlflowish.errors import MlflowishError
from mlflowish.store.display import badge, card
from mlflowish.tracking.folding import FAILED, FINISHED, KILLED
from mlflowish.tracking.points import read_points
from mlflowish.tracking.records import Column

if TYPE_CHECKING:
    from mlflowish.tracking.run import Run

_WIDTH, _HEIGHT, _POINTS = 160, 28, 120
_MOST_ROWS = 12
_KINDS = {FINISHED: "good", FAILED: "bad", KILLED: "warn"}
_LINE = "56,139,253"  # of middling lightness: reads on white and on black


def run_html(run: Run) -> str:
    """The card of a run."""
    record = run.record
    facts = [("experiment", record.experiment), ("id", record.run_id), ("started", _when(record.start_s))]
    if record.end_s is not None:
        facts.append(("took", _duration(record.end_s - record.start_s)))
    if record.reason:
        facts.append(("ended by", record.reason))
    facts += _few("params", [f"{name} = {value}" for name, value in run.params.items()])
    facts += _few("tags", [f"{name} = {value}" for name, value in run.tags.items() if not name.startswith("mlflow.")])
    facts += _few("artifacts", run.artifacts.paths())
    facts += _few("models", [model.name for model in record.models])
    commit = run.code.get("commit")
    if commit:
        facts.append(("commit", f"{str(commit)[:12]}{' and changes' if run.code.get('is_dirty') else ''}"))
    body = badge(record.status.lower(), _KINDS.get(record.status, "new")) + _series(run)
    return card(f"Run {record.name}", facts, body_html=body)


def sparkline(column: Column) -> str:
    """A series as a small line, an SVG image that reads on light and dark pages. Gaps where values are no numbers."""
    pairs = [pair for pair in sorted(zip(column.steps, column.values, strict=True)) if math.isfinite(pair[1])]
    if len(pairs) < 2:
        return ""
    shown = _thinned(pairs)
    low, high = min(value for _, value in shown), max(value for _, value in shown)
    span = high / 2 - low / 2  # halves: the difference of two large numbers may be none
    first, last = shown[0][0], shown[-1][0]

    def place(step: int, value: float) -> str:
        x = 2 + (_WIDTH - 4) * ((step - first) / (last - first) if last > first else 0.5)
        y = _HEIGHT - 3 - (_HEIGHT - 6) * ((value / 2 - low / 2) / span if span > 0 else 0.5)
        return f"{x:.1f},{y:.1f}"

    points = " ".join(place(step, value) for step, value in shown)
    end_x, end_y = place(*shown[-1]).split(",")
    return (
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">'
        f'<polyline points="{points}" fill="none" stroke="rgb({_LINE})" stroke-width="1.5" stroke-linejoin="round"/>'
        f'<circle cx="{end_x}" cy="{end_y}" r="2" fill="rgb({_LINE})"/></svg>'
    )


def _series(run: Run) -> str:
    metrics = run.metrics
    if not metrics:
        return ""
    try:
        points = read_points(run.store, run.run_id)
    except MlflowishError:  # the values are known, the lines are not
        points = {}
    rows = "".join(
        f'<tr style="background:none"><td style="{_CELL};opacity:.7">{escape(name)}</td>'
        f'<td style="{_CELL}">{escape(f"{metrics[name]:.6g}")}</td>'
        f'<td style="{_CELL}">{sparkline(points[name]) if name in points else ""}</td></tr>'
        for name in sorted(metrics)[:_MOST_ROWS]
    )
    hidden = len(metrics) - _MOST_ROWS
    more = f'<div style="opacity:.7">{hidden} more metrics</div>' if hidden > 0 else ""
    return f'<table style="{_TABLE}">{rows}</table>{more}'


_TABLE = "border-collapse:collapse;border:none;color:inherit;font:inherit;margin-top:.35em"
_CELL = "text-align:left;vertical-align:middle;padding:.1em 1em .1em 0;border:none"


def _thinned(pairs: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Few enough to draw: of each stretch its lowest and highest value, and the two ends."""
    if len(pairs) <= _POINTS:
        return list(pairs)
    width = math.ceil(len(pairs) / (_POINTS // 2))
    kept = {0, len(pairs) - 1}
    for start in range(0, len(pairs), width):
        stretch = range(start, min(start + width, len(pairs)))
        kept |= {min(stretch, key=lambda i: pairs[i][1]), max(stretch, key=lambda i: pairs[i][1])}
    return [pairs[i] for i in sorted(kept)]


def _few(title: str, texts: Sequence[str]) -> list[tuple[str, str]]:
    shown = [text if len(text) <= 120 else text[:117] + "..." for text in texts[:_MOST_ROWS]]
    if len(texts) > _MOST_ROWS:
        shown.append(f"{len(texts) - _MOST_ROWS} more")
    return [(title, "\n".join(shown))] if shown else []


def _when(time_s: float) -> str:
    return datetime.datetime.fromtimestamp(time_s).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
