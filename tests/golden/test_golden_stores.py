"""Stores that earlier versions wrote: every version of Python reads everything in them, and finds nothing wrong."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import golden_steps as steps
import pytest

import mlflowish as mf

HERE = Path(__file__).parent
FORMATS = sorted(path.name for path in HERE.glob("store-*"))


@pytest.fixture(params=FORMATS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[mf.Store]:
    shutil.copytree(HERE / request.param, tmp_path / "store")
    with mf.Store(tmp_path / "store") as store:
        yield store
    store.close()


def state(store: mf.Store) -> dict[str, bytes]:
    root = Path(store.url)
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_there_is_a_golden_store_of_each_format():
    from mlflowish.store.layout import FORMAT_VERSION

    assert [f"store-{version}" for version in range(1, FORMAT_VERSION + 1)] == FORMATS


def test_nothing_is_wrong_and_reading_changes_nothing(store):
    before = state(store)
    report = mf.fsck(store)
    assert report.findings == ()
    assert report.counts["entries"] == 35
    assert report.counts["commits"] == 73
    assert state(store) == before


def test_every_result_is_read_back_and_what_was_forgotten_is_not(store):
    for n in range(29):
        call = steps.small.call(n)
        assert call.hit
        assert call.value == {"n": 3 * n, "label": "a", "parts": (1.5, None, b"\x00\xff", {2, 3})}
    assert not steps.small.is_cached(29)
    assert steps.small.call(30, label="ü").hit
    assert steps.large.call(300).hit
    assert steps.large(300) == bytes(range(256)) * 300
    assert not steps.large.is_cached(310)
    call = steps.nested.call(300)
    assert (call.hit, call.value) == (True, (bytes(range(256)) * 300, len(str(steps.small(300)))))
    assert list(steps.chunks.call(2).value) == [bytes([i]) * 70_000 for i in range(2)]
    assert steps.chunks.call(2).hit


def test_the_history_of_calls_is_there(store):
    assert len(steps.small.history()) == 32
    assert steps.fails.history()[0]["status"] == "failed"


def test_the_catalog_is_there_with_its_past(store):
    now = store.catalog.snapshot()
    assert [key for key, _ in now.scan("numbers/")] == [f"numbers/{n}" for n in range(9)]
    assert now.get("numbers/8") == {"n": 68}
    assert store.catalog.snapshot(at=11).get("numbers/0") == {"n": 10}
    assert [commit.transactions[0].comment for commit in store.catalog.log(since=67, until=69)] == [
        "number 67",
        "number 68",
    ]
    model = now.get("shelf/churn/1")
    [[name, size]] = model["refs"]
    from mlflowish.storage import ObjectRef

    assert bytes(store.objects.reader(ObjectRef(name, size)).buffer()) == b"model" * 1000


def test_the_run_is_there(store):
    run = mf.get_run(store.catalog.snapshot().get("shelf/churn/1")["run"])
    assert (run.name, run.experiment, run.status) == ("golden", "golden", "FINISHED")
    assert (run.params["lr"], run.tags["team"], run.metrics["loss"]) == ("0.1", "x", 0.2)
    assert run.metric_history("loss").num_rows == 5
    assert run.artifacts.read("note.txt") == b"a note"


def test_a_collection_deletes_nothing_and_new_results_join_the_old(store):
    assert mf.gc(store, dry_run=False, grace=0).objects.count == 0
    steps.small(1000)
    store.compact()
    assert steps.small.call(1000).hit
    assert steps.small.call(3).hit
    assert mf.fsck(store).findings == ()


def test_bytes_that_were_collected_get_a_new_name(store):
    """The store knows that the object of `large(310)` was to be deleted."""
    before = {info.path for info in store.storage.list("objects")}
    assert steps.large(310) == bytes(range(256)) * 310
    [new] = {info.path for info in store.storage.list("objects")} - before
    assert new.endswith(".1")
