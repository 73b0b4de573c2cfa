"""`Lineage`: a graph of calls and data around what was asked for, to walk, to read and to draw."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from mlflowish.lineage import nodes
from mlflowish.lineage.calls import Calls, Known
from mlflowish.lineage.nodes import Edge, Node
from mlflowish.store import Store, Table

if TYPE_CHECKING:
    import networkx as nx

    from mlflowish.lineage.difference import LineageDifference

LIMIT = 10_000
Step = Callable[[str], Iterator[tuple[Node, Edge]]]


class Lineage:
    """Who made something, from what, and what was made of it.

    `graph` is a `networkx.DiGraph`: nodes are `call:<key>`, `data:<digest>` (what came from outside), `run:<id>` and
    names in the catalog, with `kind`, `label` and facts as attributes; an edge says that one went into the other, with
    the `role` of an argument. `roots` are the nodes that were asked for. Exact: two calls are joined only when the
    very object that one returned was given to the other, or when one ran inside the other; equal numbers join nothing.

    `truncated` is True when a walk stopped at its limit.
    """

    def __init__(self, calls: Calls, roots: Iterable[Node]) -> None:
        import networkx as nx

        self._calls = calls
        self._roots = tuple(roots)
        self.roots = tuple(node.id for node in self._roots)
        # What a run or a model says itself: the calls that it is made of.
        self._said: dict[str, tuple[str, ...]] = {node.id: node.made_by for node in self._roots}
        self.graph: nx.DiGraph = nx.DiGraph()
        self.truncated = False
        for node in self._roots:
            self._add(node)

    # -- walking -----------------------------------------------------------------------------------

    def upstream(self, *, limit: int = LIMIT, depth: int | None = None) -> Lineage:
        """What the roots were made from: at most `limit` nodes, at most `depth` edges away. A look-up each."""
        return self._walk(self._above, limit, depth)

    def downstream(self, *, limit: int = LIMIT, depth: int | None = None) -> Lineage:
        """What was made of the roots, up to models in the registry. A look-up each; a store that has calls from before
        these could be looked up is read as a whole."""
        return self._walk(self._below(), limit, depth)

    def _walk(self, step: Step, limit: int, depth: int | None) -> Lineage:
        found = Lineage(self._calls, self._roots)
        waiting = deque((root, 0) for root in self.roots)
        seen = set(self.roots)
        while waiting:
            at, far = waiting.popleft()
            if depth is not None and far >= depth:
                continue
            for node, edge in step(at):
                if node.id not in seen:
                    if len(seen) >= limit:
                        found.truncated = True
                        continue
                    seen.add(node.id)
                    waiting.append((node.id, far + 1))
                    found._add(node)
                found.graph.add_edge(edge.source, edge.target, role=edge.role)
        return found

    def _above(self, node_id: str) -> Iterator[tuple[Node, Edge]]:
        kind, _, name = node_id.partition(":")
        if kind != "call":
            yield from self._made_of(node_id)
        elif (call := self._calls.get(name)) is not None:
            for edge in nodes.sources(call):
                yield self._call(edge.source.removeprefix("call:")), edge
            yield from nodes.data(call)

    def _below(self) -> Step:
        made: dict[str, list[Node]] = {}
        for node in nodes.made_by(self._calls):
            for key in node.made_by:
                made.setdefault(key, []).append(node)

        def below(node_id: str) -> Iterator[tuple[Node, Edge]]:
            kind, _, name = node_id.partition(":")
            if kind == "data":
                for call in self._known(self._calls.given(name)):
                    for _, edge in nodes.data(call):
                        if edge.source == node_id:
                            yield nodes.call_node(call), edge
            elif kind == "call":
                for call in self._known(self._calls.users(name)):
                    for edge in nodes.sources(call):
                        if edge.source == node_id:
                            yield nodes.call_node(call), edge
                for node in made.get(name, ()):
                    yield node, Edge(node_id, node.id, "made")
            else:
                yield from self._made_of(node_id)

        return below

    def _made_of(self, node_id: str) -> Iterator[tuple[Node, Edge]]:
        """The calls that a run or a model is made of: the way up from it, and where the way down from it begins."""
        role = "call" if node_id.startswith("run:") else "made"
        for key in self._said.get(node_id, ()):
            yield self._call(key), Edge(f"call:{key}", node_id, role)

    def _known(self, keys: Iterable[str]) -> Iterator[Known]:
        return (call for key in keys if (call := self._calls.get(key)) is not None)

    def _call(self, key: str) -> Node:
        call = self._calls.get(key)
        return nodes.call_node(call) if call is not None else nodes.lost_call(key)

    def _add(self, node: Node) -> None:
        self.graph.add_node(node.id, kind=node.kind, label=node.label, **node.facts)

    # -- reading -----------------------------------------------------------------------------------

    @property
    def store(self) -> Store:
        """The store that it was read from."""
        return self._calls.store

    def calls(self) -> list[Known]:
        """The stored calls of the graph, oldest first."""
        found = [self._calls.get(name["key"]) for _, name in self.graph.nodes(data=True) if name["kind"] == "call"]
        return sorted((call for call in found if call is not None), key=lambda call: call.created_s)

    def code(self) -> Table:
        """What the calls depended on in code: step, kind, name, digest, and source text or value."""
        from mlflowish.steps.parts import recall

        rows: dict[tuple[str, str, str, str], tuple[str, ...]] = {}
        for call in self.calls():
            for part in recall(self.store, bytes.fromhex(call.meta.fingerprint)) or ():
                row = (call.meta.step, part.kind, part.label, part.digest, part.description)
                rows.setdefault(row[:4], row)
        return Table(("step", "kind", "name", "digest", "text"), list(rows.values()))

    def data(self) -> Table:
        """What came from outside of the calls: its digest, its description, the step and the argument that it went
        into."""
        rows = [
            (facts["digest"], facts["description"], self.graph.nodes[target]["step"], edge["role"])
            for node, facts in self.graph.nodes(data=True)
            if facts["kind"] == "data"
            for _, target, edge in self.graph.out_edges(node, data=True)
        ]
        return Table(("digest", "description", "step", "argument"), rows)

    def diff(self, other: Lineage) -> LineageDifference:
        """Why two results differ: code, parameters, data and packages of the calls behind them, step by step."""
        from mlflowish.lineage.difference import difference

        return difference(self, other)

    # -- drawing -----------------------------------------------------------------------------------

    def to_mermaid(self) -> str:
        """The graph as the text of a Mermaid flowchart."""
        from mlflowish.lineage.drawing import mermaid

        return mermaid(self.graph, self.roots)

    def to_dot(self) -> str:
        """The graph in Graphviz' DOT language."""
        from mlflowish.lineage.drawing import dot

        return dot(self.graph, self.roots)

    def to_svg(self) -> str:
        """The graph as a self-contained SVG picture, for light and dark pages."""
        from mlflowish.lineage.picture import svg

        return svg(self.graph, self.roots)

    def to_openlineage(self, *, namespace: str = "mlflowish", producer: str | None = None) -> list[dict[str, Any]]:
        """The calls as OpenLineage run events (https://openlineage.io/spec/2-0-2/OpenLineage.json), oldest first."""
        from mlflowish.lineage.openlineage import events

        return events(self, namespace=namespace, producer=producer)

    def __len__(self) -> int:
        return len(self.graph)

    def __contains__(self, node_id: object) -> bool:
        return node_id in self.graph

    def __repr__(self) -> str:
        kinds: dict[str, int] = {}
        for _, facts in self.graph.nodes(data=True):
            kinds[facts["kind"]] = kinds.get(facts["kind"], 0) + 1
        counted = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        return f"Lineage({', '.join(self.roots)}: {counted}{', truncated' if self.truncated else ''})"

    def _repr_html_(self) -> str:
        return f'<div style="overflow-x:auto">{self.to_svg()}</div>'
