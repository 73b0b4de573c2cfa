"""What nothing reaches is deleted, what a policy lets go is let go, and nothing else."""

from __future__ import annotations

import datetime
import os
import time
import uuid
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pytest
from worlds import ALL, LARGE, check_values, healthy, kept, ramp, shared, small

import mlflowish as mf
from mlflowish.maintenance.policy import bytes_in, seconds_in
from mlflowish.store.entries import Entry


def object_count(store: mf.Store) -> int:
    return sum(1 for _ in store.storage.list("objects"))


def test_nothing_goes_that_something_reaches(tmp_path):
    with healthy(tmp_path) as store:
        report = mf.gc(store, dry_run=False, grace=0)
        assert (report.objects.count, report.evicted.count) == (0, 0)
        assert kept(store) == ALL
        assert mf.fsck(store).findings == ()
        check_values(store)


def test_a_dry_run_says_what_would_go_and_touches_nothing(tmp_path):
    with healthy(tmp_path) as store:
        ramp.forget(LARGE)
        store.close()
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        would = mf.gc(store, grace=0)
        assert (would.dry_run, would.objects.count) == (True, 1)
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
        did = mf.gc(store, dry_run=False, grace=0)
        assert (did.objects, did.dry_run) == (would.objects, False)
        assert object_count(store) == 4
        assert mf.gc(store, dry_run=False, grace=0).objects.count == 0
        assert mf.fsck(store).findings == ()
        check_values(store)


def test_what_is_younger_than_the_grace_stays(tmp_path):
    with healthy(tmp_path) as store:
        ramp.forget()
        assert mf.gc(store, dry_run=False).objects.count == 0
        assert mf.gc(store, dry_run=False, grace=0).objects.count == 4


def test_an_object_that_is_shared_goes_with_the_last_that_names_it(tmp_path):
    with mf.Store(tmp_path) as store:
        shared("a", LARGE), shared("b", LARGE)
        shared.forget("a", LARGE)
        assert mf.gc(store, dry_run=False, grace=0).objects.count == 0
        shared.forget("b", LARGE)
        assert mf.gc(store, dry_run=False, grace=0).objects.count == 1


def test_doomed_bytes_are_written_under_a_new_name_and_writers_agree_on_it(tmp_path):
    with mf.Store(tmp_path) as store:
        shared("a", LARGE)
        shared.forget()
        mf.gc(store, dry_run=False, grace=0)
        shared("a", LARGE), shared("b", LARGE)
        [info] = store.storage.list("objects")
        assert info.path.endswith(".1")
        assert (shared("b", LARGE) == 1).all()
        assert kept(store) == 2
        assert mf.fsck(store).findings == ()


def test_a_name_that_was_doomed_long_ago_and_is_gone_may_be_used_again(tmp_path, monkeypatch):
    monkeypatch.setattr("mlflowish.store.dooms.KEPT_S", -1.0)
    with mf.Store(tmp_path) as store:
        shared("a", LARGE)
        shared.forget()
        assert mf.gc(store, dry_run=False, grace=0).objects.count == 1
        mf.gc(store, dry_run=False, grace=0)
    with mf.Store(tmp_path) as store:
        shared("a", LARGE)
        [info] = store.storage.list("objects")
        assert not info.path.endswith(".1")


def test_a_result_that_names_an_object_which_is_doomed_at_that_moment_is_stored_again(tmp_path):
    """The writer asked before the announcement, and the collection looked before the entry was there."""
    with mf.Store(tmp_path) as store:
        shared("a", LARGE)
        shared.forget()
        [info] = store.storage.list("objects")
        name = info.path.rpartition("/")[2]
        real, states = store.add_entry, []

        def add_entry(entry: Entry, *, step: str) -> None:
            if not states:
                mf.Store(tmp_path).dooms.announce([name])
            states.append(entry.objects[0].name)
            real(entry, step=step)
            store.storage.delete(f"objects/{name[:2]}/{name}")

        store.add_entry = add_entry  # type: ignore[method-assign]
        assert (shared("b", LARGE) == 1).all()
        assert states == [name, name[:64] + ".1"]
        assert shared.call("b", LARGE).hit
        assert mf.fsck(store).findings == ()  # the entry whose object is gone went with it


def test_parts_of_a_generator_that_is_not_done_are_kept(tmp_path):
    with mf.Store(tmp_path) as store:

        @mf.step
        def chunks(n: int) -> Any:
            for i in range(n):
                yield np.full(LARGE, i, dtype=np.float64)
                if i:
                    seen.append(mf.gc(store, dry_run=False, grace=0).objects.count)

        seen: list[int] = []
        found = chunks(4)
        assert seen == [0, 0, 0]
        assert [item[0] for item in found] == [0, 1, 2, 3]
        assert mf.gc(store, dry_run=False, grace=0).objects.count == 0
        assert [item[0] for item in chunks(4)] == [0, 1, 2, 3]
        assert chunks.call(4).hit
        count = object_count(store)
        chunks.forget()
        assert mf.gc(store, dry_run=False, grace=0).objects.count == count > 0


