"""Pictures: what stands where."""

from __future__ import annotations

import itertools
import random

import networkx as nx
import pytest

from mlflowish.lineage.layout import lay_out


def random_graph(seed: int) -> nx.DiGraph:
    chance = random.Random(seed)
    graph = nx.DiGraph()
    graph.add_nodes_from(range(chance.randrange(1, 30)))
    for target in graph:
        for source in range(target):
            if chance.random() < 0.12:
                graph.add_edge(source, target)
    return graph


@pytest.mark.parametrize("seed", range(20))
def test_boxes_do_not_overlap_and_arrows_go_to_the_right(seed: int) -> None:
    graph = random_graph(seed)
    heights = {node: 30 + 10 * (node % 3) for node in graph}
    layout = lay_out(graph, heights.__getitem__, 6, 16)
    at = {point: number for number, column in enumerate(layout.columns) for point in column}
    assert sorted(point for point in at if point in graph) == sorted(graph)
    for source, target in graph.edges:
        assert [at[way] for way in layout.ways[source, target]] == list(range(at[source] + 1, at[target]))
    for column in layout.columns:
        for above, below in itertools.pairwise(column):
            assert layout.tops[below] - layout.tops[above] >= heights.get(above, 6) + 16 - 1e-6
    assert min(layout.tops.values()) == 0
    assert layout.height == pytest.approx(max(top + heights.get(point, 6) for point, top in layout.tops.items()))


def test_a_chain_is_a_straight_line_and_what_is_needed_late_stands_late() -> None:
    graph = nx.DiGraph([("a", "b"), ("b", "c"), ("c", "d"), ("late", "d")])
    layout = lay_out(graph, lambda _: 30, 6, 16)
    assert [set(column) for column in layout.columns] == [{"a"}, {"b"}, {"c", "late"}, {"d"}]
    assert layout.tops["a"] == layout.tops["b"]


def test_two_pairs_do_not_cross() -> None:
    graph = nx.DiGraph()
    graph.add_nodes_from(["a", "b", "x", "y"])
    graph.add_edges_from([("a", "y"), ("b", "x")])
    first, second = lay_out(graph, lambda _: 30, 6, 16).columns
    assert [first.index("a"), first.index("b")] == [second.index("y"), second.index("x")]


def test_a_cycle_of_records_is_drawn_all_the_same() -> None:
    layout = lay_out(nx.DiGraph([("a", "b"), ("b", "a")]), lambda _: 30, 6, 16)
    assert sorted(layout.tops) == ["a", "b"]
    assert layout.ways == {("a", "b"): [], ("b", "a"): []}
