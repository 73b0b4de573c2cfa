"""The command that shows who made what, from what."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from mlflowish.addresses import is_address
from mlflowish.cli.entries import by_prefix, run_named
from mlflowish.cli.options import Location, json_option, look_up_options
from mlflowish.cli.printing import console, print_json
from mlflowish.errors import NotFoundError

if TYPE_CHECKING:
    from rich.tree import Tree

    from mlflowish.lineage import Lineage
    from mlflowish.store import Store

_FORMS = ("tree", "mermaid", "dot", "svg", "openlineage")


@click.command()
@click.argument("what")
@click.option("--down", is_flag=True, help="What was made of it, instead of what it was made from.")
@click.option("--depth", type=click.IntRange(0), help="How far to go; everything by default.")
@click.option("--as", "form", type=click.Choice(_FORMS), default="tree", help="How to print it.")
@look_up_options
@json_option
def lineage(what: str, down: bool, depth: int | None, form: str, location: Location, as_json: bool) -> None:
    """Who made what, from what.

    WHAT: the key of a call or the first digits of it, the digest of a value, the id or name of a run, a model such as
    models:/churn/3, or the path of a file.
    """
    store = location.open()
    found = _lineage(store, what)
    found = found.downstream(depth=depth) if down else found.upstream(depth=depth)
    if as_json:
        print_json({"store": store.url, **_document(found)})
    elif form == "tree":
        console().print(_tree(found, down=down))
        if found.truncated:
            console().print("... and more")
    elif form == "openlineage":
        print_json(found.to_openlineage())
    else:
        print({"mermaid": found.to_mermaid, "dot": found.to_dot, "svg": found.to_svg}[form]().rstrip("\n"))


def _lineage(store: Store, what: str) -> Lineage:
    from mlflowish.lineage import of
    from mlflowish.store import File

    if os.path.isfile(what):
        return of(File(what), store=store)
    try:
        return of(what, store=store)
    except NotFoundError:
        if is_address(what):
            raise  # of what it names, which is neither a run nor a call
        run = run_named(store, what)
        return of(by_prefix(store, what)[0].key.hex() if run is None else run, store=store)


def _document(found: Lineage) -> dict[str, Any]:
    nodes = [{"id": node, **facts} for node, facts in found.graph.nodes(data=True)]
    edges = [{"from": a, "to": b, "role": facts["role"]} for a, b, facts in found.graph.edges(data=True)]
    return {"roots": list(found.roots), "nodes": nodes, "edges": edges, "truncated": found.truncated}


def _tree(found: Lineage, *, down: bool) -> Tree:
    """A branch for each way from a root; a node that was shown already is named, and not opened again."""
    from rich.markup import escape
    from rich.tree import Tree

    from mlflowish.lineage.drawing import caption

    graph = found.graph
    whole = Tree("[bold]made of it[/]" if down else "[bold]made from[/]", hide_root=len(found.roots) == 1)
    waiting = [(whole, root, "") for root in reversed(found.roots)]
    shown: set[str] = set()
    while waiting:
        branch, node, role = waiting.pop()
        text = escape(caption(graph.nodes[node]))
        is_known = node in shown
        shown.add(node)
        detail = f"[dim]{escape(role)}:[/] " if role else ""
        leaf = branch.add(f"{detail}{text}[dim]{' (above)' if is_known else ''}  {escape(_short(node))}[/]")
        if not is_known:
            near = graph.out_edges(node, data=True) if down else graph.in_edges(node, data=True)
            waiting += [(leaf, b if down else a, facts["role"]) for a, b, facts in reversed(list(near))]
    return whole


def _short(node: str) -> str:
    kind, colon, name = node.partition(":")
    return f"{kind} {name[:12]}" if colon else node
