"""From whatever a user holds to the nodes that it means."""

from __future__ import annotations

import re
from typing import Any

from mlflowish.addresses import named
from mlflowish.errors import InvalidInputError, NotFoundError
from mlflowish.lineage import nodes
from mlflowish.lineage.calls import Calls
from mlflowish.lineage.graph import LIMIT, Lineage
from mlflowish.lineage.nodes import Node
from mlflowish.store import Store, as_store

_HEX = re.compile(r"[0-9a-f]{32}\Z")


def of(thing: Any, *, store: Store | str | None = None, limit: int = LIMIT, depth: int | None = None) -> Lineage:
    """The lineage of anything: a result, a `Call` or its key, a value or its digest, a `File`, a run, a model version.

    The graph holds what was asked for and everything upstream of it; `downstream()` gives the other direction. A value
    that a step returned in this process is known by itself; any other by its content, which may have been the result
    of several calls, or data that went into some. An address such as `models:/churn/3` is a model version. At most
    `limit` nodes, at most `depth` edges away. NotFoundError if the store knows nothing of it.

    >>> import mlflowish as mf
    >>> @mf.step
    ... def load(n):
    ...     return list(range(n))
    >>> @mf.step
    ... def total(numbers):
    ...     return sum(numbers)
    >>> behind = mf.lineage.of(total.call(load(4)))
    >>> [behind.graph.nodes[node]["label"] for node in behind.graph]
    ['total', 'load']
    """
    calls = Calls(as_store(store))
    return Lineage(calls, _roots(calls, thing)).upstream(limit=limit, depth=depth)


def _roots(calls: Calls, thing: Any) -> list[Node]:
    offered = getattr(type(thing), "__lineage__", None)
    if offered is not None:
        node_id, kind, label, facts, made_by = offered(thing)
        return [Node(node_id, kind, label, dict(facts), tuple(made_by))]
    if hasattr(thing, "uncached_reason") and hasattr(thing, "key"):
        return [_of_call(calls, thing)]
    if isinstance(thing, str) and (meant := named(thing, calls.store)) is not None:
        return _roots(calls, meant)
    if isinstance(thing, str) and _HEX.match(thing):
        return _of_hex(calls, thing)
    return _of_value(calls, thing)


def _of_call(calls: Calls, call: Any) -> Node:
    known = calls.get(call.key) if call.key is not None else None
    if known is None:
        reason = call.uncached_reason or "its result is no longer stored"
        raise NotFoundError(
            f"The store {calls.store.url} knows nothing of this call of {call.step}: {reason}", key=call.key
        )
    return nodes.call_node(known)


def _of_hex(calls: Calls, text: str) -> list[Node]:
    """32 hex digits are the key of a call, the id of a run, or a digest."""
    from mlflowish.tracking import Run, read_run

    known = calls.get(text)
    if known is not None:
        return [nodes.call_node(known)]
    try:
        record = read_run(calls.store, text)
    except NotFoundError:
        return _of_digest(calls, text)
    return _roots(calls, Run(calls.store, text, record))


def _of_value(calls: Calls, value: Any) -> list[Node]:
    from mlflowish.hashing import hexdigest
    from mlflowish.steps.provenance import producer_of

    key = producer_of(value)
    known = calls.get(key) if key is not None else None
    if known is not None:
        return [nodes.call_node(known)]
    if isinstance(value, (bool, int, float, complex, type(None))):
        raise InvalidInputError(
            f"{value!r} alone says nothing about where it came from: ask for the lineage of the Call (step.call(...)), "
            "or pass the key of a call",
            value=value,
        )
    return _of_digest(calls, hexdigest(value))


def _of_digest(calls: Calls, digest: str) -> list[Node]:
    known = {key: calls.get(key) for key in (*calls.returned(digest), *calls.given(digest))}
    made = [call for key in calls.returned(digest) if (call := known[key]) is not None]
    found = [nodes.call_node(call) for call in made]
    for key in calls.given(digest):
        if (call := known[key]) is not None:
            found += [node for node, _ in nodes.data(call) if node.id == f"data:{digest}"][:1]
    unique = list({node.id: node for node in found}.values())
    if not unique:
        raise NotFoundError(
            f"No call in {calls.store.url} returned or was given a value of digest {digest}. Was it made by a step, "
            "and is this the store it was made in?",
            digest=digest,
        )
    return unique
