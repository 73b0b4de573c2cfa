"""What a version was made by and from: calls of steps, walked upstream through the digests of their arguments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlflowish.registry.listing import utc
from mlflowish.store import Entry, Event, Table
from mlflowish.store.context import active_run_id

if TYPE_CHECKING:
    import networkx as nx

    from mlflowish.registry.registered import ModelVersion
    from mlflowish.store import Store

_COLUMNS = ("step", "key", "status", "time", "duration_s", "arguments", "output", "code", "run_id")


@dataclass(frozen=True, slots=True)
class Ancestry:
    """What is behind a version. `graph`: from data through calls of steps to the model; a `networkx.DiGraph` whose
    nodes have a `kind` ("model", "call" or "data") and a `label`. `source`: the key of the call that computed it.
    """

    graph: nx.DiGraph
    records: tuple[Entry | Event, ...]
    source: str | None

    def calls(self) -> Table:
        """Calls of steps, the one that made the model first."""
        return Table(_COLUMNS, [_row(record) for record in self.records])

    def data(self) -> Table:
        """What no known call has made: arguments that came from outside, with the step and parameter they went into."""
        inputs = [
            node for node, degree in self.graph.in_degree() if degree == 0 and self.graph.nodes[node]["kind"] == "data"
        ]
        rows = []
        for node in inputs:
            for call in self.graph.successors(node):
                label = self.graph.edges[node, call]["label"]
                rows.append((self.graph.nodes[call]["label"], label, self.graph.nodes[node]["label"], node))
        return Table(("step", "parameter", "value", "digest"), rows)

    def __repr__(self) -> str:
        return f"Ancestry: {len(self.records)} calls\n{self.calls()!r}"

    def _repr_html_(self) -> str:
        return str(self.calls()._repr_html_())


def makers_of(model: Any) -> list[str]:
    """Keys of the calls of steps of this process that returned this very object."""
    from mlflowish import steps

    producer_of = getattr(steps, "producer_of", None)
    key = None if producer_of is None else producer_of(model)
    return [] if key is None else [key]


def run_of(store: Store, made_by: list[str]) -> str | None:
    """The run that a registration belongs to: the active one, else that of the call that computed the model."""
    active = active_run_id.get()
    if active is not None or not made_by:
        return active
    entries = store.entries(bytes.fromhex(made_by[0]))
    return entries[0].meta.run_id if entries else None


def ancestry_of(version: ModelVersion) -> Ancestry:
    """What is behind a version, from every record of a call in its store."""
    known = _Calls(version.store.calls())
    source = known.source(version)
    found = list(known.upstream(source)) if source is not None else []
    return Ancestry(_graph(version, source, found, known), tuple(found), None if source is None else source.key.hex())


class _Calls:
    """The calls of a store, by key and by what they returned; of several under one key, the newest."""

    def __init__(self, records: Iterable[Entry | Event]) -> None:
        newest = sorted(records, key=lambda record: (record.created_s, record.id))
        self.by_key = {record.key.hex(): record for record in newest}
        self.by_output: dict[str, list[Entry | Event]] = {}
        for record in self.by_key.values():
            if (output := record.meta.output) is not None:
                self.by_output.setdefault(output, []).append(record)

    def source(self, version: ModelVersion) -> Entry | Event | None:
        """The call that computed the model: the recorded one, else the only one that returned such a value."""
        if version.record.made_by:
            return self.by_key.get(version.record.made_by[0])
        made = self.by_output.get(version.digest or "", [])
        return made[0] if len(made) == 1 else None

    def made(self, digest: str, before_s: float) -> Entry | Event | None:
        """The call that an argument comes from: of those that returned such a value, the last one before its use."""
        made = [record for record in self.by_output.get(digest, []) if record.created_s <= before_s]
        return max(made, key=lambda record: record.created_s, default=None)

    def before(self, record: Entry | Event) -> Iterator[tuple[str, Entry | Event]]:
        """The calls right behind one, and how it has them: as the parameter of that name, or called inside it."""
        for name, digest, _ in record.meta.arguments:
            if (made := self.made(digest, record.created_s)) is not None and made.key != record.key:
                yield name, made
        for key in record.meta.children:
            if (child := self.by_key.get(key)) is not None and child.key != record.key:
                yield "called inside", child

    def upstream(self, source: Entry | Event) -> Iterator[Entry | Event]:
        """Each call behind the source once, nearest first, the source itself before all."""
        seen, waiting = {source.key}, [source]
        while waiting:
            record = waiting.pop(0)
            yield record
            for _, earlier in self.before(record):
                if earlier.key not in seen:
                    seen.add(earlier.key)
                    waiting.append(earlier)


def _graph(
    version: ModelVersion, source: Entry | Event | None, found: list[Entry | Event], known: _Calls
) -> nx.DiGraph:
    import networkx as nx

    graph, name = nx.DiGraph(), f"models:/{version.name}/{version.version}"
    graph.add_node(name, kind="model", label=repr(version))
    for record in found:
        graph.add_node(record.key.hex(), kind="call", label=record.meta.step)
    if source is not None:
        graph.add_edge(source.key.hex(), name, label="returned")
    for record in found:
        key, made = record.key.hex(), dict[str, str]()
        for label, earlier in known.before(record):
            made[label] = label
            graph.add_edge(earlier.key.hex(), key, label=label)
        for parameter, digest, description in record.meta.arguments:
            if parameter not in made:
                graph.add_node(digest, kind="data", label=description)
                graph.add_edge(digest, key, label=parameter)
    return graph


def _row(record: Entry | Event) -> tuple[Any, ...]:
    meta = record.meta
    arguments = ", ".join(f"{name}={description}" for name, _, description in meta.arguments)
    when = utc(record.created_s).isoformat(timespec="milliseconds")
    return (
        meta.step,
        record.key.hex(),
        meta.status,
        when,
        meta.duration_s,
        arguments,
        meta.output_description,
        meta.fingerprint,
        meta.run_id,
    )
