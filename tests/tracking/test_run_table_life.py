"""Searches that read the table, as programs meet them: real runs, processes that are killed, buckets, stores that take
nothing, maintenance."""

from __future__ import annotations

import math
import random
import signal
import time

import pytest
from processes_heard import rest_of
from table_worlds import told

import mlflowish as mf
from mlflowish import settings
from mlflowish.maintenance import Finding
from mlflowish.tracking import find_run, purging, read_run, read_runs, table
from mlflowish.tracking.records import RUNS, Batch, Event, pack_batch
from mlflowish.tracking.table import building, folded, keeping, manifest
from mlflowish.tracking.table.keeping import keeper_of

EAGER = """
import os, sys, mlflowish as mf
import mlflowish.tracking.table as table
table.FOLDED_RUNS = 1
import mlflowish.tracking.table.keeping as keeping
"""


@pytest.fixture(autouse=True)
def eager(monkeypatch):
    """Every run goes into the table as soon as it is in a segment."""
    monkeypatch.setattr(table, "FOLDED_RUNS", 1)
    monkeypatch.setattr(keeping, "FOLDED_RUNS", 1)


def log(name, experiment="e", **metrics):
    with mf.start_run(name, experiment=experiment) as run:
        mf.log_params({"name": name})
        mf.log_metrics(metrics or {"loss": len(name)})
    return run.run_id


def merged(store):
    """Everything that was logged is in one segment."""
    mf.sync(store)
    store.compact()
    return store


def names(filter_string="", **options):
    return [run.name for run in mf.search_runs(filter_string, **{"order_by": "run_name", **options})]


def tabled(store):
    """How many runs the stored table tells of."""
    stored = keeper_of(store).stored()
    return 0 if stored is None else sum(rows.count for rows in stored.rows)


def files(store):
    return sorted(info.path for info in store.storage.list("tables"))


def test_a_search_builds_the_table_and_others_read_it(store, run_program):
    for name in "abc":
        log(name)
    merged(store)
    assert files(store) == []
    assert names() == ["a", "b", "c"]
    assert tabled(store) == 3
    before = files(store)
    out = run_program(
        EAGER + "keeping.Keeper._built = None\nprint([run.name for run in mf.search_runs(order_by='run_name')])"
    )
    assert out.strip() == "['a', 'b', 'c']"
    assert files(store) == before


def test_few_runs_are_folded_and_nothing_is_written(store, monkeypatch):
    monkeypatch.setattr(table, "FOLDED_RUNS", 1_000)
    log("a")
    merged(store)
    assert names() == ["a"]
    assert files(store) == []


def test_logging_never_builds(store):
    for name in "abc":
        log(name)
    merged(store)
    log("d")
    assert files(store) == []


@pytest.mark.parametrize("is_merged", [False, True])
def test_what_happens_to_a_run_of_the_table_is_seen_at_once(store, is_merged):
    ids = {name: log(name) for name in "abc"}
    merged(store)
    assert names() == ["a", "b", "c"]
    mf.delete_run(ids["a"])
    with mf.start_run(run_id=ids["b"]):
        mf.log_metric("loss", 99.0, step=7)
        mf.set_tag("mlflow.runName", "later")
        if is_merged:
            merged(store)
        assert mf.search_runs("status = 'RUNNING'")[0].run_id == ids["b"]
        assert names() == ["c", "later"]
    if is_merged:
        merged(store)
    assert names() == ["c", "later"]
    assert names(deleted=True) == ["a", "c", "later"]
    assert names("metrics.loss = 99 and status = 'FINISHED'") == ["later"]
    mf.restore_run(ids["a"])
    assert names() == ["a", "c", "later"]


def test_a_run_that_somebody_looked_at_is_read_anew_when_something_came_of_it(store, monkeypatch):
    run_id, other_id = log("a"), log("b")
    merged(store)
    assert [run.tags.get("later") for run in mf.search_runs()] == [None, None]
    for turn, remembered in enumerate((folded.REMEMBERED_BYTES, 1, folded.REMEMBERED_BYTES)):
        monkeypatch.setattr(folded, "REMEMBERED_BYTES", remembered)
        late = Batch(b"w" * 16, turn, (Event("tags", turn, {"values": {"later": str(turn)}}),))
        store.journals(RUNS).append(bytes.fromhex(run_id), pack_batch(late))
        for _ in range(2):
            told_of = {run.run_id: run.tags.get("later") for run in mf.search_runs()}
            assert told_of == {run_id: str(turn), other_id: None}
            store.compact()


def test_what_somebody_does_to_what_a_run_gave_is_not_seen_by_others(store):
    log("a")
    merged(store)
    for _ in range(2):
        [run] = mf.search_runs()
        assert (run.params, "x" in run.environment, "x" in run.code) == ({"name": "a"}, False, False)
        for given in (run.params, run.tags, run.metrics, run.environment, run.code):
            given["x"] = "y"
        assert all("x" not in given for given in run.environment.values() if isinstance(given, dict))
        for given in run.environment.values():
            if isinstance(given, dict):
                given["x"] = "y"


