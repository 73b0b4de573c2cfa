"""What changes a registry, one operation at a time, on any storage; and what must hold of a registry afterwards."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from far_storage import FarStorage

import mlflowish as mf
from mlflowish.storage import MemoryStorage, ObjectStore, Storage
from mlflowish.testing.faults import Call, FaultyStorage


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


# -- what pairs are made of as well ------------------------------------------------------------------


def register_what_was_deleted(store: mf.Store) -> None:
    mf.register_model("churn", sorted, store=store)


def register_an_address(store: mf.Store) -> None:
    mf.register_model("other", "models:/churn/1", store=store)


def delete_and_purge(store: mf.Store) -> None:
    with mf.transaction(store):
        mf.registry.delete("churn", 1, store=store)
        mf.registry.purge("churn", 1, store=store)


def delete_what_is_used(store: mf.Store) -> None:
    mf.registry.delete("churn", 2, force=True, store=store)


def register_in_a_block(store: mf.Store) -> None:
    with mf.transaction(store):
        mf.register_model("churn", max, stage="production", alias="new", store=store)
        mf.registry.set_alias("churn", "champion", 1, store=store)


def drop_the_alias(store: mf.Store) -> None:
    mf.registry.delete_alias("churn", "champion", store=store)


def configure(store: mf.Store) -> None:
    mf.registry.configure("churn", stages=["staging", "production", "canary"], exclusive=["staging"], store=store)


def want_approvals(store: mf.Store) -> None:
    mf.registry.configure("churn", approvals=["production"], store=store)


def annotate(store: mf.Store) -> None:
    mf.registry.annotate("churn", 1, description="on June", tags={"team": "growth"}, store=store)


def describe(store: mf.Store) -> None:
    mf.registry.annotate("churn", description="who will leave us", store=store)


def request(store: mf.Store) -> None:
    mf.registry.request("fraud", 2, "production", who="eve", store=store)


def approve(store: mf.Store) -> None:
    mf.registry.approve("fraud", 1, who="bob", store=store)


def reject(store: mf.Store) -> None:
    mf.registry.reject("fraud", 1, who="bob", store=store)


def withdraw(store: mf.Store) -> None:
    mf.registry.withdraw("fraud", 1, who="eve", store=store)


def log_a_model(store: mf.Store) -> None:
    with mf.start_run("logging", store=store, console=False, hardware=False):
        mf.log_model(frozenset, registered_model_name="churn")


def collect_what_was_deleted(store: mf.Store) -> None:
    mf.gc(store, dry_run=False, grace=0, purge_deleted=0, older_than=0, max_size=0)


def repair(store: mf.Store) -> None:
    assert mf.fsck(store, repair=True).is_sound


def load_by_stage(store: mf.Store) -> str:
    return repr(mf.load_model("churn", stage="production", store=store))


def load_by_alias(store: mf.Store) -> str:
    return repr(mf.load_model("churn", alias="champion", store=store))


def load_by_number(store: mf.Store) -> str:
    return repr(mf.load_model("churn", version=1, store=store))


def load_what_is_deleted(store: mf.Store) -> str:
    return repr(mf.load_model("churn", version=3, store=store))


def list_versions(store: mf.Store) -> list[Any]:
    found = mf.registry.versions("churn", deleted=True, store=store)
    return [(each.version, each.stage, each.aliases, each.tags, each.deleted) for each in found]


def list_history(store: mf.Store) -> list[Any]:
    found = mf.registry.history("churn", store=store)
    return [(each.version, each.action, each.from_stage, each.to_stage, each.comment) for each in found]


def list_requests(store: mf.Store) -> list[Any]:
    return [(each.name, each.version, each.stage) for each in mf.registry.requests(store=store)]


CHANGES = [register, begin_a_model, promote, move_the_alias, delete, restore, purge, several]
OPERATIONS = [*CHANGES, collect]
BLOCKS = [several, register_in_a_block, delete_and_purge]  # end with ConflictError if others change what they have read
ALL_CHANGES = [
    *OPERATIONS,
    register_what_was_deleted,
    register_an_address,
    delete_and_purge,
    delete_what_is_used,
    register_in_a_block,
    drop_the_alias,
    configure,
    want_approvals,
    annotate,
    describe,
    request,
    approve,
    reject,
    withdraw,
    log_a_model,
    collect_what_was_deleted,
    repair,
]
READERS = [
    load_by_stage,
    load_by_alias,
    load_by_number,
    load_what_is_deleted,
    list_versions,
    list_history,
    list_requests,
]


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


def fill_more(storage: Storage) -> None:
    """The same, and a model that wants approvals: a request is open for its first version."""
    fill(storage)
    store = open_on(storage)
    mf.registry.configure("fraud", approvals=["production"], store=store)
    for model in (min, any):
        mf.register_model("fraud", model, store=store)
    mf.registry.request("fraud", 1, "production", who="eve", store=store)
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
