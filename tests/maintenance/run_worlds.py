"""Runs of which some are to go: what retention does to them, and what must be there before, in between and after."""

from __future__ import annotations

import os

import mlflowish as mf
from mlflowish.tracking import read_points, read_runs
from mlflowish.tracking.writer import writer_of

for name in ("CONSOLE", "HARDWARE", "SOURCE", "ENVIRONMENT"):
    os.environ[f"MLFLOWISH_{name}"] = "0"
STAY, GO = ("parent", "child", "noisy"), ("gone 1", "gone 2")


def fill_runs(store: mf.Store) -> None:
    """Two that stay, one of which the other needs; one with console text and hardware series; two deleted ones."""
    parent = None
    for name in (*STAY, *GO):
        with mf.start_run(name, parent=parent if name == "child" else None, store=store) as run:
            for step in range(30):
                mf.log_metrics({"loss": step, "other": -step}, step=step)
            mf.log_text(f"artifact of {name} " * 500, "a.txt")
        key = bytes.fromhex(run.run_id)
        writer_of(store).line(key, 10, "stdout", f"{name} says hello\n")
        writer_of(store).points(key, [("system/cpu", step, 100 + step, 0.5) for step in range(5)])
        mf.sync(store)
        parent = run.run_id if name == "parent" else parent
        if name in GO:
            mf.delete_run(run.run_id, store=store)
    mf.sync(store)
    store.flush()


def retain_runs(store: mf.Store) -> None:
    mf.retain(store, dry_run=False, purge_after=0, console_after=0, hardware_after=0, grace=0)
    mf.gc(store, dry_run=False, grace=0)


def check_staying(store: mf.Store) -> None:
    """Nothing that was not to go is missing, whatever else has happened."""
    runs = {record.name: mf.get_run(record.run_id, store=store) for record in read_runs(store)}
    assert set(runs) == set(STAY), set(runs)
    assert runs["child"].parent_id == runs["parent"].run_id
    for name, run in runs.items():
        assert run.metric_history("loss")["value"].to_pylist() == list(range(30)), name
        assert run.metric_history("other")["step"].to_pylist() == list(range(30)), name
        assert run.artifacts.text("a.txt") == f"artifact of {name} " * 500
        assert run.metrics == {"loss": 29.0, "other": -29.0}


def check_gone(store: mf.Store, gone: list[str]) -> None:
    """The rest is gone, as the store sees it and as the disk does."""
    assert {record.name for record in read_runs(store, deleted=True)} == set(STAY)
    assert not any(read_points(store, run_id) for run_id in gone)
    for record in read_runs(store):
        run = mf.get_run(record.run_id, store=store)
        assert (run.console, run.metric_history("system/cpu").num_rows) == ("", 0)
    assert mf.du(store).unreached_count == 0


def ids_of_going(store: mf.Store) -> list[str]:
    return [record.run_id for record in read_runs(store, deleted=True) if record.name in GO]