def test_a_batch_of_another_machine_that_comes_late_is_seen(store):
    run_id = log("a")
    log("b")
    merged(store)
    assert names("tags.late = 'yes'") == []
    late = Batch(b"w" * 16, 3, (Event("tags", 1, {"values": {"late": "yes"}}),))
    for _ in range(2):
        store.journals(RUNS).append(bytes.fromhex(run_id), pack_batch(late))
        assert names("tags.late = 'yes'") == ["a"]
        store.compact()
    assert names("tags.late = 'yes'") == ["a"]
    assert names("tags.late is null") == ["b"]


def test_a_run_whose_process_was_killed_is_found_killed(store, program):
    log("ended")
    process = program("import mlflowish as mf, signal\nmf.start_run('alive')\nprint('up', flush=True)\nsignal.pause()")
    assert process.stdout.readline() == "up\n", process.communicate()[1]
    merged(store)
    assert names("status = 'RUNNING'") == ["alive"]
    process.kill()
    process.wait()
    for _ in range(2):
        assert names("status = 'RUNNING'") == []
        assert names("status = 'KILLED'") == ["alive"]
        merged(store)
    assert tabled(store) == 2


def test_journals_that_are_merged_need_no_folding(store, monkeypatch):
    for name in "abc":
        log(name)
        store.journals(RUNS).seal(at_least=1)
    mf.sync(store)
    store.journals(RUNS).seal(at_least=1)
    assert names() == ["a", "b", "c"]
    store.compact()
    again = []
    monkeypatch.setattr(keeping, "fold_again", lambda *arguments: again.append(arguments))
    assert names() == ["a", "b", "c"]
    assert again == []


def test_who_is_killed_while_building_leaves_a_store_that_is_searched_right(store, program):
    for number in range(30):
        log(f"{number:02d}")
    merged(store)
    code = EAGER + "keeping.PART_ROWS = 2\nprint('go', flush=True)\nmf.search_runs()"
    chance = random.Random(5)
    for _ in range(2):
        process = program(code)
        assert process.stdout.readline() == "go\n", process.communicate()[1]
        time.sleep(chance.random() * 0.15)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert names(limit=None) == [f"{number:02d}" for number in range(30)]
        assert mf.fsck(store).is_sound
        manifest.drop(store.storage)
        keeper_of(store).stored()


