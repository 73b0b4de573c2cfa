"""A graph of a pipeline as it is drawn: calls that are alike, as those of a loop or a `map`, are one box."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

from mlflowish.pipelines.marks import ORDER, TO_RUN, counted

if TYPE_CHECKING:
    import networkx as nx

FOLDED_FROM = 5  # alike calls; fewer are drawn one by one
_WORDS = {"hit": "cached", "run": TO_RUN}


def drawn(graph: nx.DiGraph, *, folded: bool = True) -> nx.DiGraph:
    """The boxes and arrows for a graph of `Pipeline.graph`, with the facts that drawings know: `kind`, `label`, `state`
    (the words of `marks`), `note`, `tip`, `group`, `many`; `needs` are the labels of what goes into it.

    Calls are alike when they are of one step and what goes into them is alike. Linear in the graph.
    """
    import networkx as nx

    boxes = _boxes(graph) if folded else {node: (node,) for node in graph}
    box_of = {node: box for box, nodes in boxes.items() for node in nodes}
    made = nx.DiGraph()
    for box, nodes in boxes.items():
        made.add_node(box, **_facts(graph, nodes))
    for source, target in graph.edges:
        if box_of[source] != box_of[target]:
            made.add_edge(box_of[source], box_of[target], role="")
    for box in made:
        made.nodes[box]["needs"] = [made.nodes[source]["label"] for source in made.predecessors(box)]
    return made


def _boxes(graph: nx.DiGraph) -> dict[Hashable, tuple[Hashable, ...]]:
    """The nodes of each box, named by the first of them."""
    kinds: dict[Any, int] = {}
    kind_of: dict[Hashable, int] = {}
    alike: dict[int, list[Hashable]] = {}
    for node, facts in graph.nodes(data=True):  # in the order of the body: what goes into a node was there before it
        above = frozenset(kind_of.get(source, -1) for source in graph.predecessors(node))
        kind = kinds.setdefault((facts.get("step"), facts.get("pipeline", ""), above), len(kinds))
        kind_of[node] = kind
        alike.setdefault(kind, []).append(node)
    boxes: dict[Hashable, tuple[Hashable, ...]] = {}
    for node in graph:
        nodes = alike[kind_of[node]]
        if len(nodes) < FOLDED_FROM:
            boxes[node] = (node,)
        elif node == nodes[0]:
            boxes[node] = tuple(nodes)
    return boxes


def _facts(graph: nx.DiGraph, nodes: tuple[Hashable, ...]) -> dict[str, Any]:
    first = graph.nodes[nodes[0]]
    counts: dict[str, int] = {}
    for node in nodes:
        facts = graph.nodes[node]
        for state, count in (facts.get("items") or {facts.get("state", "unknown"): 1}).items():
            word = _WORDS.get(state, state)
            counts[word] = counts.get(word, 0) + count
    calls = sum(counts.values())
    label = str(first.get("label", nodes[0]))
    if len(nodes) > 1:
        label = label.partition("[")[0]
    durations = [took for node in nodes if (took := graph.nodes[node].get("duration_s")) is not None]
    took_s = sum(durations) if durations else None
    is_many = calls > 1 or label.endswith(".map")
    state = next((each for each in ORDER if counts.get(each)), _WORDS.get(first.get("state"), "unknown"))
    group = str(first.get("pipeline", "")).rpartition(".")[2]
    told = counted(counts) if calls > 1 else "" if took_s is None else seconds(took_s)
    return {
        "kind": "call",
        "label": f"{label} ×{calls:,}" if calls > 1 else label,
        "state": state,
        "counts": counts,
        "told": told,
        "note": " · ".join(filter(None, (group, told))),
        "duration_s": took_s,
        "tip": _tip(first, label, counts, took_s),
        "group": group,
        "many": is_many,
        "reason": first.get("reason", "") if len(nodes) == 1 else "",
    }


def _tip(first: dict[str, Any], label: str, counts: dict[str, int], took_s: float | None) -> str:
    lines = [f"{first.get('step', label)}: {counted(counts)}"]
    if took_s is not None:
        lines.append(f"took {seconds(took_s)}")
    if first.get("file"):
        lines.append(f"{first['file']}, line {first.get('line', '?')}")
    if first.get("reason"):
        lines.append(str(first["reason"]))
    return "\n".join(lines)


def seconds(value: float) -> str:
    """A duration that was measured: `12 ms`, `4.1 s`, `2 min 5 s`."""
    if value < 1:
        return f"{value * 1e3:.1f} ms" if value < 0.01 else f"{value * 1e3:.0f} ms"
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
