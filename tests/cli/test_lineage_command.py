"""`mlflowish lineage`, as it is typed."""

from collections.abc import Callable
from pathlib import Path

import pytest
from command_runs import Runner

SCRIPT = """
import sys
from pathlib import Path
import mlflowish as mf

@mf.step
def load(file):
    return Path(file).read_text().split()

@mf.step
def count(words, least=1):
    return {word: words.count(word) for word in words if words.count(word) >= least}

with mf.start_run("counting"):
    call = count.call(load(mf.File("words.txt")), least=2)
mf.register_model("words", call.value, stage="production")
print(call.key)
"""


@pytest.fixture
def chained(tmp_path: Path, left_by: Callable[..., str]) -> str:
    return left_by(SCRIPT, tmp_path, name="chain.py", files={"words.txt": "a b a"})


def test_the_tree_shows_what_a_result_was_made_from(mlflowish: Runner, chained: str) -> None:
    out = mlflowish("lineage", chained[:8]).out
    assert [out.index(word) for word in ("count(least=2)", "words: load", "file: File")] == sorted(
        out.index(word) for word in ("count(least=2)", "words: load", "file: File")
    )


def test_a_file_leads_to_what_was_made_of_it(mlflowish: Runner, chained: str) -> None:
    document = mlflowish("lineage", "words.txt", "--down", "--json").document
    assert {node["label"] for node in document["nodes"] if node["kind"] == "call"} == {"load", "count"}
    assert {edge["role"] for edge in document["edges"]} == {"file", "words", "made"}


@pytest.mark.parametrize(("form", "begins"), [("mermaid", "flowchart LR"), ("dot", "digraph"), ("svg", "<svg")])
def test_it_prints_what_other_tools_draw(mlflowish: Runner, chained: str, form: str, begins: str) -> None:
    assert mlflowish("lineage", chained, "--as", form).out.startswith(begins)


def test_openlineage_is_a_list_of_events(mlflowish: Runner, chained: str) -> None:
    events = mlflowish("lineage", chained, "--as", "openlineage").document
    assert [event["eventType"] for event in events] == ["COMPLETE", "COMPLETE"]


def test_a_model_leads_to_what_it_was_made_from(mlflowish: Runner, chained: str) -> None:
    document = mlflowish("lineage", "models:/words/production", "--json").document
    assert [node["label"] for node in document["nodes"]] == ["words 1", "count", "load", "File('words.txt')"]


def test_a_file_leads_to_the_models_that_saw_it(mlflowish: Runner, chained: str) -> None:
    document = mlflowish("lineage", "words.txt", "--down", "--json").document
    assert [node["label"] for node in document["nodes"] if node["kind"] == "model"] == ["words 1"]


def test_a_run_is_known_by_its_name(mlflowish: Runner, chained: str) -> None:
    document = mlflowish("lineage", "counting", "--json").document
    assert document["nodes"][0]["label"] == "counting"
    assert {node["label"] for node in document["nodes"] if node["kind"] == "call"} == {"load", "count"}


def test_a_name_that_nothing_has_is_refused_with_the_names_there_are(mlflowish: Runner, chained: str) -> None:
    assert "the nearest are counting" in mlflowish("lineage", "countin").err


def test_depth_stops_early(mlflowish: Runner, chained: str) -> None:
    assert len(mlflowish("lineage", chained, "--depth", "1", "--json").document["nodes"]) == 2


@pytest.mark.parametrize("what", ["00112233445566778899aabbccddeeff", "nonsense", "abcd"])
def test_what_is_not_known_is_one_message(mlflowish: Runner, chained: str, what: str) -> None:
    done = mlflowish("lineage", what)
    assert done.code == 1
    assert "Traceback" not in done.err
