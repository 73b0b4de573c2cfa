"""Runs side by side: what they share is left out, what differs stands in a row each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

from mlflowish.errors import InvalidInputError
from mlflowish.store import Table
from mlflowish.tracking.curves import Curve, curve_of
from mlflowish.tracking.display import plots_html
from mlflowish.tracking.plots import Plot, plot_of
from mlflowish.tracking.run import Run

_Part = Callable[[Run], Mapping[str, Any]]
_MOST_PLOTS, _MOST_CURVES = 12, 32
_SHOWN_FACTS = ("commit", "branch", "is_dirty", "entry")


class Comparison(Table):
    """What differs between runs; in a notebook with a plot for each metric that two or more of them have."""

    def __init__(self, columns: Sequence[str], rows: Sequence[Sequence[Any]], runs: Sequence[Run]) -> None:
        super().__init__(columns, rows)
        self._runs = tuple(runs)

    def plot(self, name: str, *, log: bool = False) -> Plot:
        """A plot of one metric, with a curve for each run that has it. `log`: on a logarithmic scale."""
        return plot_of(name, self._curves(name), log=log)

    def _curves(self, name: str) -> list[Curve]:
        headings = self.columns[2:]
        found = [curve_of(head, run.metric_history(name)) for head, run in zip(headings, self._runs, strict=True)]
        return [curve for curve in found if curve.points]

    def _repr_html_(self) -> str:
        counted = Counter(name for run in self._runs for name in run.metrics)
        shared = [name for name, count in sorted(counted.items()) if count > 1]
        drawn = ((name, self._curves(name)[:_MOST_CURVES]) for name in shared)
        groups = (group for group in drawn if any(curve.points > 1 for curve in group[1]))
        return plots_html(list(islice(groups, _MOST_PLOTS))) + super()._repr_html_()


def compare_runs(runs: Sequence[Run], *, everything: bool = False) -> Comparison:
    """What differs between two or more runs: a row for each param, metric, tag, dataset, package or fact about the
    code, a column for each run (headed by its name, and its id where names repeat). `everything=True` keeps equal rows.
    `plot("loss")` draws a metric of all of them; in a notebook the metrics that they share are drawn by themselves.

    >>> import mlflowish as mf
    >>> runs = []
    >>> for lr in (0.1, 0.2):
    ...     with mf.start_run(f"lr-{lr}") as run:
    ...         mf.log_params({"lr": lr, "depth": 3})
    ...     runs.append(run)
    >>> print(mf.compare_runs(runs))
    kind   name  lr-0.1  lr-0.2
    param  lr    0.1     0.2
    """
    if len(runs) < 2:
        raise InvalidInputError(f"Two or more runs can be compared, found {len(runs)}", found=len(runs))
    rows = []
    for kind, part in _PARTS.items():
        values = [part(run) for run in runs]
        for name in sorted({name for known in values for name in known}):
            cells = [known.get(name) for known in values]
            if everything or any(repr(cell) != repr(cells[0]) for cell in cells):  # NaN is equal to itself here
                rows.append((kind, name, *cells))
    return Comparison(("kind", "name", *_headings(runs)), rows, runs)


def _headings(runs: Sequence[Run]) -> list[str]:
    names = [run.name for run in runs]
    headings = [run.name if names.count(run.name) == 1 else f"{run.name} {run.run_id}" for run in runs]
    return [f"{h} ({i})" if headings.count(h) > 1 or h in ("kind", "name") else h for i, h in enumerate(headings)]


def _code(run: Run) -> dict[str, Any]:
    code = run.code
    found = {name: code[name] for name in _SHOWN_FACTS if name in code}
    diff = code.get("texts", {}).get("diff")
    return {**found, **({"uncommitted changes": diff[0][:16]} if diff else {})}


def _environment(run: Run) -> dict[str, Any]:
    return {name: value for name, value in run.environment.items() if name not in ("packages", "executable")}


def _datasets(run: Run) -> dict[str, str]:
    return {f"{data.name} ({data.context})" if data.context else data.name: data.digest for data in run.datasets}


_PARTS: dict[str, _Part] = {
    "param": lambda run: run.params,
    "metric": lambda run: run.metrics,
    "tag": lambda run: run.tags,
    "dataset": _datasets,
    "code": _code,
    "package": lambda run: run.environment.get("packages", {}),
    "environment": _environment,
}
