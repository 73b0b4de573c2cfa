"""Retention: what a policy lets go, what is spared, and what is left after it."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import mlflowish as mf
from mlflowish.errors import InvalidInputError, NotFoundError, StateError
from mlflowish.maintenance import RetentionReport
from mlflowish.maintenance.retained import DELETE, DROP_CONSOLE, DROP_HARDWARE, KEEP, PURGE
from mlflowish.maintenance.retention import KnownRun, RetentionPolicy, verdicts
from mlflowish.tracking import metric_history, purging, read_points, read_runs
from mlflowish.tracking.burial import is_buried
from mlflowish.tracking.reading import read_batches
from mlflowish.tracking.records import (
    POINTS,
    RECORDS_A_PART,
    RUNS,
    Batch,
    Chunk,
    Column,
    Event,
    Last,
    pack_batch,
    pack_chunk,
    part_key,
)
from mlflowish.tracking.writer import writer_of

DAY = 86_400.0
NOW = 1_000 * DAY


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[mf.Store]:
    for name in ("CONSOLE", "HARDWARE", "SOURCE", "ENVIRONMENT"):
        monkeypatch.setenv(f"MLFLOWISH_{name}", "0")
    opened = mf.Store(tmp_path / "store")
    with opened:
        yield opened
    opened.close()


def run(number: int, **more: object) -> KnownRun:
    """A run that began and ended `number` days ago."""
    told = {"started_s": NOW - number * DAY, "ended_s": NOW - number * DAY + 60} | more
    return KnownRun(f"{number:032x}", f"run {number}", str(told.pop("experiment", "e")), **told)


def decided(runs: list[KnownRun], *needed: str, **policy: object) -> dict[int, str]:
    found = verdicts(runs, RetentionPolicy(**policy), needed, NOW)
    return {int(verdict.run_id, 16): verdict.action for verdict in found}


def test_old_runs_go_but_the_newest_and_the_best() -> None:
    runs = [run(number, score=float(number % 7)) for number in range(1, 11)]
    assert decided(runs, older_than_s=5 * DAY) == dict.fromkeys(range(6, 11), DELETE)
    assert decided(runs, keep_last=3) == dict.fromkeys(range(4, 11), DELETE)
    assert decided(runs, older_than_s=2 * DAY, keep_last=4) == dict.fromkeys(range(5, 11), DELETE)
    assert set(decided(runs, keep_best=2)) == set(range(1, 11)) - {7, 1}
    assert set(decided(runs, keep_best=1, is_lower_better=False)) == set(range(1, 11)) - {6}
    assert decided(runs) == {}


def test_the_newest_and_best_are_those_of_each_experiment() -> None:
    runs = [run(number, experiment="ab"[number % 2], score=1.0) for number in range(1, 7)]
    assert set(decided(runs, keep_last=1)) == {3, 4, 5, 6}
    assert set(decided(runs, keep_last=1, experiments=frozenset("a"))) == {4, 6}


def test_runs_without_a_value_are_never_the_best() -> None:
    runs = [run(1, score=float("nan")), run(2), run(3, score=9.0)]
    assert set(decided(runs, keep_best=1)) == {1, 2}


def test_what_runs_or_just_ended_stays() -> None:
    runs = [run(5, ended_s=None), run(6, ended_s=NOW - 60), run(7)]
    assert decided(runs, older_than_s=0.0) == {7: DELETE}


def test_what_was_deleted_long_enough_is_purged() -> None:
    runs = [run(50, deleted_s=NOW - 31 * DAY), run(51, deleted_s=NOW - 29 * DAY), run(52)]
    assert decided(runs, purge_after_s=30 * DAY) == {50: PURGE}
    assert decided(runs, older_than_s=DAY) == {52: DELETE}


def test_what_something_needs_is_kept() -> None:
    child = run(1, parents=(f"{9:032x}",))
    grandparent = run(9, parents=(f"{10:032x}",))
    runs = [child, grandparent, run(10), run(11), run(12)]
    found = decided(runs, f"{11:032x}", older_than_s=5 * DAY)
    assert found == {9: KEEP, 10: KEEP, 11: KEEP, 12: DELETE}


def test_a_family_may_go_together() -> None:
    runs = [run(8, parents=(f"{9:032x}",)), run(9)]
    assert decided(runs, older_than_s=5 * DAY) == {8: DELETE, 9: DELETE}


def test_a_deleted_child_keeps_its_parent_from_being_purged_only() -> None:
    child = run(8, parents=(f"{9:032x}",), deleted_s=NOW - DAY)
    assert decided([child, run(9)], older_than_s=5 * DAY, purge_after_s=30 * DAY) == {9: DELETE}
    gone = run(9, deleted_s=NOW - 40 * DAY)
    assert decided([child, gone], purge_after_s=30 * DAY) == {9: KEEP}


def test_policies_that_make_no_sense_are_refused(store: mf.Store) -> None:
    for asked in ({"keep_last": -1}, {"keep_best": 3}, {"by": "metrics.x asc"}, {"older_than": "soon"}, {"grace": -1}):
        with pytest.raises(InvalidInputError):
            mf.retain(store, **asked)


# -- on a store ---------------------------------------------------------------------------------------


def make(name: str, **start: object) -> mf.Run:
    with mf.start_run(name, **start) as made:
        mf.log_params({"name": name})
        for step in range(20):
            mf.log_metrics({"loss": step * 0.5, "other": 1.0}, step=step)
        mf.log_text(f"artifact of {name} " * 1000, "a.txt")
    return made


def purged(store: mf.Store, **more: object) -> RetentionReport:
    time.sleep(0.002)
    return mf.retain(store, dry_run=False, purge_after=0, grace=0, **more)


def names(store: mf.Store, *, deleted: bool = True) -> set[str]:
    return {record.name for record in read_runs(mf.Store(store.url), deleted=deleted)}


def test_a_dry_run_changes_nothing(store: mf.Store, tmp_path: Path) -> None:
    made = [make(name) for name in ("a", "b")]
    mf.delete_run(made[0].run_id)
    mf.sync(store)
    before = {path: path.read_bytes() for path in (tmp_path / "store").rglob("*.*") if path.is_file()}
    report = mf.retain(store, purge_after=0, older_than=0, grace=0)
    assert report.counts == {PURGE: 1, DELETE: 1}
    assert report.dry_run
    assert report.removed_bytes > 500
    assert {path: path.read_bytes() for path in (tmp_path / "store").rglob("*.*") if path.is_file()} == before


def test_purged_runs_are_gone_with_all_records_and_files(store: mf.Store, tmp_path: Path) -> None:
    made = {name: make(name) for name in ("kept", "gone")}
    history = metric_history(store, made["kept"].run_id, "loss")
    mf.delete_run(made["gone"].run_id)
    report = purged(store)
    assert (report.counts, report.is_complete) == ({PURGE: 1}, True)
    assert names(store) == {"kept"}
    with pytest.raises(NotFoundError):
        mf.get_run(made["gone"].run_id)
    assert not read_points(store, made["gone"].run_id)
    (left,) = store.journals(RUNS).get(bytes.fromhex(made["gone"].run_id))
    assert b"loss" not in left
    assert mf.gc(store, dry_run=False, grace=0).objects.count == 1
    assert made["kept"].refresh().artifacts.text("a.txt").startswith("artifact of kept")
    assert metric_history(store, made["kept"].run_id, "loss") == history
    assert mf.fsck(store).is_sound
    assert purged(store).verdicts == ()


def test_deleting_by_policy_can_be_taken_back(store: mf.Store) -> None:
    made = [make(f"run {number}", experiment="tries") for number in range(4)]
    make("other", experiment="elsewhere")
    time.sleep(0.002)
    report = mf.retain(store, dry_run=False, experiment="tries", keep_last=1, grace=0)
    assert report.counts == {DELETE: 3}
    assert names(store, deleted=False) == {"run 3", "other"}
    mf.restore_run(made[0].run_id)
    assert names(store, deleted=False) == {"run 0", "run 3", "other"}


def test_a_registered_model_keeps_its_run(store: mf.Store) -> None:
    with mf.start_run("trained") as trained:
        mf.log_model({"a": 1}, "model", registered_model_name="churn")
    mf.delete_run(trained.run_id)
    assert purged(store).counts == {KEEP: 1}
    assert names(store) == {"trained"}


def test_a_fork_keeps_what_it_continues(store: mf.Store) -> None:
    origin = make("origin")
    with mf.start_run("fork", fork_of=origin, fork_step=5):
        pass
    mf.delete_run(origin.run_id)
    assert purged(store).counts == {KEEP: 1}


def test_what_is_logged_late_brings_the_run_back(store: mf.Store) -> None:
    """A machine that was offline ships a batch after the purge was written down, before records are removed."""
    made = make("back")
    mf.delete_run(made.run_id)
    mf.sync(store)
    key = bytes.fromhex(made.run_id)
    assert purging.purge(store, key)
    assert is_buried(read_batches(store, made.run_id))
    late = Batch(b"late" * 4, 0, (Event("params", 5, {"values": {"late": "1"}}),))
    store.journals(RUNS).append(key, pack_batch(late))
    assert mf.get_run(made.run_id).params == {"name": "back", "late": "1"}
    assert purging.remove_buried(store).records == 0
    assert mf.get_run(made.run_id).metric_history("loss").num_rows == 20
    assert mf.gc(store, dry_run=False, grace=0).objects.count == 0


def test_what_comes_after_the_removal_is_a_run_once_more(store: mf.Store) -> None:
    made = make("gone", experiment="e")
    mf.delete_run(made.run_id)
    purged(store)
    late = Batch(b"late" * 4, 0, (Event("params", 5, {"values": {"late": "1"}}),), {"x": Last(1, 7, 0.5)})
    store.journals(RUNS).append(bytes.fromhex(made.run_id), pack_batch(late))
    found = mf.get_run(made.run_id)
    assert (found.name, found.experiment, found.status, found.params) == ("gone", "e", "KILLED", {"late": "1"})
    assert (found.metrics, found.record.is_deleted) == ({"x": 0.5}, True)
    purged(store)
    assert names(store) == set()


def test_a_run_that_is_open_elsewhere_is_never_purged(store: mf.Store) -> None:
    with mf.start_run("open") as active:
        mf.log_metric("loss", 1.0)
        store.journals(RUNS).append(
            bytes.fromhex(active.run_id), pack_batch(Batch(b"d" * 16, 0, (Event("life", 5, {"deleted": True}),)))
        )
        assert mf.get_run(active.run_id).record.is_deleted
        assert purged(store).verdicts == ()
        mf.log_metric("loss", 2.0, step=1)
    assert active.refresh().metric_history("loss").num_rows == 2


def test_who_restores_a_run_that_is_being_purged_is_told(store: mf.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make("contended")
    mf.delete_run(made.run_id)
    mf.sync(store)
    read = mf.tracking.reading.read_run

    def read_then_purge(where: mf.Store, run_id: str) -> object:
        record = read(where, run_id)
        assert purging.purge(mf.Store(store.url), bytes.fromhex(run_id))
        return record

    monkeypatch.setattr("mlflowish.tracking.reading.read_run", read_then_purge)
    with pytest.raises(StateError, match="being purged"):
        mf.restore_run(made.run_id)
    monkeypatch.undo()
    assert not mf.get_run(made.run_id).record.is_deleted  # the purge had not gone on yet, and does not count now
    assert purging.remove_buried(store).records == 0


def test_console_text_and_hardware_series_go_alone(store: mf.Store) -> None:
    writer = writer_of(store)
    made = make("noisy")
    key = bytes.fromhex(made.run_id)
    writer.line(key, 10, "stdout", "hello\n")
    writer.points(key, [("system/cpu", step, 100 + step, 0.5) for step in range(30)])
    mf.sync(store)
    assert (made.refresh().console, made.metric_history("system/cpu").num_rows) == ("hello\n", 30)
    dry = mf.retain(store, console_after=0, hardware_after=0, grace=0)
    assert dry.counts == {DROP_CONSOLE: 1, DROP_HARDWARE: 1}
    assert dry.removed_bytes > 30 * 24
    done = mf.retain(store, dry_run=False, console_after=0, hardware_after=0, grace=0)
    assert done.counts == dry.counts
    again = mf.get_run(made.run_id)
    assert (again.console, again.metric_history("system/cpu").num_rows) == ("", 0)
    assert (again.metric_history("loss").num_rows, again.metrics["loss"], again.hardware) == (
        20,
        9.5,
        {"system/cpu": 0.5},
    )
    assert mf.retain(store, console_after=0, hardware_after=0, grace=0).verdicts == ()
    assert store.journals(POINTS).compact().is_complete
    assert mf.fsck(store).is_sound


def test_what_was_logged_after_long_stretches_of_hardware_alone_stays(store: mf.Store) -> None:
    made = make("long")
    key = bytes.fromhex(made.run_id)
    writer_of(store).points(key, [("system/cpu", 0, 100, 0.5)])
    mf.sync(store)
    for number in range(3 * RECORDS_A_PART + 1):  # what stretches over two parts and more was taken for the end
        name = "loss" if number == 3 * RECORDS_A_PART else "system/cpu"
        column = Column(array("q", [1000 + number]), array("q", [1_700_000_000_000_000 + number]), array("d", [0.5]))
        chunk = Chunk(b"w" * 16, number, {name: column})
        store.journals(POINTS).append(part_key(POINTS, key, number // RECORDS_A_PART), pack_chunk(chunk))
    assert mf.get_run(made.run_id).metric_history("loss").num_rows == 21
    done = mf.retain(store, dry_run=False, hardware_after=0, grace=0)
    assert done.counts == {DROP_HARDWARE: 1}
    again = mf.get_run(made.run_id)
    assert (again.metric_history("loss").num_rows, again.metric_history("system/cpu").num_rows) == (21, 0)
    assert mf.retain(store, hardware_after=0, grace=0).verdicts == ()
    assert mf.fsck(store).is_sound
    mf.delete_run(made.run_id)
    mf.retain(store, dry_run=False, purge_after=0, grace=0)
    assert [payload for part in range(4) for payload in store.journals(POINTS).get(part_key(POINTS, key, part))] == []


def test_a_removal_that_died_between_two_files_is_ended_by_the_next(store: mf.Store, tmp_path: Path) -> None:
    made = make("long")
    key, points = bytes.fromhex(made.run_id), store.journals(POINTS)
    mf.sync(store)
    keys = [part_key(POINTS, key, part) for part in range(6)]
    column = Column(array("q", [5]), array("q", [1_700_000_000_000_000]), array("d", [0.5]))
    points.append(keys[1], pack_chunk(Chunk(b"w" * 16, RECORDS_A_PART, {"loss": column})))
    points.compact()
    for part in range(2, 6):
        points.append(keys[part], pack_chunk(Chunk(b"w" * 16, part * RECORDS_A_PART, {"loss": column})))
    points.close()
    (later,) = tmp_path.glob("store/journals/metrics/*")
    data = later.read_bytes()
    mf.delete_run(made.run_id)
    assert purged(store).counts == {PURGE: 1}
    assert not any(points.views(each) for each in keys)
    later.write_bytes(data)  # as after a death between the removal of the first file and that of this one
    points.refresh()
    assert [len(points.views(each)) for each in keys] == [0, 0, 1, 1, 1, 1]
    assert mf.retain(store, dry_run=False).removed_records == 4
    assert not any(points.views(each) for each in keys)


@pytest.mark.any_python
def test_in_a_bucket_records_go_with_a_later_call(
    moto_url, monkeypatch: pytest.MonkeyPatch, only_here: Callable[..., Any]
) -> None:
    clock, clock_ns, later_s = time.time, time.time_ns, [0]
    monkeypatch.setattr(time, "time", only_here(lambda: clock() + later_s[0], clock))
    monkeypatch.setattr(time, "time_ns", only_here(lambda: clock_ns() + later_s[0] * 10**9, clock_ns))
    for name in ("CONSOLE", "HARDWARE", "SOURCE", "ENVIRONMENT"):
        monkeypatch.setenv(f"MLFLOWISH_{name}", "0")
    url, options = moto_url
    with mf.Store(f"{url}/retention", **options) as store:
        made = make("gone")
        mf.sync(store)
        mf.delete_run(made.run_id)
        later_s[0] += 4000
        report = mf.retain(store, dry_run=False, purge_after=0, grace="1h")
        assert (report.counts, report.is_complete, report.removed_records) == ({PURGE: 1}, False, 0)
        assert not list(read_runs(store, deleted=True))
        later_s[0] += 4000
        later = mf.retain(store, dry_run=False, grace="1h")
        assert later.removed_records >= 3
        assert not read_points(mf.Store(f"{url}/retention", **options), made.run_id)
        store.close()
