"""Bytes at rest: backends behind one protocol, objects named by their hash, a local cache of remote ones."""

from mlflowish.storage.base import Appender, Buffer, Capabilities, ObjectInfo, Staging, Storage
from mlflowish.storage.cache import ObjectCache
from mlflowish.storage.local import LocalStorage
from mlflowish.storage.memory import MemoryStorage
from mlflowish.storage.objects import ObjectRef, ObjectStore, Verify
from mlflowish.storage.open import open_storage
from mlflowish.storage.readers import ObjectReader

__all__ = [
    "Appender",
    "Buffer",
    "Capabilities",
    "LocalStorage",
    "MemoryStorage",
    "ObjectCache",
    "ObjectInfo",
    "ObjectReader",
    "ObjectRef",
    "ObjectStore",
    "Staging",
    "Storage",
    "Verify",
    "open_storage",
]