def test_two_clients_that_build_at_once_are_both_right(store, program):
    for number in range(20):
        log(f"{number:02d}")
    merged(store)
    code = EAGER + (
        "keeping.PART_ROWS = 4\nprint('go', flush=True)\n"
        "print([run.name for run in mf.search_runs(order_by='run_name')])"
    )
    both = [program(code) for _ in range(2)]
    for process in both:
        assert process.stdout.readline() == "go\n", process.communicate()[1]
    told = [rest_of(process) for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert [out for out, _ in told] == [f"{[f'{number:02d}' for number in range(20)]}\n"] * 2, told
    # Of two manifests with one number, the one of half the work may count: the next search ends it.
    assert len(names(limit=None)) == 20
    assert tabled(store) == 20
    assert mf.fsck(store).is_sound


def test_a_store_that_takes_nothing_is_searched_all_the_same(store, folder):
    for name in "abc":
        log(name)
    merged(store)
    (folder / "tables").write_text("in the way")
    assert names() == ["a", "b", "c"]
    log("d")
    assert names("metrics.loss is not null") == ["a", "b", "c", "d"]


def test_without_numpy_runs_are_folded(store, monkeypatch):
    log("a")
    merged(store)
    monkeypatch.setattr(table, "find_spec", lambda name: None)
    assert names() == ["a"]
    assert files(store) == []


def test_the_journal_of_this_process_goes_into_a_segment_when_it_is_long(store, monkeypatch):
    for number in range(12):
        log(str(number))
    mf.sync(store)
    assert tabled(store) == 0
    assert len(names(limit=None)) == 12
    assert tabled(store) == 12


def test_large_results_are_read_from_columns(store, monkeypatch):
    monkeypatch.setattr("mlflowish.tracking.search._PAGE_RUNS", 0)
    for number in range(6):
        log(f"run {number}", experiment=f"e{number % 2}", loss=float(number), bad=math.nan)
    merged(store)
    log("fresh", experiment="e0", other=1.0)
    found = mf.search_runs(order_by="run_name desc", limit=None)
    one_by_one = sorted(read_runs(store), key=lambda run: run.name, reverse=True)
    assert found.to_arrow().column_names[6:] == ["metrics.bad", "metrics.loss", "metrics.other", "params.name"]
    assert found.column("run_id") == [run.run_id for run in one_by_one]
    assert found.column("metrics.loss") == [
        run.metrics["loss"].value if "loss" in run.metrics else None for run in one_by_one
    ]
    assert found.column("params.name") == [run.params["name"] for run in one_by_one]
    assert told([run.record for run in found]) == told(one_by_one)
    assert found[-1].name == "fresh"
    groups = found.group_by("experiment", best="max(metrics.loss)", n="count(metrics.loss)", one="first(params.name)")
    assert [tuple(row.values()) for row in groups] == [("e0", 4, 4.0, 3, "run 4"), ("e1", 3, 5.0, 3, "run 5")]
    assert "fresh" in repr(found)


def test_runs_are_found_by_name_and_by_the_beginning_of_their_ids(store):
    ids = [log(name) for name in ("one", "two", "two")]
    merged(store)
    mf.delete_run(ids[0])
    assert find_run(store, ids[1][:12] if ids[1][:12] != ids[2][:12] else ids[1]).run_id == ids[1]
    with pytest.raises(mf.InvalidInputError, match="2 runs are meant"):
        find_run(store, "two")
    with pytest.raises(mf.NotFoundError, match="nearest are two"):
        find_run(store, "tow")
    with pytest.raises(mf.NotFoundError):
        find_run(store, "one")
    wrong = ids[0][:-1] + ("0" if ids[0][-1] != "0" else "1")
    with pytest.raises(mf.NotFoundError, match=ids[0]):
        read_run(store, wrong)


def test_the_table_of_a_bucket_is_read_through_the_local_cache(moto_url):
    url, options = moto_url
    with mf.Store(f"{url}/run-table", **options) as store:
        for name in "abc":
            log(name)
        merged(store)
        assert names() == ["a", "b", "c"]
        log("d")
        assert names() == ["a", "b", "c", "d"]
        assert tabled(store) == 3
        copies = {file.name for file in (settings.cache_dir() / "tables").rglob("*") if file.is_file()}
        assert {path.rpartition("/")[2] for path in files(store)} <= copies
        merged(store)
        assert names() == ["a", "b", "c", "d"]
        assert mf.fsck(store).findings == ()
        store.close()


def codes(findings: tuple[Finding, ...]) -> set[str]:
    return {finding.code for finding in findings}


def test_a_damaged_part_is_found_and_removed_and_searches_make_it_anew(store, folder):
    for name in "abc":
        log(name)
    merged(store)
    assert names() == ["a", "b", "c"]
    [part] = folder.glob("tables/*/*.arrow")
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.unlink()
    part.write_bytes(data)
    assert codes(mf.fsck(store).findings) == {"table-damaged"}
    assert names("params.name != 'x'") == ["a", "b", "c"]
    assert mf.fsck(store).findings == ()
    part.write_bytes(data)
    assert mf.fsck(store, repair=True).is_sound
    assert mf.fsck(store).findings == ()
    assert names() == ["a", "b", "c"]


def test_a_table_that_says_something_else_than_the_records_is_found(store, folder, monkeypatch):
    log("a")
    log("b")
    merged(store)
    with monkeypatch.context() as patched:
        patched.setattr(building, "_add", lambda builder, key, payloads: builder.add(key, None))
        assert names() == []
    assert codes(mf.fsck(store).findings) == {"table-wrong"}
    assert mf.fsck(store, repair=True).is_sound
    assert mf.fsck(store).findings == ()
    assert names() == ["a", "b"]


def test_a_repair_of_records_removes_the_table(store, folder):
    log("a")
    merged(store)
    names()
    log("b")
    mf.sync(store)
    store.close()
    [journal] = folder.glob("journals/runs/*.log")
    journal.write_bytes(journal.read_bytes()[:-1])
    assert mf.fsck(store, repair=True).of("journal-torn")
    assert files(store) == []


def test_a_collection_removes_what_newer_tables_replace(store, monkeypatch):
    for name in "abcde":
        log(name)
        merged(store)
        names()
    monkeypatch.setattr(manifest, "UNNAMED_KEPT_S", 0.0)
    assert len([path for path in files(store) if path.endswith(".map")]) == 2
    before = files(store)
    assert mf.gc(store, dry_run=True).remains.count >= 1
    assert files(store) == before
    mf.gc(store, dry_run=False, grace=0)
    assert len(files(store)) < len(before)
    assert names() == [*"abcde"]
    assert mf.fsck(store).findings == ()


def test_a_purged_run_is_gone_whenever_the_table_was_made(store):
    """Also when as many records are left of it as there were."""
    gone, kept = log("gone"), log("kept")
    merged(store)
    assert names() == ["gone", "kept"]
    old = {path: store.storage.get(path) for path in files(store)}
    mf.delete_run(gone)
    mf.sync(store)
    assert purging.purge(store, bytes.fromhex(gone))
    assert names(deleted=True) == ["kept"]
    assert purging.remove_buried(store).runs == 1
    assert names(deleted=True) == ["kept"]
    for path in files(store):
        store.storage.delete(path)
    for path, data in old.items():
        store.storage.put(path, data)
    keeper_of(store).stored()
    assert names(deleted=True) == ["kept"]
    assert mf.get_run(kept).name == "kept"


def test_the_record_of_a_purge_is_longer_than_all_that_may_go(store):
    run_id = bytes.fromhex(log("short"))
    mf.sync(store)
    mf.delete_run(run_id.hex())
    mf.sync(store)
    journals = store.journals(RUNS)
    before = journals.get(run_id)
    assert purging.purge(store, run_id)
    assert purging.remove_buried(store).records >= 2
    journals.refresh()
    [left] = journals.get(run_id)
    assert len(left) > sum(map(len, before))
