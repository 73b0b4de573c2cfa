"""Where spool files of a store lie: in the store, if it is local; else, or when it is full, in the user's cache folder;
in memory when no disk takes them."""

from __future__ import annotations

import os
from functools import lru_cache

from blake3 import blake3

from mlflowish import settings
from mlflowish.storage import LocalStorage, MemoryStorage, Storage
from mlflowish.store import Store

FOLDER = "spool"


def places_of(store: Store) -> list[Storage]:
    """The places in the order of preference; a store in memory is its own only one."""
    storage = store.storage
    if storage.capabilities.append and not storage.capabilities.shared:
        return [storage]
    memory = _memory[store] = MemoryStorage(f"mlflowish-spool/{os.urandom(8).hex()}")
    return [*shared_places_of(store), memory]


def shared_places_of(store: Store) -> list[Storage]:
    """The places that other processes of this user may have used."""
    storage = store.storage
    if storage.capabilities.append and not storage.capabilities.shared:
        return [storage]
    return [*([storage] if storage.capabilities.append else []), private_place(store)]


def readable_places_of(store: Store) -> list[Storage]:
    """The places in which this process can find spool files: those of others, and its own memory."""
    memory = _memory.get(store)
    return [*shared_places_of(store), *([memory] if memory is not None else [])]


def private_place(store: Store) -> LocalStorage:
    """This user's folder for what is on its way to a store."""
    return _private_folder(str(getattr(store.storage, "identity", store.url)), str(settings.cache_dir()))


@lru_cache(maxsize=64)  # asked for before every answer about a run
def _private_folder(identity: str, cache_dir: str) -> LocalStorage:
    name = blake3(identity.encode("utf-8", "surrogatepass")).hexdigest(16)
    return LocalStorage(os.path.join(cache_dir, "tracking", name))


_memory: dict[Store, MemoryStorage] = {}