def test_parts_that_were_given_up_a_week_ago_are_collected(tmp_path, monkeypatch):
    with mf.Store(tmp_path) as store:

        @mf.step
        def broken() -> Any:
            yield from (np.full(LARGE, float(i)) for i in range(3))
            raise ValueError("no more")

        with pytest.raises(ValueError, match="no more"):
            list(broken())
        left = object_count(store)
        assert left > 0
        assert mf.gc(store, dry_run=False, grace=0).objects.count == 0
        monkeypatch.setattr("mlflowish.store.entries.PART_KEPT_S", -1.0)
        assert mf.gc(store, dry_run=False, grace=0).objects.count == left


@pytest.fixture
def aged(tmp_path, monkeypatch, only_here):
    """Nine results, three of each of the last three days; the first of a day took longest to compute."""
    now = time.time() // 86_400 * 86_400 + 43_200
    store = mf.Store(tmp_path / "aged")
    with store:
        for day in (3, 2, 1):
            for n in range(3):
                monkeypatch.setattr("mlflowish.steps.writing.time.time", lambda d=day, n=n: now - d * 86_400 + n)
                clock = iter([0.0, 0.0, 3.0 - n, 3.0 - n, 3.0 - n]).__next__
                monkeypatch.setattr("mlflowish.steps.job.time.perf_counter", only_here(clock, perf_counter))
                ramp(LARGE + 10 * day + n)
        monkeypatch.undo()
    return store


def left(store: mf.Store) -> list[int]:
    with store:
        return [10 * day + n for day in (3, 2, 1) for n in range(3) if ramp.is_cached(LARGE + 10 * day + n)]


def test_results_older_than_an_age_go(aged):
    report = mf.gc(aged, dry_run=False, grace=0, older_than="36h")
    assert (report.evicted.count, report.objects.count) == (6, 6)
    assert left(aged) == [10, 11, 12]
    assert mf.fsck(aged).findings == ()


def test_the_newest_of_each_step_are_kept_from_any_policy(aged):
    assert mf.gc(aged, grace=0, older_than=0, keep_last=4).evicted.count == 5
    assert mf.gc(aged, grace=0, max_size=0, keep_last=4).evicted.count == 5
    mf.gc(aged, dry_run=False, grace=0, keep_last=4)
    assert left(aged) == [22, 10, 11, 12]


def test_results_go_until_the_rest_fits_older_days_first_and_cheap_ones_first_within_a_day(aged):
    size = 8 * (LARGE + 40) + 4_000
    mf.gc(aged, dry_run=False, grace=0, max_size=7 * size)
    assert left(aged) == [30, 20, 21, 22, 10, 11, 12]
    mf.gc(aged, dry_run=False, grace=0, max_size="1MB")
    assert left(aged) == [10, 11]
    assert mf.gc(aged, dry_run=False, grace=0, max_size="1GB").evicted.count == 0


def test_results_younger_than_the_grace_are_kept_from_any_policy(tmp_path):
    with healthy(tmp_path) as store:
        assert mf.gc(store, dry_run=False, max_size=0, older_than=0, keep_last=0).evicted.count == 0
        assert mf.gc(store, dry_run=False, max_size=0, grace=0).evicted.count == ALL
        assert kept(store) == 0
        assert object_count(store) == 0
        check_values(store)


def test_remains_go_when_they_are_old(tmp_path):
    with healthy(tmp_path) as store:
        store.close()
    old = time.time() - 8 * 86_400
    for path in ("quarantine/abc-1", "tmp/1-a", f"leases/{'ab' * 16}/0"):
        for name, then in ((path, old), (path[:-1] + "9", time.time())):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text("x")
            os.utime(tmp_path / name, (then, then))
    assert mf.gc(tmp_path).remains.count == 3
    assert mf.gc(tmp_path, dry_run=False).remains.count == 3
    assert sorted(
        path.name[-1]
        for folder in ("quarantine", "tmp", "leases")
        for path in (tmp_path / folder).rglob("?*")
        if path.is_file()
    ) == ["9", "9", "9"]


def test_records_of_what_is_gone_leave_the_segments(tmp_path):
    with mf.Store(tmp_path) as store:
        for n in range(200):
            small(n)
        store.compact()
        small.forget()
        report = mf.gc(store, dry_run=False, grace=0)
        assert report.records.size_bytes > 200 * 100
        assert not small.is_cached(3)


