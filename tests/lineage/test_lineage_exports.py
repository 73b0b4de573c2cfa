"""Lineage as pictures and as events that other systems read."""

from __future__ import annotations

import re
import uuid
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import job_type_job, nominal_time_run, source_code_job

import mlflowish as mf


def unversioned(schema):
    """A newer client knows newer versions of the same schemas."""
    return re.sub(r"/\d+-\d+-\d+/", "/", schema)


HOSTILE = 'a "quoted" <b>&\\ [x](y) ]) --> | \n end'


@pytest.fixture(autouse=True)
def store(tmp_path):
    with mf.Store(tmp_path / "store") as store:
        yield store


@mf.step
def load(n):
    return np.arange(n, dtype="float64")


@mf.step
def train(rows, note, given):
    return {"weights": rows}


@pytest.fixture
def lineage():
    return mf.lineage.of(train.call(load(3), HOSTILE, np.ones(2)))


def test_mermaid_names_every_node_and_edge(lineage):
    text = lineage.to_mermaid()
    lines = text.splitlines()
    assert lines[0] == "flowchart LR"
    assert sum("-->" in line for line in lines) == 2
    assert sum(line.strip().startswith("n") for line in lines) == 3 + 2


def test_hostile_text_cannot_leave_its_quotes(lineage):
    for line in lineage.to_mermaid().splitlines()[1:]:
        assert line.count('"') in (0, 2)
    assert "<b>" not in lineage.to_svg()


@pytest.mark.filterwarnings("ignore::DeprecationWarning:pydot")  # it uses old names of its parser library
def test_dot_is_read_by_a_parser_of_the_language(lineage):
    import pydot

    [graph] = pydot.graph_from_dot_data(lineage.to_dot())
    assert len(graph.get_edges()) == 2
    assert len(graph.get_nodes()) == 3


def test_the_picture_is_one_well_formed_svg_with_a_box_for_each_node(lineage):
    root = ET.fromstring(lineage.to_svg())
    boxes = root.findall(".//{http://www.w3.org/2000/svg}rect")
    assert len(boxes) == 3
    assert lineage.to_svg() in lineage._repr_html_()


def test_a_large_graph_is_drawn_in_part_and_says_so():
    @mf.step
    def grown(rows):
        return rows + 1

    rows = load(2)
    for _ in range(230):
        rows = grown(rows)
    assert "31 more nodes" in mf.lineage.of(rows).to_svg()


def test_events_are_those_of_the_client_of_openlineage(lineage):
    events = lineage.to_openlineage(namespace="lab")
    assert [event["job"]["name"].rpartition(".")[2] for event in events] == ["load", "train"]
    for event in events:
        facets = event["run"]["facets"]["nominalTime"], event["job"]["facets"]["jobType"]
        time = nominal_time_run.NominalTimeRunFacet(facets[0]["nominalStartTime"], facets[0]["nominalEndTime"])
        kind = job_type_job.JobTypeJobFacet("BATCH", "MLFLOWISH", "STEP")
        code = source_code_job.SourceCodeJobFacet("python", event["job"]["facets"]["sourceCode"]["sourceCode"])
        assert unversioned(time._schemaURL) == unversioned(facets[0]["_schemaURL"])
        assert unversioned(kind._schemaURL) == unversioned(facets[1]["_schemaURL"])
        assert unversioned(code._schemaURL) == unversioned(event["job"]["facets"]["sourceCode"]["_schemaURL"])
        built = RunEvent(
            eventTime=event["eventTime"],
            run=Run(event["run"]["runId"]),
            job=Job("lab", event["job"]["name"]),
            producer=event["producer"],
            eventType=RunState[event["eventType"]],
            inputs=[InputDataset(**each) for each in event["inputs"]],
            outputs=[OutputDataset(**each) for each in event["outputs"]],
        )
        assert unversioned(built.schemaURL) == unversioned(event["schemaURL"])
        assert uuid.UUID(event["run"]["runId"]).hex in event["outputs"][0]["name"]


def test_an_event_names_the_call_that_its_input_is_from(lineage):
    first, second = lineage.to_openlineage()
    assert first["outputs"][0] in second["inputs"]
    assert "def load" in first["job"]["facets"]["sourceCode"]["sourceCode"]
