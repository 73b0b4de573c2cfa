"""Registered models outlive every collection until they are deleted for good."""

from __future__ import annotations

from typing import Any

import mlflowish as mf


class Doubler:
    def predict(self, rows: Any) -> Any:
        return [2 * row for row in rows]


def test_a_registered_model_is_kept_whatever_policy_and_loads(tmp_path):
    with mf.Store(tmp_path / "s") as store:
        mf.register_model("doubler", Doubler(), stage="production")
        report = mf.gc(store, dry_run=False, grace=0, max_size=0, older_than=0)
        assert report.objects.count == 0
        assert mf.load_model("doubler", stage="production").predict([1, 2]) == [2, 4]
        assert mf.fsck(store).findings == ()
        assert ("model", "doubler") in {(owner.kind, owner.name) for owner in mf.du(store).owners}
        assert mf.du(store).unreached_count == 0
        store.close()


def test_the_objects_of_a_model_that_was_stored_and_never_registered_go(tmp_path):
    from mlflowish.models import store_model

    with mf.Store(tmp_path / "s") as store:
        mf.register_model("doubler", Doubler())
        before = {info.path for info in store.storage.list("objects")}
        store_model(store, Doubler(), metadata={"never": "registered"})
        assert {info.path for info in store.storage.list("objects")} > before
        assert mf.gc(store, dry_run=False, grace=0).objects.count > 0
        assert {info.path for info in store.storage.list("objects")} == before
        assert mf.load_model("doubler", version=1).predict([3]) == [6]
        store.close()
