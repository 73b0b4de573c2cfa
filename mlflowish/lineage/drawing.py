"""Graphs as text that other tools draw: Mermaid and Graphviz' DOT."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import networkx as nx

_MERMAID = {"call": ("([", "])"), "data": ("[(", ")]"), "run": ("{{", "}}")}
_DOT = {"call": "box", "data": "cylinder", "run": "hexagon"}
_LONGEST = 60


def mermaid(graph: nx.DiGraph, roots: Sequence[str]) -> str:
    """A Mermaid flowchart, left to right; roots are bold."""
    names = {node: f"n{number}" for number, node in enumerate(graph)}
    lines = ["flowchart LR"]
    for node, facts in graph.nodes(data=True):
        opening, closing = _MERMAID.get(facts["kind"], ("[[", "]]"))
        lines.append(f'    {names[node]}{opening}"{_mermaid_text(caption(facts))}"{closing}')
    for source, target, facts in graph.edges(data=True):
        lines.append(f'    {names[source]} -->|"{_mermaid_text(facts["role"])}"| {names[target]}')
    lines += [f"    style {names[root]} stroke-width:3px" for root in roots]
    return "\n".join(lines) + "\n"


def dot(graph: nx.DiGraph, roots: Sequence[str]) -> str:
    """A digraph in the DOT language, left to right; roots are bold."""
    lines = ["digraph lineage {", "    rankdir=LR;"]
    for node, facts in graph.nodes(data=True):
        style = ", penwidth=3" if node in roots else ""
        shape = _DOT.get(facts["kind"], "component")
        lines.append(f"    {_dot_text(node)} [label={_dot_text(caption(facts))}, shape={shape}{style}];")
    for source, target, facts in graph.edges(data=True):
        lines.append(f"    {_dot_text(source)} -> {_dot_text(target)} [label={_dot_text(facts['role'])}];")
    return "\n".join([*lines, "}"]) + "\n"


def caption(facts: dict[str, Any]) -> str:
    """What stands in a node: its label, and what a call was told."""
    told = ", ".join(f"{name}={text}" for name, text in facts.get("parameters", {}).items())
    text = f"{facts['label']}({told})" if facts["kind"] == "call" else str(facts["label"])
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _mermaid_text(text: str) -> str:
    # Mermaid reads entities inside quoted text; everything that it could take for syntax becomes one.
    return "".join(char if char.isalnum() or char in " _.,:/=+-…" else f"#{ord(char)};" for char in text)


def _dot_text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
