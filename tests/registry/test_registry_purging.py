"""Deleted versions are purged: the files go for good, and the history says so."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

import mlflowish as mf
from mlflowish.errors import IntegrityError, NotFoundError, StateError


class Scaled:
    """A model with files of its own."""

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def predict(self, rows: Any) -> Any:
        return [self.factor * row for row in rows]


def objects(store: mf.Store) -> set[str]:
    return {info.path for info in store.storage.list("objects")}


@pytest.fixture
def deleted(store: mf.Store) -> mf.Store:
    """Version 1 is there, version 2 deleted."""
    for factor in (1, 2):
        mf.register_model("scaled", Scaled(factor))
    mf.registry.delete("scaled", 2, comment="wrong")
    return store


def test_purging_lets_the_files_go_and_keeps_the_record(deleted: mf.Store) -> None:
    before = objects(deleted)
    mf.registry.purge("scaled", 2, comment="asked for", who="bob")
    mf.gc(deleted, dry_run=False, grace=0)
    assert objects(deleted) < before
    [version] = [each for each in mf.registry.versions("scaled", deleted=True) if each.deleted]
    assert (version.version, version.refs) == (2, ())
    last = mf.registry.history("scaled")[-1]
    assert (last.version, last.action, last.from_stage, last.to_stage, last.who) == (2, "purged", None, None, "bob")
    assert mf.load_model("scaled", version=1).predict([3]) == [3]
    assert mf.register_model("scaled", Scaled(5)).version == 3
    assert mf.fsck(deleted).findings == ()
    assert mf.du(deleted).unreached_count == 0


def test_a_purged_version_is_not_restored_nor_loaded(deleted: mf.Store) -> None:
    mf.registry.purge("scaled", 2)
    mf.gc(deleted, dry_run=False, grace=0)
    with pytest.raises(StateError, match=r"purged on .* cannot be brought back"):
        mf.registry.restore("scaled", 2)
    with pytest.raises(NotFoundError, match="purged: it cannot be brought back"):
        mf.load_model("scaled", version=2)
    [version] = [each for each in mf.registry.versions("scaled", deleted=True) if each.deleted]
    with pytest.raises(
        NotFoundError, match=r"scaled version 2 cannot be loaded from .*: its files were purged"
    ) as caught:
        version.load()
    assert (caught.value.model, caught.value.version) == ("scaled", 2)


def test_purging_twice_is_recorded_once(deleted: mf.Store) -> None:
    mf.registry.purge("scaled", 2)
    mf.registry.purge("scaled", 2)
    assert [each.action for each in mf.registry.history("scaled", version=2)] == ["registered", "deleted", "purged"]


def test_what_is_not_deleted_is_not_purged(deleted: mf.Store) -> None:
    with pytest.raises(StateError, match=r"scaled version 1 is not deleted, so its files are kept"):
        mf.registry.purge("scaled", 1)
    mf.registry.set_alias("scaled", "champion", 1)
    with pytest.raises(StateError, match="alias champion"):
        mf.registry.delete("scaled", 1)
    with pytest.raises(NotFoundError, match="has no version 9"):
        mf.registry.purge("scaled", 9)
    with pytest.raises(NotFoundError, match="No model is named"):
        mf.registry.purge("unknown", 1)


def test_files_that_another_version_shares_stay(deleted: mf.Store) -> None:
    mf.registry.restore("scaled", 2)
    shared = mf.register_model("copy", mf.registry.get("scaled", version=2))
    mf.registry.delete("scaled", 2)
    mf.registry.purge("scaled", 2)
    mf.gc(deleted, dry_run=False, grace=0)
    assert mf.load_model("copy", version=shared.version).predict([3]) == [6]


def test_a_collection_purges_what_was_deleted_longer_ago(deleted: mf.Store) -> None:
    assert mf.gc(deleted, dry_run=False, grace=0, purge_deleted="1d").purged.count == 0
    assert mf.gc(deleted, dry_run=False, grace=0).purged.count == 0
    planned = mf.gc(deleted, grace=0, purge_deleted=0)
    assert (planned.purged.count, planned.objects.count > 0) == (1, True)
    assert mf.registry.restore("scaled", 2).load().predict([1]) == [2]  # a dry run changes nothing
    mf.registry.delete("scaled", 2)
    before = objects(deleted)
    done = mf.gc(deleted, dry_run=False, grace=0, purge_deleted=0)
    assert (done.purged, done.objects) == (planned.purged, planned.objects)
    assert len(before) - len(objects(deleted)) == done.objects.count
    assert mf.gc(deleted, dry_run=False, grace=0, purge_deleted=0).purged.count == 0
    assert [each.action for each in mf.registry.history("scaled", version=2)][-1] == "purged"


def test_a_version_that_is_restored_while_a_collection_begins_is_kept(
    deleted: mf.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflowish.maintenance import collection

    found = collection.deleted_before

    def restored_just_then(*arguments: Any) -> Any:
        versions = found(*arguments)
        mf.registry.restore("scaled", 2)
        return versions

    monkeypatch.setattr(collection, "deleted_before", restored_just_then)
    assert mf.gc(deleted, dry_run=False, grace=0, purge_deleted=0).purged.count == 0
    assert mf.load_model("scaled", version=2).predict([1]) == [2]


@pytest.mark.parametrize("bad", [-1, "soon"])
def test_a_policy_that_makes_no_sense_is_refused(deleted: mf.Store, bad: Any) -> None:
    with pytest.raises(mf.InvalidInputError, match="purge_deleted"):
        mf.gc(deleted, purge_deleted=bad)


def test_a_collection_cleans_the_log_of_the_catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, reader = mf.Store(tmp_path / "s", fsync="never"), mf.Store(tmp_path / "s")
    now = time.time
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: now() - 10 * 86_400)
        mf.register_model("scaled", Scaled(1), store=store)
        assert mf.registry.get("scaled", store=reader).version == 1
        for number in range(1200):
            store.catalog.transact(lambda tx, number=number: tx.put("k", number))
    assert mf.gc(store, dry_run=False).log.count == 0  # nobody touches what was written within the hour
    for path in (tmp_path / "s" / "catalog").rglob("*"):
        os.utime(path, (1, 1))
    cleaned = mf.gc(store, dry_run=False).log
    assert cleaned.count > 100
    assert cleaned.size_bytes > 10_000
    assert store.catalog.snapshot().get("k") == 1199
    assert mf.load_model("scaled", store=reader).predict([3]) == [3]
    assert mf.fsck(store).findings == ()
    for each in (store, reader):
        each.close()


@pytest.mark.parametrize("damage", ["gone", "damaged"])
def test_a_file_that_is_gone_or_damaged_names_the_version_that_needs_it(store: mf.Store, damage: str) -> None:
    version = mf.register_model("scaled", Scaled(2), stage="production")
    other = mf.Store(store.url)  # has read nothing of it
    for ref in version.refs:
        path = Path(store.url) / ref.path
        if damage == "gone":
            path.unlink()
        else:
            path.write_bytes(b"?" * ref.size_bytes)
    wanted = NotFoundError if damage == "gone" else IntegrityError
    with pytest.raises(wanted, match=r"scaled version 1 cannot be loaded from .*mlflowish fsck") as caught:
        mf.load_model("scaled", stage="production", store=other)
    assert (caught.value.model, caught.value.version) == ("scaled", 1)
    other.close()
