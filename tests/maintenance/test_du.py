"""What fills a store, each byte once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from worlds import LARGE, healthy, ramp

import mlflowish as mf


def test_every_file_counts_once_by_its_kind(tmp_path):
    with healthy(tmp_path / "s") as store:
        usage = mf.du(store)
        store.close()
    sizes = [path.stat().st_size for path in (tmp_path / "s").rglob("*") if path.is_file()]
    assert usage.size_bytes == sum(sizes)
    assert usage.files["objects"][0] == 5
    assert {"format", "objects", "journals of calls", "segments of calls"} <= set(usage.files)


def test_objects_belong_to_the_steps_that_name_them(tmp_path):
    with mf.Store(tmp_path) as store:

        @mf.step(name="one")
        def one(n: int) -> np.ndarray:
            return np.ones(n)

        @mf.step(name="two")
        def two(n: int) -> np.ndarray:
            return np.full(n, 1.0)

        one(LARGE), two(LARGE), one(LARGE + 1)
        usage = mf.du(store)
    by_name = {owner.name: owner for owner in usage.owners}
    shared, own = sorted(info.size_bytes for info in store.storage.list("objects"))
    assert (by_name["one"].count, by_name["one"].own_bytes, by_name["one"].shared_bytes) == (2, own, shared)
    assert (by_name["two"].count, by_name["two"].own_bytes, by_name["two"].shared_bytes) == (1, 0, shared)
    assert by_name["two"].inline_bytes > 0
    assert usage.unreached_bytes == 0


def test_a_model_counts_its_versions_however_many_objects_each_has(tmp_path):
    with mf.Store(tmp_path) as store:
        mf.register_model("churn", len)
        mf.register_model("churn", sum)
        usage = mf.du(store)
    assert [(owner.kind, owner.name, owner.count) for owner in usage.owners] == [("model", "churn", 2)]
    assert f"{usage.size_bytes:,} bytes" in str(usage)
    assert "model  churn  2" in str(usage)


def test_an_object_that_nothing_names_any_more_can_be_freed(tmp_path):
    with mf.Store(tmp_path) as store:
        ramp(LARGE)
        ramp.forget(LARGE)
        usage = mf.du(store)
    assert (usage.unreached_count, usage.unreached_bytes) == (1, usage.files["objects"][1])
    assert usage.owners == ()


def test_an_empty_place_holds_nothing(tmp_path: Path):
    usage = mf.du(mf.Store(tmp_path / "nothing"))
    assert (usage.size_bytes, usage.owners) == (0, ())
    assert not (tmp_path / "nothing").exists()


def test_the_tables_and_the_document_say_the_same(tmp_path):
    with healthy(tmp_path) as store:
        usage = mf.du(store)
    document = usage.document()
    assert sum(usage.to_table().column("bytes")) == document["bytes"]
    assert document["owners"] == list(usage.owners_table())
    assert "objects" in usage._repr_html_()
