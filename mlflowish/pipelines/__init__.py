"""Pipelines: functions that call steps, as graphs: planned, run in parallel, redone where stale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlflowish.pipelines.decorator import pipeline, when
from mlflowish.pipelines.definition import Pipeline
from mlflowish.pipelines.endings import Ending, Failure, on_exit
from mlflowish.pipelines.nodes import Node
from mlflowish.pipelines.observing import Change, NodeInfo, Observer

if TYPE_CHECKING:
    from mlflowish.pipelines.graph import PipelineGraph
    from mlflowish.pipelines.plan import Plan, PlannedNode
    from mlflowish.pipelines.running import PipelineRun
    from mlflowish.pipelines.sketch import RunGraph

__all__ = [
    "Change",
    "Ending",
    "Failure",
    "Node",
    "NodeInfo",
    "Observer",
    "Pipeline",
    "PipelineGraph",
    "PipelineRun",
    "Plan",
    "PlannedNode",
    "RunGraph",
    "on_exit",
    "pipeline",
    "when",
]

_HOMES = {
    "PipelineGraph": "graph",
    "PipelineRun": "running",
    "Plan": "plan",
    "PlannedNode": "plan",
    "RunGraph": "sketch",
}


def __getattr__(name: str) -> Any:
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
