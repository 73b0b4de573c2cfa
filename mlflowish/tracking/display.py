"""How a run shows itself in a notebook: a card with plots of its metrics. Drawn here, nothing is loaded."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from mlflowish.errors import MlflowishError
from mlflowish.store.display import badge, card, sparkline_of
from mlflowish.tracking.curves import Curve, curve_of
from mlflowish.tracking.folding import FAILED, FINISHED, KILLED
from mlflowish.tracking.plots import plot_of, spans_decades, svg

if TYPE_CHECKING:
    from mlflowish.tracking.run import Run

_MOST_ROWS, _MOST_PLOTS = 12, 6
_KINDS = {FINISHED: "good", FAILED: "bad", KILLED: "warn"}


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
    facts += _few("models", [model.name for model in run.models])
    commit = run.code.get("commit")
    if commit:
        facts.append(("commit", f"{str(commit)[:12]}{' and changes' if run.code.get('is_dirty') else ''}"))
    body = badge(record.status.lower(), _KINDS.get(record.status, "new")) + _series(run)
    return card(f"Run {record.name}", facts, body_html=body)


def _series(run: Run) -> str:
    """Plots of the metrics that have a course, and a table of them all with a small line for each."""
    metrics = run.metrics
    shown = sorted(metrics)[:_MOST_ROWS]
    curves: dict[str, Curve] = {}
    for name in shown:
        try:
            curves[name] = curve_of(name, run.metric_history(name))
        except MlflowishError:  # the value is known, the line is not
            continue
    rows = "".join(
        f'<tr style="background:none"><td style="{_CELL};opacity:.7">{escape(name)}</td>'
        f'<td style="{_CELL}">{escape(f"{metrics[name]:.6g}")}</td>'
        f'<td style="{_CELL}">{_spark(curves[name]) if name in curves else ""}</td></tr>'
        for name in shown
    )
    hidden = len(metrics) - _MOST_ROWS
    more = f'<div style="opacity:.7">{hidden} more metrics</div>' if hidden > 0 else ""
    table = f'<table style="{_TABLE}">{rows}</table>{more}' if rows else ""
    return table + plots_html(_in_groups(list(curves.values()))[:_MOST_PLOTS])


def plots_html(groups: Sequence[tuple[str, Sequence[Curve]]]) -> str:
    """A plot for each group of curves, side by side where there is room; one with a logarithmic scale folded under it
    where the values span decades."""
    parts = []
    for title, curves in groups:
        drawn = svg(plot_of(title, curves))
        if spans_decades(curves):
            log = svg(plot_of(title, curves, log=True))
            drawn += f'<details><summary style="opacity:.7">logarithmic</summary>{log}</details>'
        parts.append(f'<div style="max-width:100%">{drawn}</div>')
    return f'<div style="display:flex;flex-wrap:wrap;gap:.8em;margin-top:.6em">{"".join(parts)}</div>' if parts else ""


def _in_groups(curves: Sequence[Curve]) -> list[tuple[str, list[Curve]]]:
    """Curves that belong on one plot: the same metric in training and validation. Those of one point make no plot."""
    groups: dict[str, list[Curve]] = {}
    for curve in curves:
        if sum(len(stretch) for stretch in curve.stretches) > 1:
            groups.setdefault(_PHASE.sub("", curve.name) or curve.name, []).append(curve)
    return [(found[0].name if len(found) == 1 else base, found) for base, found in groups.items()]


# `train/loss`, `val_loss`, `loss_test` are all of one metric.
_PHASE = re.compile(
    r"^(?:train|training|val|valid|validation|test|eval)[/_.-]|[/_.-](?:train|training|val|valid|validation|test|eval)$"
)


def _spark(curve: Curve) -> str:
    return sparkline_of([(spot.x, spot.mean) for spot in curve.spots()])


_TABLE = "border-collapse:collapse;border:none;color:inherit;font:inherit;margin-top:.35em"
_CELL = "text-align:left;vertical-align:middle;padding:.1em 1em .1em 0;border:none"


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
