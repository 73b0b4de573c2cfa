"""Calls as OpenLineage events, for catalogues that speak it: https://openlineage.io/spec/2-0-2/OpenLineage.json."""

from __future__ import annotations

import datetime
import uuid
from typing import TYPE_CHECKING, Any

from mlflowish.lineage import nodes
from mlflowish.lineage.calls import Known
from mlflowish.steps.parts import recall

if TYPE_CHECKING:
    from mlflowish.lineage.graph import Lineage

_SPEC = "https://openlineage.io/spec"
_EVENT = f"{_SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent"
_PRODUCER = "https://pypi.org/project/mlflowish"
_LANGUAGE = {"language": "python"}
_JOB = {"processingType": "BATCH", "integration": "MLFLOWISH", "jobType": "STEP"}


def events(lineage: Lineage, *, namespace: str, producer: str | None) -> list[dict[str, Any]]:
    """One COMPLETE event for each call, oldest first. Jobs are steps, runs are calls, datasets are values: named by
    the call that made them, or by their digest when they came from outside."""
    maker = producer or _PRODUCER
    return [_event(lineage, call, namespace, maker) for call in lineage.calls()]


def _event(lineage: Lineage, call: Known, namespace: str, producer: str) -> dict[str, Any]:
    meta = call.meta
    ended = datetime.datetime.fromtimestamp(call.created_s, tz=datetime.UTC)
    started = ended - datetime.timedelta(seconds=meta.duration_s)
    timing = {"nominalStartTime": _time(started), "nominalEndTime": _time(ended)}
    run: dict[str, Any] = {"nominalTime": _facet("NominalTimeRunFacet", "1-0-1", producer, timing)}
    job = {
        "jobType": _facet(
            "JobTypeJobFacet",
            "2-0-4",
            producer,
            {"processingType": "BATCH", "integration": "MLFLOWISH", "jobType": "STEP"},
        )
    }
    if source := _source(lineage, call):
        job["sourceCode"] = _facet("SourceCodeJobFacet", "1-0-1", producer, {**_LANGUAGE, "sourceCode": source})
    inputs = [edge.source for edge in nodes.sources(call)] + [node.id for node, _ in nodes.data(call)]
    return {
        "eventType": "COMPLETE",
        "eventTime": _time(ended),
        "producer": producer,
        "schemaURL": _EVENT,
        "run": {"runId": str(uuid.UUID(call.key)), "facets": run},
        "job": {"namespace": namespace, "name": meta.step, "facets": job},
        "inputs": [{"namespace": namespace, "name": name} for name in dict.fromkeys(inputs)],
        "outputs": [{"namespace": namespace, "name": f"call:{call.key}"}],
    }


def _source(lineage: Lineage, call: Known) -> str:
    """The text of the step's own function, as it was."""
    parts = recall(lineage.store, bytes.fromhex(call.meta.fingerprint)) or ()
    name = call.meta.step.rpartition(".")[2]
    return next((part.description for part in parts if part.label.rpartition(".")[2] == name), "")


def _facet(name: str, version: str, producer: str, fields: dict[str, Any]) -> dict[str, Any]:
    schema = f"{_SPEC}/facets/{version}/{name}.json#/$defs/{name}"
    return {"_producer": producer, "_schemaURL": schema, **fields}


def _time(moment: datetime.datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
