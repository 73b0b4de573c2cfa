"""The calls of one store as a graph is built from them: by key one look-up each, the other way round one scan."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from mlflowish.store import Entry, Meta, Store

Sources = dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class Known:
    """A stored call: its key (32 hex digits), when it was made (seconds since 1970), and what is recorded of it."""

    key: str
    created_s: float
    meta: Meta


@dataclass(slots=True)
class Index:
    """Every call of a store, found by what it used and by what it gave; all keys and digests as 32 hex digits."""

    by_key: dict[str, Known] = field(default_factory=dict)
    by_output: Sources = field(default_factory=lambda: defaultdict(list))
    by_input: Sources = field(default_factory=lambda: defaultdict(list))
    by_source: Sources = field(default_factory=lambda: defaultdict(list))  # a call -> those that used its result
    by_child: Sources = field(default_factory=lambda: defaultdict(list))  # a call -> those inside which it ran
    by_run: Sources = field(default_factory=lambda: defaultdict(list))


class Calls:
    """The stored calls of a store, each as it was when first asked for. One of these serves one lineage."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._known: dict[str, Known | None] = {}
        self._index: Index | None = None

    def get(self, key: str) -> Known | None:
        """The newest stored result of a call; None if there is none, or none any more."""
        if self._index is not None:
            return self._index.by_key.get(key)
        if key not in self._known:
            entries = self.store.entries(bytes.fromhex(key))
            self._known[key] = _known(entries[0]) if entries else None
        return self._known[key]

    def index(self) -> Index:
        """All of them; reads every record of the store, once."""
        if self._index is None:
            self._index = _indexed(_known(call) for call in self.store.calls() if isinstance(call, Entry))
        return self._index


def _known(entry: Entry) -> Known:
    return Known(entry.key.hex(), entry.created_s, entry.meta)


def _indexed(calls: Iterable[Known]) -> Index:
    index = Index()
    for call in calls:
        other = index.by_key.get(call.key)
        if other is None or other.created_s < call.created_s:
            index.by_key[call.key] = call
    for call in index.by_key.values():
        _enter(index, call)
    return index


def _enter(index: Index, call: Known) -> None:
    meta = call.meta
    if meta.output is not None:
        index.by_output[meta.output].append(call.key)
    if meta.run_id is not None:
        index.by_run[meta.run_id].append(call.key)
    for _, digest, _ in meta.arguments:
        index.by_input[digest].append(call.key)
    for source in dict.fromkeys(key for _, _, key in meta.sources):
        index.by_source[source].append(call.key)
    for child in dict.fromkeys(meta.children):
        index.by_child[child].append(call.key)
