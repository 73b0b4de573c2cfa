"""networkx graphs: attributes, nodes and adjacency in their order, in which algorithms visit them."""

from __future__ import annotations

from typing import Any

from mlflowish.hashing.instances import attributes_part
from mlflowish.hashing.tree import Expand, Walk
from mlflowish.hashing.writer import Node, head

# Views and caches that networkx keeps in the instance, and what is digested on its own.
_DERIVED = frozenset(
    {"adj", "succ", "pred", "nodes", "edges", "degree", "in_edges", "out_edges", "in_degree", "out_degree", "name"}
    | {"graph", "_adj", "_succ", "_pred", "_node", "__networkx_cache__"}
)
_STEPS = (".graph", ".nodes", ".adj", ".pred", "")


def expander_for(cls: type) -> Expand | None:
    """The expander for graphs."""
    import networkx as nx

    return _graph if issubclass(cls, nx.Graph) else None


def _graph(value: Any, walk: Walk) -> Node:
    nodes = {node: dict(data) for node, data in value._node.items()}
    if value.is_multigraph():
        links = {
            u: {v: {key: dict(data) for key, data in keys.items()} for v, keys in near.items()}
            for u, near in value._adj.items()
        }
    else:
        links = {u: {v: dict(data) for v, data in near.items()} for u, near in value._adj.items()}
    before = {node: list(near) for node, near in value._pred.items()} if value.is_directed() else None
    own = {name: part for name, part in vars(value).items() if name not in _DERIVED}
    parts = (dict(value.graph), nodes, links, before, attributes_part(own))
    return Node(head("graph", *walk.identity(type(value))), parts, _STEPS.__getitem__)
