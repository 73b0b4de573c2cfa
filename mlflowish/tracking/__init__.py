"""Runs: what a program tried, on what, and what came of it. Spooled at once, moved into journals, read from both.

`mf.start_run`, `mf.log_metric` and the others stand here; `read_runs`, `metric_history` and `artifact_refs` are what
search, lineage and maintenance read. Names are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflowish.tracking.active import ActiveRun as ActiveRun
    from mlflowish.tracking.artifacts import Artifacts as Artifacts
    from mlflowish.tracking.comparing import compare_runs as compare_runs
    from mlflowish.tracking.exporting import ExportReport as ExportReport
    from mlflowish.tracking.exporting import export_runs as export_runs
    from mlflowish.tracking.fluent import delete_tag as delete_tag
    from mlflowish.tracking.fluent import log_artifact as log_artifact
    from mlflowish.tracking.fluent import log_artifacts as log_artifacts
    from mlflowish.tracking.fluent import log_dict as log_dict
    from mlflowish.tracking.fluent import log_figure as log_figure
    from mlflowish.tracking.fluent import log_image as log_image
    from mlflowish.tracking.fluent import log_input as log_input
    from mlflowish.tracking.fluent import log_metric as log_metric
    from mlflowish.tracking.fluent import log_metrics as log_metrics
    from mlflowish.tracking.fluent import log_param as log_param
    from mlflowish.tracking.fluent import log_params as log_params
    from mlflowish.tracking.fluent import log_table as log_table
    from mlflowish.tracking.fluent import log_text as log_text
    from mlflowish.tracking.fluent import set_tag as set_tag
    from mlflowish.tracking.fluent import set_tags as set_tags
    from mlflowish.tracking.folding import Artifact as Artifact
    from mlflowish.tracking.folding import Dataset as Dataset
    from mlflowish.tracking.folding import LoggedModel as LoggedModel
    from mlflowish.tracking.folding import RunRecord as RunRecord
    from mlflowish.tracking.lifecycle import active_run as active_run
    from mlflowish.tracking.lifecycle import delete_run as delete_run
    from mlflowish.tracking.lifecycle import end_run as end_run
    from mlflowish.tracking.lifecycle import get_run as get_run
    from mlflowish.tracking.lifecycle import restore_run as restore_run
    from mlflowish.tracking.lifecycle import set_experiment as set_experiment
    from mlflowish.tracking.lifecycle import start_run as start_run
    from mlflowish.tracking.points import metric_history as metric_history
    from mlflowish.tracking.points import read_points as read_points
    from mlflowish.tracking.reading import artifact_refs as artifact_refs
    from mlflowish.tracking.reading import find_run as find_run
    from mlflowish.tracking.reading import read_run as read_run
    from mlflowish.tracking.reading import read_runs as read_runs
    from mlflowish.tracking.run import Run as Run
    from mlflowish.tracking.search import Runs as Runs
    from mlflowish.tracking.search import search_runs as search_runs
    from mlflowish.tracking.syncing import SyncReport as SyncReport
    from mlflowish.tracking.syncing import sync as sync

FLUENT = (
    "active_run",
    "delete_run",
    "delete_tag",
    "end_run",
    "get_run",
    "log_artifact",
    "log_artifacts",
    "log_dict",
    "log_figure",
    "log_image",
    "log_input",
    "log_metric",
    "log_metrics",
    "log_param",
    "log_params",
    "log_table",
    "log_text",
    "restore_run",
    "set_experiment",
    "set_tag",
    "set_tags",
    "start_run",
)
_HOMES = {
    **{name: "fluent" if name.partition("_")[0] in ("log", "set", "delete") else "lifecycle" for name in FLUENT},
    **dict.fromkeys(["delete_run", "set_experiment"], "lifecycle"),
    **dict.fromkeys(["artifact_refs", "find_run", "read_run", "read_runs"], "reading"),
    **dict.fromkeys(["metric_history", "read_points"], "points"),
    **dict.fromkeys(["Artifact", "Dataset", "LoggedModel", "RunRecord"], "folding"),
    **dict.fromkeys(["ExportReport", "export_runs"], "exporting"),
    **dict.fromkeys(["SyncReport", "sync"], "syncing"),
    "ActiveRun": "active",
    "Artifacts": "artifacts",
    "Run": "run",
    "Runs": "search",
    "compare_runs": "comparing",
    "search_runs": "search",
}

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value
