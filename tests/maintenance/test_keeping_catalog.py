"""Objects that values of the catalog name are kept; its log is checked from end to end."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from damages import flip, rewrite

import mlflowish as mf
from mlflowish.catalog.checkpoints import checkpoint_path
from mlflowish.catalog.cleaning import clean
from mlflowish.catalog.floors import HINT_PATH, floor_path
from mlflowish.catalog.record import checked, record_path
from mlflowish.storage import ObjectRef


def put_named(store: mf.Store, key: str, data: bytes) -> ObjectRef:
    ref = store.objects.put(data)
    store.transact(lambda tx: tx.put(key, {"refs": [[ref.name, ref.size_bytes]]}))
    return ref


def test_what_a_value_names_is_kept_until_the_value_is_deleted(tmp_path):
    with mf.Store(tmp_path) as store:
        ref = put_named(store, "models/versions/churn/000001", b"x" * 1000)
        assert mf.gc(store, dry_run=False, grace=0, max_size=0).objects.count == 0
        assert mf.du(store).unreached_count == 0
        assert [(owner.kind, owner.name, owner.own_bytes) for owner in mf.du(store).owners] == [
            ("model", "churn", 1000)
        ]
        store.transact(lambda tx: tx.delete("models/versions/churn/000001"))
        assert mf.gc(store, dry_run=False, grace=0).objects.count == 1
        assert not store.objects.contains(ref)
        assert mf.fsck(store).findings == ()


def test_a_transaction_that_names_an_object_which_is_collected_meanwhile_is_told_to_store_it_again(tmp_path):
    """It looked before the announcement, and would commit after the second look."""
    with mf.Store(tmp_path) as store:
        store.create()
        ref = store.objects.put(b"x" * 1000)
        other = mf.Store(tmp_path)
        collected: list[int] = []

        def name_it(tx: Any) -> None:
            tx.put("a", {"refs": [[ref.name, ref.size_bytes]]})
            if not collected:
                collected.append(mf.gc(other, dry_run=False, grace=0).objects.count)

        with pytest.raises(mf.ConflictError) as caught:
            store.transact(name_it)
        assert caught.value.doomed == [ref.name]
        assert collected == [1]
        again = store.objects.put(b"x" * 1000)
        assert again.name == ref.name + ".1"
        store.transact(lambda tx: tx.put("a", {"refs": [[again.name, again.size_bytes]]}))
        assert mf.gc(other, dry_run=False, grace=0).objects.count == 0
        assert mf.fsck(store).findings == ()
        other.close()


def test_threads_that_name_objects_beside_collections_never_name_one_that_is_gone(tmp_path):
    with mf.Store(tmp_path) as store:
        stop, failures = threading.Event(), []

        def collect() -> None:
            handle = mf.Store(tmp_path)
            while not stop.is_set():
                mf.gc(handle, dry_run=False, grace=0)
            handle.close()

        def name(mine: int) -> None:
            for round_ in range(12):
                for _ in range(20):
                    ref = store.objects.put(b"y" * 500 + str(round_ % 3).encode())
                    try:
                        store.transact(lambda tx, ref=ref: tx.put(f"k{mine}", {"refs": [[ref.name, ref.size_bytes]]}))
                        break
                    except (mf.ConflictError, mf.NotFoundError):
                        continue
                else:
                    failures.append(mine)
                if not store.objects.contains(ref):
                    failures.append(ref)
                store.transact(lambda tx: tx.delete(f"k{mine}"))

        collector = threading.Thread(target=collect)
        namers = [threading.Thread(target=name, args=(mine,)) for mine in range(3)]
        for thread in (collector, *namers):
            thread.start()
        for thread in namers:
            thread.join()
        stop.set()
        collector.join()
        assert failures == []
        assert mf.fsck(store).findings == ()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    with mf.Store(tmp_path / "s") as store:
        for n in range(5):
            store.transact(lambda tx, n=n: tx.put(f"k{n}", n))
        put_named(store, "big", b"z" * 1000)
        store.close()
    return tmp_path / "s"


def test_a_sound_log_has_no_findings(root):
    report = mf.fsck(root)
    assert (report.findings, report.counts["commits"], report.counts["references"]) == ((), 6, 1)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: flip(path, 30), "check does not fit"),
        (lambda path: path.unlink(), "are not there"),
        (lambda path: rewrite(path, path.read_bytes()[:-5]), "damaged"),
        (lambda path: rewrite(path, path.with_name("0" * 19 + "1").read_bytes()), "holds the record of slot 1"),
    ],
    ids=["flipped", "missing", "cut", "another record"],
)
def test_a_damaged_record_of_the_log_is_found(root: Path, damage: Any, said: str):
    damage(root / record_path(3))
    report = mf.fsck(root, repair=True)
    assert report.of("catalog-damaged")
    assert said in report.of("catalog-damaged")[0].what
    assert not report.is_sound
    with pytest.raises((mf.IntegrityError, mf.StorageError)):
        mf.gc(root, dry_run=False, grace=0)


def test_records_of_another_log_are_found_by_the_chain(root: Path, tmp_path: Path):
    with mf.Store(tmp_path / "other") as store:
        for n in range(6):
            store.transact(lambda tx, n=n: tx.put(f"other{n}", n))
        store.close()
    rewrite(root / record_path(3), (tmp_path / "other" / record_path(3)).read_bytes())
    found = mf.fsck(root).of("catalog-damaged")
    assert [finding.path for finding in found] == [record_path(3), record_path(4)]
    assert "another hash" in found[0].what


def test_a_named_object_that_is_gone_is_found(root: Path):
    [path] = root.glob("objects/*/*")
    path.unlink()
    report = mf.fsck(root, repair=True)
    [finding] = report.of("reference-missing")
    assert (finding.path, finding.is_repaired) == ("big", False)
    assert "No good copy" in finding.hindrance


@pytest.fixture
def long(tmp_path: Path) -> Path:
    """A log of 140 commits, with two checkpoints."""
    with mf.Store(tmp_path / "long", fsync="never") as store:
        for n in range(140):
            store.transact(lambda tx, n=n: tx.put(f"k{n % 7}", n))
        store.transact(lambda tx: tx.delete("k3"))
        store.close()
    return tmp_path / "long"


def test_checkpoints_that_equal_the_log_have_no_findings(long: Path):
    report = mf.fsck(long)
    assert (report.findings, report.counts["commits"], report.counts["checkpoints"]) == ((), 141, 2)


@pytest.mark.parametrize("folder", ["checkpoints", "segments"])
@pytest.mark.parametrize("is_removed", [True, False])
def test_a_damaged_checkpoint_is_found_and_made_anew_and_the_catalog_reads_as_before(
    long: Path, folder: str, is_removed: bool
):
    path = max((long / "catalog" / folder).iterdir())
    if is_removed and folder == "segments":
        path.unlink()
    else:
        flip(path, 40)
    assert {finding.code for finding in mf.fsck(long).findings} == {"checkpoint-damaged"}
    assert all(finding.is_repaired for finding in mf.fsck(long, repair=True).findings)
    report = mf.fsck(long)
    assert (report.findings, report.counts["checkpoints"]) == ((), 2)
    with mf.Store(long) as store:
        found = dict(store.catalog.snapshot().scan(""))
        assert found == {f"k{n % 7}": n for n in range(133, 140) if n % 7 != 3}


def test_a_damaged_hint_is_found_and_removed(long: Path):
    (long / "catalog" / "HINT").write_text("?")
    assert [finding.code for finding in mf.fsck(long, repair=True).findings] == ["hint-damaged"]
    assert mf.fsck(long).findings == ()


def test_a_cleaned_log_is_sound_and_its_checkpoint_cannot_be_spared(long: Path):
    with mf.Store(long) as store:
        assert store.catalog.clean(keep_s=-10.0, keep_slots=0).floor == 127
        store.close()
    assert mf.fsck(long).findings == ()
    flip(long / "catalog" / "checkpoints" / f"{127:020d}", 40)
    report = mf.fsck(long, repair=True)
    assert {finding.code for finding in report.findings} == {"checkpoint-damaged", "catalog-damaged", "unreadable"}
    assert not any(finding.is_repaired for finding in report.findings)
    assert (long / "catalog" / "checkpoints" / f"{127:020d}").exists()


@pytest.fixture
def cleaned(tmp_path: Path) -> Path:
    """The log begins after the first checkpoint, and there is another one."""
    with mf.Store(tmp_path / "cleaned", fsync="never") as store:
        store.transact(lambda tx: tx.put("first", 1))
        for n in range(140):
            store.transact(lambda tx, n=n: tx.put(f"k{n % 7}", n))
        assert clean(store.catalog.history, keep_s=-10.0, keep_slots=70, untouched_s=-1.0).floor == 63
        store.close()
    return tmp_path / "cleaned"


def newest(root: Path) -> dict[str, Any]:
    with mf.Store(root) as store:
        return dict(store.catalog.snapshot().scan(""))


@pytest.mark.parametrize("has_hint", [True, False])
def test_a_damaged_floor_is_written_anew(cleaned: Path, has_hint: bool):
    before, floor = newest(cleaned), cleaned / floor_path(0)
    data = floor.read_bytes()
    flip(floor, 20)
    if not has_hint:
        (cleaned / HINT_PATH).unlink()
    assert [finding.code for finding in mf.fsck(cleaned, repair=True).findings if not finding.is_repaired] == []
    assert floor.read_bytes() == data
    assert mf.fsck(cleaned).findings == ()
    assert newest(cleaned) == before


def test_a_floor_that_is_not_there_is_made_again(cleaned: Path):
    before = newest(cleaned)
    (cleaned / floor_path(0)).unlink()
    (cleaned / HINT_PATH).unlink()
    assert {finding.code for finding in mf.fsck(cleaned).findings} >= {"catalog-damaged"}
    mf.fsck(cleaned, repair=True)
    assert mf.fsck(cleaned).findings == ()
    assert newest(cleaned) == before


def test_a_later_checkpoint_stands_in_for_a_damaged_one(cleaned: Path):
    before = newest(cleaned)
    flip(cleaned / checkpoint_path(63), 40)
    with mf.Store(cleaned) as store, pytest.raises(mf.IntegrityError):
        store.catalog.clean(keep_s=0.0, keep_slots=0)
    mf.fsck(cleaned, repair=True)
    assert mf.fsck(cleaned).findings == ()
    mf.gc(cleaned, dry_run=False, grace=0)
    assert newest(cleaned) == before
    with mf.Store(cleaned) as store, pytest.raises(mf.NotFoundError, match="cleaned up to"):
        store.catalog.snapshot(at=100)


def test_of_two_checkpoints_that_disagree_none_is_removed(cleaned: Path):
    """Nobody can tell which is wrong, and the later one may be all that is right."""
    before, path = newest(cleaned), cleaned / checkpoint_path(63)
    fields = json.loads(path.read_bytes()[:-66])
    rewrite(path, checked(json.dumps({**fields, "runs": []}, sort_keys=True, separators=(",", ":"))))
    report = mf.fsck(cleaned, repair=True)
    assert [(finding.code, finding.is_repaired) for finding in report.findings] == [("checkpoint-damaged", False)]
    assert newest(cleaned) == before


def test_a_hint_that_names_a_floor_which_is_not_there_is_removed(cleaned: Path):
    rewrite(cleaned / HINT_PATH, checked('{"checkpoint":127,"floor":127,"number":1,"v":1}'))
    assert [finding.code for finding in mf.fsck(cleaned, repair=True).findings] == ["hint-damaged"]
    assert mf.fsck(cleaned).findings == ()


def test_a_value_whose_references_make_no_sense_stops_a_collection(tmp_path: Path):
    with mf.Store(tmp_path) as store:
        ref = put_named(store, "a", b"x" * 1000)
        store.transact(lambda tx: tx.put_own("b", {"refs": [5]}))  # past the check of `put`
        store.transact(lambda tx: tx.delete("a"))
        with pytest.raises(mf.IntegrityError, match="'refs' of 'b'"):
            mf.gc(store, dry_run=False, grace=0)
        assert [finding.code for finding in mf.fsck(store, repair=True).findings] == ["unreadable"]
        assert store.objects.contains(ref)
