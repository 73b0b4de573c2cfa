"""The calls of one store as a graph is built from them: one look-up each, in both directions.

A store that has calls from before uses were recorded is read as a whole, once, for the way down.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from mlflowish.store import Entry, Meta, Store, uses

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


class Calls:
    """The stored calls of a store, each as it was when first asked for. One of these serves one lineage."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._known: dict[str, Known | None] = {}
        self._index: Index | None = None
        self._has_uses: bool | None = None

    def get(self, key: str) -> Known | None:
        """The newest stored result of a call; None if there is none, or none any more."""
        if self._index is not None:
            return self._index.by_key.get(key)
        if key not in self._known:
            entries = self.store.entries(bytes.fromhex(key))
            self._known[key] = _known(entries[0]) if entries else None
        return self._known[key]

    def users(self, key: str) -> list[str]:
        """Keys of the calls that used the result of this one, or inside which it ran."""
        if self._uses_are_recorded:
            found = self._recorded(uses.SOURCE, key) + self._recorded(uses.CHILD, key)
        else:
            found = self.index().by_source.get(key, []) + self.index().by_child.get(key, [])
        return list(dict.fromkeys(found))

    def given(self, digest: str) -> list[str]:
        """Keys of the calls that a value of this digest was given to."""
        return self._recorded(uses.ARGUMENT, digest) if self._uses_are_recorded else self.index().by_input[digest]

    def returned(self, digest: str) -> list[str]:
        """Keys of the calls that returned a value of this digest. Numbers and texts are found by reading all calls."""
        if self._uses_are_recorded and (found := self._recorded(uses.OUTPUT, digest)):
            return [key for key in found if (call := self.get(key)) is not None and call.meta.output == digest]
        if self._uses_are_recorded and self._recorded(uses.ARGUMENT, digest):
            return []
        return self.index().by_output[digest]

    @property
    def _uses_are_recorded(self) -> bool:
        if self._has_uses is None:
            self._has_uses = uses.are_recorded(self.store.journals("calls"))
        return self._has_uses

    def _recorded(self, role: bytes, name: str) -> list[str]:
        found = dict.fromkeys(uses.users(self.store.journals("calls"), role, name))
        # Of what is not stored any more nothing was made.
        return [key for key in found if self.get(key) is not None]

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
    for _, digest, _ in meta.arguments:
        index.by_input[digest].append(call.key)
    for source in dict.fromkeys(key for _, _, key in meta.sources):
        index.by_source[source].append(call.key)
    for child in dict.fromkeys(meta.children):
        index.by_child[child].append(call.key)
