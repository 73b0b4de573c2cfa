"""What changes a registry, one operation at a time, on any storage; and what must hold of a registry afterwards."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import mlflowish as mf
from mlflowish.storage import Capabilities, MemoryStorage, ObjectStore, Storage
from mlflowish.testing.faults import Call, FaultyStorage


class FarStorage(MemoryStorage):
    """Memory that says of itself what a bucket says."""

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(append=False)


def register(store: mf.Store) -> None:
    mf.register_model("churn", max, stage="staging", alias="new", store=store)


def begin_a_model(store: mf.Store) -> None:
    mf.register_model("another", max, stage="production", store=store)


def promote(store: mf.Store) -> None:
    mf.registry.transition("churn", 1, "production", comment="better", store=store)


def move_the_alias(store: mf.Store) -> None:
    mf.registry.set_alias("churn", "champion", 1, store=store)


def delete(store: mf.Store) -> None:
    mf.registry.delete("churn", 1, store=store)


def restore(store: mf.Store) -> None:
    mf.registry.restore("churn", 3, store=store)


def purge(store: mf.Store) -> None:
    mf.registry.purge("churn", 3, store=store)


def several(store: mf.Store) -> None:
    with mf.transaction(store):
        promote(store)
        move_the_alias(store)
        restore(store)


def collect(store: mf.Store) -> None:
    mf.gc(store, dry_run=False, grace=0)


CHANGES = [register, begin_a_model, promote, move_the_alias, delete, restore, purge, several]
OPERATIONS = [*CHANGES, collect]


def open_on(storage: Storage) -> mf.Store:
    """A store whose every storage call goes through this one."""
    store = mf.Store(f"memory://{uuid.uuid4().hex}")
    store.storage = storage
    store.objects = ObjectStore(storage, is_doomed=store._is_doomed)
    return store


def fill(storage: Storage) -> None:
    """Three versions, the second in production, the third deleted; and an object that nothing names."""
    store = open_on(storage)
    for model in (len, sum, sorted):
        mf.register_model("churn", model, store=store)
    mf.registry.transition("churn", 2, "production", store=store)
    mf.registry.set_alias("churn", "champion", 2, store=store)
    mf.registry.delete("churn", 3, store=store)
    store.objects.put(b"of nobody")
    store.close()


def copied(template: Storage, target: Storage) -> Storage:
    for info in template.list(""):
        target.put(info.path, template.get(info.path))
    return target


def state_of(store: mf.Store) -> dict[str, Any]:
    """What the registry says, without times and names of objects."""
    return {key: _timeless(value) for key, value in store.catalog.snapshot().scan("models/")}


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        hidden = ("time_s", "created_s", "since_s", "purged_s", "manifest", "refs")
        timeless = {name: _timeless(item) for name, item in value.items() if name not in hidden}
        return {**timeless, "needs files": bool(value["refs"])} if "refs" in value else timeless
    return value


def require_whole(storage: Storage) -> mf.Store:
    """A fresh handle, of a store that is sound, in which every version that is there can be loaded."""
    store = open_on(storage)
    report = mf.fsck(store)
    assert report.is_sound, report.to_table()
    for model in mf.registry.models(store=store):
        for version in mf.registry.versions(model.name, deleted=True, store=store):
            assert version.record.is_purged or callable(version.load())
    return store


def calls_of(operation: Callable[[mf.Store], None], inner: Storage) -> list[Call]:
    counted = FaultyStorage(inner)
    store = open_on(counted)
    operation(store)
    calls = list(counted.calls)
    store.close()
    return calls


def memory() -> Storage:
    return MemoryStorage(f"registry-faults-{uuid.uuid4().hex}")


def far() -> Storage:
    return FarStorage(f"registry-faults-{uuid.uuid4().hex}")
