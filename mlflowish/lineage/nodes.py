"""What stands in a graph: calls, the data that came from outside of them, runs, and what a catalog says they made."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from mlflowish.lineage.calls import Calls, Known


@dataclass(frozen=True, slots=True)
class Node:
    """One thing in a graph. `id` begins with its kind: `call:<key>`, `data:<digest>`, `run:<id>`, or it is the name of
    what a catalog holds (`models/versions/churn/000000003`). `made_by`: keys of the calls that a run or a model is
    made of; of other things their records say it."""

    id: str
    kind: str
    label: str
    facts: dict[str, Any] = field(default_factory=dict)
    made_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Edge:
    """`source` went into `target`, as `role`: the name of an argument, `inside` for a call made by another, `made`."""

    source: str
    target: str
    role: str


def call_node(call: Known) -> Node:
    """A call; what it was told in so many words (`lr=0.1`) stands with it and is no data of its own."""
    meta = call.meta
    facts = {
        "step": meta.step,
        "key": call.key,
        "fingerprint": meta.fingerprint,
        "output": meta.output,
        "result": meta.output_description,
        "created_s": call.created_s,
        "duration_s": meta.duration_s,
        "run_id": meta.run_id,
        "parameters": dict(parameters(call)),
    }
    return Node(f"call:{call.key}", "call", meta.step.rpartition(".")[2], facts)


def lost_call(key: str) -> Node:
    """A call that is named by another, and of which nothing is stored any more."""
    return Node(f"call:{key}", "call", "no longer stored", {"step": "", "key": key, "parameters": {}})


def parameters(call: Known) -> Iterator[tuple[str, str]]:
    """Arguments whose whole value is the text that describes them, and that no other call made."""
    made = _made(call)
    return ((name, text) for name, _, text in call.meta.arguments if name not in made and is_literal(text))


def data(call: Known) -> Iterator[tuple[Node, Edge]]:
    """What came into a call and was not the result of another: files, arrays, frames, objects."""
    made = _made(call)
    for name, digest, text in call.meta.arguments:
        if name not in made and not is_literal(text):
            node = Node(f"data:{digest}", "data", text or digest[:12], {"digest": digest, "description": text})
            yield node, Edge(node.id, f"call:{call.key}", name)


def _made(call: Known) -> set[str]:
    """The arguments that are wholly results of other calls."""
    return {name for name, place, _ in call.meta.sources if not place}


def sources(call: Known) -> Iterator[Edge]:
    """Calls whose results, or parts of them, were arguments of this one, and calls that it made itself."""
    for name, path, key in call.meta.sources:
        yield Edge(f"call:{key}", f"call:{call.key}", name + path)
    for child in dict.fromkeys(call.meta.children):
        if child != call.key:
            yield Edge(f"call:{child}", f"call:{call.key}", "inside")


def made_by(calls: Calls) -> Iterator[Node]:
    """What the catalog says that calls have made: each value with a `source` that has the `key` of a call."""
    for key, value in calls.store.catalog.snapshot().scan(""):
        source = value.get("source") if isinstance(value, dict) else None
        if isinstance(source, dict) and isinstance(source.get("key"), str):
            yield catalog_node(key, value, (source["key"],))


def catalog_node(key: str, value: dict[str, Any], sources: tuple[str, ...]) -> Node:
    """A node for a value of the catalog: its kind is the first part of its key, its label the last two."""
    *_, name, number = ["", *key.split("/")]
    kind = key.partition("/")[0].removesuffix("s")
    label = f"{name} {number.lstrip('0') or number}"
    return Node(key, kind, label, {"stage": value["stage"]} if value.get("stage") else {}, sources)


def is_literal(text: str) -> bool:
    """Does a description say everything about the value: a number, a short text, a short list of such?"""
    if text == "(hidden)":
        return True
    try:
        ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text in ("nan", "inf", "-inf")
    return True