@pytest.fixture(
    params=[
        pytest.param("moto_url", marks=pytest.mark.any_python),
        pytest.param("seaweed_url", marks=pytest.mark.nightly),
    ]
)
def bucket(request: pytest.FixtureRequest) -> Any:
    """(url, storage_options) of a place in S3."""
    return request.getfixturevalue(request.param)


def test_in_a_bucket_an_object_is_marked_first_and_deleted_by_a_later_run(bucket):
    url, options = bucket
    with mf.Store(f"{url}/{uuid.uuid4().hex}", **options) as store:
        ramp(LARGE), ramp(LARGE + 1)
        ramp.forget(LARGE)
        first = mf.gc(store, dry_run=False, grace=0.0)
        assert (first.objects.count, first.waiting.count) == (0, 1)
        assert object_count(store) == 2
        ramp(LARGE)  # marked: under a new name
        assert object_count(store) == 3
        second = mf.gc(store, dry_run=False, grace=0.0)
        assert (second.objects.count, second.waiting.count) == (1, 0)
        assert ramp.call(LARGE).hit
        assert ramp.call(LARGE + 1).hit
        assert mf.fsck(store).findings == ()
        store.close()


def test_a_result_in_a_bucket_that_names_a_marked_object_saves_it(bucket):
    """It was on its way while the object was marked."""
    url, options = bucket
    with mf.Store(f"{url}/{uuid.uuid4().hex}", **options) as store:
        ramp(LARGE)
        [entry] = list(store.calls())
        ramp.forget(LARGE)
        assert mf.gc(store, dry_run=False, grace=0.0).waiting.count == 1
        assert isinstance(entry, Entry)
        late = Entry(
            b"late" * 4, b"i" * 16, time.time(), entry.codec, entry.head, entry.objects, packed_meta=entry.packed_meta
        )
        store.add_entry(late, step=entry.meta.step)
        assert mf.gc(store, dry_run=False, grace=0.0).objects.count == 0
        assert mf.fsck(store).findings == ()
        store.close()


def test_a_store_in_memory_is_collected():
    with healthy("memory://gc-memory") as store:
        ramp.forget()
        assert mf.gc(store, dry_run=False, grace=0).objects.count == 4
        assert mf.fsck(store).findings == ()
        check_values(store)


def test_an_empty_place_is_left_alone(tmp_path: Path):
    assert mf.gc(mf.Store(tmp_path / "nothing"), dry_run=False).freed_bytes == 0
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (5, 5.0),
        ("5", 5.0),
        ("90min", 5400.0),
        ("12h", 43200.0),
        ("1.5 d", 129600.0),
        (datetime.timedelta(hours=1), 3600.0),
    ],
)
def test_ages(given: Any, seconds: float):
    assert seconds_in(given, "older_than") == seconds


@pytest.mark.parametrize(("given", "size"), [(5, 5), ("5", 5), ("1.5kB", 1500), ("2 GiB", 2 << 30), ("3MB", 3_000_000)])
def test_sizes(given: Any, size: int):
    assert bytes_in(given, "max_size") == size


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"older_than": "soon"}, "older_than is seconds.*'soon'"),
        ({"older_than": -1}, "older_than is not negative"),
        ({"max_size": "10 apples"}, "max_size is a number of bytes.*apples"),
        ({"max_size": True}, "max_size"),
        ({"keep_last": -2}, "keep_last is a whole number that is not negative"),
        ({"keep_last": 1.5}, "keep_last is a whole number"),
        ({"max_size": -1}, "max_size is not negative"),
        ({"grace": float("nan")}, "grace is not negative"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, options: dict[str, Any], said: str):
    with pytest.raises(mf.InvalidInputError, match=said):
        mf.gc(tmp_path, **options)


def test_the_report_shows_itself(tmp_path):
    with healthy(tmp_path) as store:
        report = mf.gc(store)
    assert "would free" in str(report)
    assert "objects" in report._repr_html_()
    assert report.document()["dry_run"] is True
    assert report.to_table().column("what") == [
        "evicted",
        "purged",
        "objects",
        "waiting",
        "remains",
        "log",
        "records",
    ]


def test_nothing_is_removed_where_a_link_leads(tmp_path: Path):
    with mf.Store(tmp_path / "s") as store:
        ramp(10)
        store.flush()
        (tmp_path / "outside").mkdir()
        (tmp_path / "outside" / "thesis.txt").write_text("five years of work")
        os.utime(tmp_path / "outside" / "thesis.txt", (0, 0))
        for path in (tmp_path / "s" / "tmp").iterdir():
            path.unlink()
        (tmp_path / "s" / "tmp").rmdir()
        (tmp_path / "s" / "tmp").symlink_to(tmp_path / "outside")
        mf.gc(store, dry_run=False)
        assert [finding.code for finding in mf.fsck(store, repair=True).findings] == ["link"]
    assert (tmp_path / "outside" / "thesis.txt").exists()
