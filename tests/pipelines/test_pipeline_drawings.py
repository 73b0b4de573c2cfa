"""Graphs of pipelines as text and pictures: every state by a colour and a mark, what is alike in one box."""

from __future__ import annotations

import doctest
import re
import xml.etree.ElementTree as ET

import pytest
from rich.console import Console

import mlflowish as mf
from mlflowish.pipelines import RunGraph
from mlflowish.pipelines.graph import PipelineGraph
from mlflowish.pipelines.marks import MARKS

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = 'a "quoted" <b>&\\ [x](y) ]) --> | \n end'


@pytest.fixture(autouse=True)
def store(tmp_path):
    with mf.Store(tmp_path / "store") as store:
        yield store


@mf.step
def load(name):
    return [1, 2, 3]


@mf.step
def work(x, k=0):
    if x == "fails":
        raise ValueError("no")
    return x


@mf.step
def total(xs):
    return xs


@mf.pipeline
def inner(rows):
    return total([rows])


@mf.pipeline
def outer(n: int, k: int = 0):
    rows = load("a")
    return total([work(i, k) for i in range(n)]), work.map(rows, k=k), inner(rows)


def every_state() -> PipelineGraph:
    graph = PipelineGraph(pipeline=HOSTILE)
    for number, state in enumerate(MARKS):
        graph.add_node(number, step=f"m.{state}", label=f"{state}{HOSTILE}", state=state, file=HOSTILE, line=1)
        graph.add_edge(number - 1, number) if number else None
    return graph


def test_what_is_alike_is_one_box_with_a_number() -> None:
    outer(6)
    graph = outer.graph(9)
    assert [label for _, label in graph.nodes(data="label")][:3] == ["load", "work", "work"]
    text = graph.to_tree()
    assert re.search(r"○ work ×9 +6 cached, 3 to run", text)
    assert re.search(r"\? total +unknown +← work ×9", text)
    assert re.search(r"↺ work.map ×3 +3 cached", text)
    assert re.search(r"└── inner\n +└── ↺ total +cached", text)
    assert graph.to_tree(folded=False).count(" work ") == 9


def test_a_few_that_are_alike_stand_for_themselves() -> None:
    assert outer.graph(4).to_tree().count("○ work  ") == 4


def test_steps_that_differ_in_what_goes_into_them_are_not_alike() -> None:
    @mf.pipeline
    def chain(n: int):
        value = load("a")
        for _ in range(n):
            value = work(value)
        return value

    assert len(ET.fromstring(chain.graph(8).to_svg()).findall(f".//{SVG}rect")) == 9


@pytest.mark.parametrize("state", MARKS)
def test_every_state_has_a_mark_and_a_colour_of_its_own_or_shares_only_one_of_them(state: str) -> None:
    mark = MARKS[state]
    assert [other.word for other in MARKS.values() if other.sign == mark.sign] == [state]
    assert [other.word for other in MARKS.values() if other.path == mark.path] == [state]
    assert (len(mark.sign), len(mark.plain), mark.plain.isascii()) == (1, 1, True)


def test_all_states_are_in_every_drawing_whatever_the_names_hold() -> None:
    graph = every_state()
    root = ET.fromstring(graph.to_svg())
    assert len(root.findall(f".//{SVG}rect")) == len(MARKS)
    paths = {path.get("d") for path in root.iter(f"{SVG}path")}
    assert {mark.path for mark in MARKS.values()} <= paths
    assert "<b>" not in graph._repr_html_()
    mermaid = graph.to_mermaid().splitlines()
    assert mermaid[0] == "flowchart LR"
    assert sum(line.strip().startswith("classDef") for line in mermaid) == len(MARKS)
    assert all(line.count('"') in (0, 2) for line in mermaid)
    assert all(mark.sign in graph.to_tree() for mark in MARKS.values())


@pytest.mark.filterwarnings("ignore::DeprecationWarning:pydot")  # it uses old names of its parser library
def test_dot_is_read_by_a_parser_of_the_language() -> None:
    import pydot

    outer(3)
    for graph in (outer.graph(7), every_state()):
        [parsed] = pydot.graph_from_dot_data(graph.to_dot(folded=False))
        nodes = [*parsed.get_nodes(), *(node for each in parsed.get_subgraphs() for node in each.get_nodes())]
        assert len(nodes) == len(graph)
        assert len(parsed.get_edges()) == len(graph.edges)


def test_a_nested_pipeline_is_framed() -> None:
    assert re.search(r"subgraph g1\[\"inner\"\]\n +n\d+.*total.*\n +end", outer.graph(3).to_mermaid())


def test_a_terminal_without_unicode_gets_other_marks(capsys) -> None:
    class Plain(Console):
        encoding = "ascii"

    Plain(width=100, color_system=None).print(every_state())
    shown = capsys.readouterr().out
    assert "x failed" in shown
    assert "✗" not in shown


def test_a_run_is_drawn_with_what_became_of_it() -> None:
    @mf.pipeline
    def partly(name: str):
        return work(work(name)), work.map(load("a"))

    seen = RunGraph()
    with pytest.raises(mf.StepError):
        partly.run("fails", observers=[seen])
    states = [(facts["label"], facts["state"], facts["items"]) for _, facts in seen.graph.nodes(data=True)]
    assert states == [
        ("work", "failed", {}),
        ("work", "skipped", {}),
        ("load", "done", {}),
        ("work.map", "done", {"done": 3}),
    ]
    assert list(seen.graph.edges) == [(0, 1), (2, 3)]
    assert "✗ work" in seen.graph.to_tree()


def test_arrows_of_a_run_go_through_gates_as_those_of_a_plan_do() -> None:
    @mf.pipeline
    def nested(name: str):
        return work(load(name))

    @mf.pipeline
    def gated(name: str):
        first = load(name)
        chosen = mf.when(work(first), lambda: work(load(first)), lambda: load(name))
        return work(mf.when(chosen, lambda: nested(chosen), "nothing")), work(nested(name))

    seen = RunGraph()
    gated.run("a", observers=[seen])
    planned = gated.graph("a")
    assert sorted(seen.graph.edges) == sorted(planned.edges)
    assert {(0, 1), (1, 3), (1, 5), (4, 9), (5, 9), (10, 13)} <= set(seen.graph.edges)
    assert all(seen.graph.nodes[number]["label"] == facts["label"] for number, facts in planned.nodes(data=True))


def test_a_graph_of_many_calls_is_small_when_drawn() -> None:
    svg = outer.graph(3_000).to_svg()
    assert len(svg) < 20_000
    assert "work ×3,000" in svg


def test_the_example_of_a_run_graph_says_what_happens() -> None:
    from mlflowish.pipelines import sketch

    found = doctest.testmod(sketch)
    assert (found.failed, found.attempted > 4) == (0, True)
