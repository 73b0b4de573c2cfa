"""Who reaches which object: results of calls, runs, values of the catalog."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from mlflowish.catalog.view import Snapshot
from mlflowish.errors import IntegrityError
from mlflowish.storage import ObjectInfo, ObjectRef
from mlflowish.store import Store
from mlflowish.store import entries as records
from mlflowish.store.entries import Entry
from mlflowish.tracking import artifact_refs
from mlflowish.tracking.purging import buried_runs
from mlflowish.tracking.reading import read_runs


@dataclass(frozen=True, slots=True)
class Stored:
    """A live entry, and the bytes of its record."""

    entry: Entry
    record_bytes: int


def by_key(items: Iterator[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, list[bytes]]]:
    """All payloads of each key, of records in order of their keys."""
    for key, group in groupby(items, key=lambda item: item[0]):
        yield key, [payload for _, payload in group]


def live_calls(store: Store) -> Iterator[Stored]:
    """Every live entry, in order of the keys. Memory does not grow with their number."""
    for key, payloads in by_key(store.journals("calls").scan()):
        sizes = {payload: len(payload) for payload in payloads if payload[:1] == records.ENTRY}
        for entry in records.live_entries(key, payloads):
            yield Stored(entry, next((size for payload, size in sizes.items() if entry.id in payload), 0))


def named_objects(
    store: Store, now_s: float, *, without: Collection[bytes] = (), without_keys: Collection[str] = ()
) -> Iterator[str]:
    """The name of every object that something reaches: live entries, unfinished ones, values of the catalog, runs. In
    no order; one may come more than once. What does not count: `without`, ids of entries; `without_keys` of values."""
    for key, payloads in by_key(store.journals("calls").scan()):
        for entry in records.live_entries(key, payloads):
            if entry.id not in without:
                yield from (ref.name for ref in entry.objects)
        yield from (part.object.name for part in records.live_parts(key, payloads, now_s))
    yield from (ref.name for key, ref in references(store) if key not in without_keys)
    yield from (ref.name for ref in artifact_refs(store))


def objects(store: Store) -> Iterator[ObjectInfo]:
    """Every object that is where it belongs."""
    for info in store.storage.list("objects"):
        name = name_of(info)
        if len(name) >= 64 and info.path == f"objects/{name[:2]}/{name}":
            yield info


def name_of(info: ObjectInfo) -> str:
    """The name of an object that was listed."""
    return info.path.rpartition("/")[2]


def references(store: Store) -> Iterator[tuple[str, ObjectRef]]:
    """Every object that runs and values of the catalog name, with who does: `runs/<id>`, or the key of the value."""
    for record in read_runs(store, deleted=True):
        for ref in record.refs:
            yield f"runs/{record.run_id}", ref
    for record in buried_runs(store):  # purged, and their records are still there
        for ref in record.refs:
            yield f"runs/{record.run_id}", ref
    yield from store.catalog.read_newest(_references_in)


def _references_in(state: Snapshot) -> list[tuple[str, ObjectRef]]:
    found = []
    for key, value in state.scan(""):
        listed = value.get("refs") if isinstance(value, dict) else None
        if listed:
            found += [(key, ref) for ref in _refs_of(key, listed)]
    return found


def _refs_of(key: str, listed: Any) -> list[ObjectRef]:
    """IntegrityError for what no writer of ours can have put there: nobody may delete what it might mean."""
    try:
        return [ObjectRef(name, size_bytes) for name, size_bytes in listed]
    except (TypeError, ValueError) as error:
        message = f"The 'refs' of {key!r} in the catalog are not of the form [[name, size], ...]: {error}"
        raise IntegrityError(message, key=key) from error
