"""Runs side by side: what they share is left out, what differs stands in a row each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mlflowish.errors import InvalidInputError
from mlflowish.store import Table
from mlflowish.tracking.run import Run

_Part = Callable[[Run], Mapping[str, Any]]
_SHOWN_FACTS = ("commit", "branch", "is_dirty", "entry")


def compare_runs(runs: Sequence[Run], *, everything: bool = False) -> Table:
    """What differs between two or more runs: a row for each param, metric, tag, dataset, package or fact about the
    code, a column for each run (headed by its name, and its id where names repeat). `everything=True` keeps equal rows.

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
    return Table(("kind", "name", *_headings(runs)), rows)


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
