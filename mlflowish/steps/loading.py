"""From an entry to the value that it holds."""

from __future__ import annotations

from typing import Any

from mlflowish.codecs import decode
from mlflowish.codecs.registry import register_lazily
from mlflowish.store import Entry, Store

register_lazily("units", "mlflowish.units.storing:UnitsCodec", "mlflowish.units.sequence.Units")
register_lazily("results", "mlflowish.units.keeping:ResultsCodec", "mlflowish.units.results.Results")


def load_value(store: Store, entry: Entry) -> Any:
    """The value of an entry: new and the caller's own, each time."""
    readers = [store.objects.reader(ref) for ref in entry.objects] if entry.objects else ()
    if readers and (entry.codec == "items" or b"items" in entry.head) and not _is_far(store):
        for reader in readers:
            # A generator's items are read when they are asked for, which is too late to compute them again.
            reader.path()
    return decode(entry.codec, entry.head, readers, allow_pickle=store.allow_pickle)


def _is_far(store: Store) -> bool:
    """Would looking at each object mean to fetch it?"""
    can = store.storage.capabilities
    return can.shared and not can.local_paths
