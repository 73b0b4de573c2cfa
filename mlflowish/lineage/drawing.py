"""Graphs as text that other tools draw: Mermaid and Graphviz' DOT."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import networkx as nx

_MERMAID = {"call": ("([", "])"), "data": ("[(", ")]"), "run": ("{{", "}}")}
_DOT = {"call": "box", "data": "cylinder", "run": "hexagon"}
_LONGEST = 60


class Look(Protocol):
    """How nodes in a state are drawn: `rgb` is "46,160,67"; `sign` one character; `path` the same as an SVG path in a
    field of 12 by 12."""

    @property
    def rgb(self) -> str: ...
    @property
    def sign(self) -> str: ...
    @property
    def path(self) -> str: ...


Looks = Mapping[str, Look]
"""By `state`, which a node may have among its facts."""


def mermaid(graph: nx.DiGraph, roots: Sequence[Hashable], looks: Looks | None = None) -> str:
    """A Mermaid flowchart, left to right; roots are bold. Nodes with the same `group` among their facts are framed."""
    names = {node: f"n{number}" for number, node in enumerate(graph)}
    looks = looks or {}
    lines = ["flowchart LR"]
    for number, (group, nodes) in enumerate(grouped(graph)):
        if group:
            lines.append(f'    subgraph g{number}["{_mermaid_text(group)}"]')
        for node in nodes:
            facts = graph.nodes[node]
            opening, closing = _MERMAID.get(facts["kind"], ("[[", "]]"))
            lines.append(f'    {names[node]}{opening}"{_mermaid_text(_signed(facts, looks))}"{closing}')
        if group:
            lines.append("    end")
    for source, target, facts in graph.edges(data=True):
        role = f'|"{_mermaid_text(facts["role"])}"|' if facts.get("role") else ""
        lines.append(f"    {names[source]} -->{role} {names[target]}")
    for state, nodes in _by_state(graph, looks).items():
        colour = _hex(looks[state].rgb)
        lines.append(f"    classDef {_word(state)} fill:{colour}2e,stroke:{colour}")
        lines.append(f"    class {','.join(names[node] for node in nodes)} {_word(state)}")
    lines += [f"    style {names[root]} stroke-width:3px" for root in roots]
    return "\n".join(lines) + "\n"


def dot(graph: nx.DiGraph, roots: Sequence[Hashable], looks: Looks | None = None, *, name: str = "lineage") -> str:
    """A digraph in the DOT language, left to right; roots are bold. Groups as in `mermaid`."""
    looks = looks or {}
    lines = [f"digraph {_dot_text(name)} {{", "    rankdir=LR;"]
    for number, (group, nodes) in enumerate(grouped(graph)):
        if group:
            lines.append(f"    subgraph cluster_{number} {{ label={_dot_text(group)};")
        for node in nodes:
            facts = graph.nodes[node]
            style = ", penwidth=3" if node in roots else ""
            if (look := looks.get(facts.get("state", ""))) is not None:
                colour = _hex(look.rgb)
                style += f', style="filled,rounded", color="{colour}", fillcolor="{colour}2e"'
            shape = _DOT.get(facts["kind"], "component")
            label = _dot_text(_signed(facts, looks))
            lines.append(f"    {_dot_text(str(node))} [label={label}, shape={shape}{style}];")
        if group:
            lines.append("    }")
    for source, target, facts in graph.edges(data=True):
        role = f" [label={_dot_text(facts['role'])}]" if facts.get("role") else ""
        lines.append(f"    {_dot_text(str(source))} -> {_dot_text(str(target))}{role};")
    return "\n".join([*lines, "}"]) + "\n"


def caption(facts: dict[str, Any]) -> str:
    """What stands in a node: its label, and what a call was told."""
    told = ", ".join(f"{name}={text}" for name, text in facts.get("parameters", {}).items())
    text = f"{facts['label']}({told})" if "parameters" in facts and facts["kind"] == "call" else str(facts["label"])
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def grouped(graph: nx.DiGraph) -> Iterator[tuple[str, list[Hashable]]]:
    """Nodes by their `group`, in the order of their first; those without one under ""."""
    groups: dict[str, list[Hashable]] = {}
    for node, facts in graph.nodes(data=True):
        groups.setdefault(facts.get("group", ""), []).append(node)
    yield from groups.items()


def _signed(facts: dict[str, Any], looks: Looks) -> str:
    look = looks.get(facts.get("state", ""))
    return caption(facts) if look is None else f"{look.sign} {caption(facts)}"


def _by_state(graph: nx.DiGraph, looks: Looks) -> dict[str, list[Hashable]]:
    states: dict[str, list[Hashable]] = {}
    for node, facts in graph.nodes(data=True):
        if facts.get("state") in looks:
            states.setdefault(facts["state"], []).append(node)
    return states


def _word(state: str) -> str:
    return "".join(char for char in state.title() if char.isalnum())


def _hex(rgb: str) -> str:
    return "#" + "".join(f"{int(part):02x}" for part in rgb.split(","))


def _mermaid_text(text: str) -> str:
    # Mermaid reads entities inside quoted text; everything that it could take for syntax becomes one.
    return "".join(char if char.isalnum() or char in " _.,:/=+-…" else f"#{ord(char)};" for char in text)


def _dot_text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
