"""A graph of a pipeline for a terminal: a line for each call in the order of the body, nested pipelines as branches."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from mlflowish.pipelines.folding import drawn, seconds
from mlflowish.pipelines.marks import UNKNOWN, mark_of

if TYPE_CHECKING:
    import networkx as nx
    from rich.text import Text
    from rich.tree import Tree

_MOST = 200
_NEEDS = 4
_WIDEST_LABEL, _WIDEST_STATE = 40, 30


def outline(graph: nx.DiGraph, title: str, *, folded: bool = True, signs: bool = True) -> Tree:
    """The tree, for rich. `signs=False` for terminals that only know ASCII."""
    from rich.text import Text
    from rich.tree import Tree

    boxes = drawn(graph, folded=folded)
    rows = [facts for _, facts in boxes.nodes(data=True)]
    widths = tuple(
        min(max((len(text(facts)) for facts in rows[:_MOST]), default=0), widest)
        for text, widest in ((_label, _WIDEST_LABEL), (_state, _WIDEST_STATE))
    )
    tree = Tree(Text(title, style="bold"), guide_style="bright_black")
    branch, group = tree, ""
    for facts in rows[:_MOST]:
        if facts["group"] != group:
            group = facts["group"]
            branch = tree.add(Text(group, style="bold")) if group else tree
        branch.add(_line(facts, widths, signs))
    if len(rows) > _MOST:
        tree.add(Text(f"and {len(rows) - _MOST:,} more", style="bright_black"))
    return tree


def outline_text(graph: nx.DiGraph, title: str, *, folded: bool = True) -> str:
    """The same as plain text."""
    from rich.console import Console

    page = io.StringIO()
    console = Console(file=page, width=10_000, color_system=None, force_jupyter=False, highlight=False)
    console.print(outline(graph, title, folded=folded))
    return "\n".join(line.rstrip() for line in page.getvalue().splitlines()) + "\n"


def _label(facts: dict[str, Any]) -> str:
    return str(facts["label"])


def _state(facts: dict[str, Any]) -> str:
    return str(facts["told"] if sum(facts["counts"].values()) > 1 else facts["state"])


def _line(facts: dict[str, Any], widths: tuple[int, ...], signs: bool) -> Text:
    from rich.text import Text

    mark = mark_of(facts["state"])
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(mark.sign if signs else mark.plain, style=mark.colour).append(f" {_label(facts):<{widths[0]}}  ")
    line.append(f"{_state(facts):<{widths[1]}}", style=mark.colour)
    took = facts["duration_s"]
    line.append(f" {seconds(took) if took is not None else '':>10}", style="bright_black")
    if facts["needs"]:
        needs = ", ".join(facts["needs"][:_NEEDS]) + (", ..." if len(facts["needs"]) > _NEEDS else "")
        line.append(f"  {'←' if signs else '<-'} {needs}", style="bright_black")
    if facts["reason"] and facts["state"] != UNKNOWN:  # that is what the arrow says
        line.append(f"  {facts['reason']}", style="bright_black")
    line.rstrip()
    return line
