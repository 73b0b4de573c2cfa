"""Retention while processes log, delete and restore runs: nothing goes that somebody kept, or was told is kept."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from processes_heard import Mortal

import mlflowish as mf
from mlflowish.tracking import metric_history, read_runs

POINTS = 10
# Each run is logged, and every second one deleted; of those every second one restored at once, or a moment later.
WORKER = f"""
import os, random, sys, time, mlflowish as mf
store = mf.use(sys.argv[1])
told = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
tell = lambda *words: os.write(told, (" ".join(words) + "\\n").encode())
choose, until = random.Random(sys.argv[3]), time.monotonic() + float(sys.argv[4])
while time.monotonic() < until or not os.path.exists(sys.argv[5]):
    with mf.start_run() as run:
        mf.log_params({{"a": 1}})
        for step in range({POINTS}):
            mf.log_metrics({{"x": step, "y": -step}}, step=step)
        mf.log_text(run.run_id * 300, "a.txt")
    if choose.random() < 0.5:
        tell("kept", run.run_id)
        continue
    tell("deletes", run.run_id)
    mf.delete_run(run.run_id)
    if choose.random() < 0.5:
        continue
    time.sleep(choose.choice([0, 0, 0.005, 0.05]))
    try:
        mf.restore_run(run.run_id)
        tell("kept", run.run_id)
    except mf.NotFoundError:
        tell("gone", run.run_id)
    except mf.StateError:
        tell("contended", run.run_id)
    if choose.random() < 0.2:
        mf.sync()
"""


@pytest.mark.parametrize(
    ("workers", "seconds"), [(2, 4), pytest.param(4, 60, marks=pytest.mark.nightly)], ids=["short", "long"]
)
def test_nothing_goes_that_was_kept(tmp_path: Path, workers: int, seconds: int) -> None:
    env = {**os.environ, **{f"MLFLOWISH_{name}": "0" for name in ("CONSOLE", "HARDWARE", "SOURCE", "ENVIRONMENT")}}
    place, met = tmp_path / "store", tmp_path / "met"
    processes = [
        Mortal(
            [sys.executable, "-c", WORKER, *map(str, (place, tmp_path / f"told-{number}", number, seconds, met))],
            env=env,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(workers)
    ]
    store, purged = mf.Store(place), 0
    while any(process.poll() is None for process in processes):
        purged += mf.retain(store, dry_run=False, purge_after=0, grace=0).count("purge")
        if purged:
            met.touch()  # they work until then, however busy the machine is
        if purged % 3 == 0:
            mf.gc(store, dry_run=False, grace=0)
        time.sleep(0.01)
    for process in processes:
        _, err = process.communicate()
        assert process.returncode == 0, err
    store.close()
    store = mf.Store(place)
    mf.retain(store, dry_run=False, purge_after=0, grace=0)
    mf.gc(store, dry_run=False, grace=0)
    told = [line.split() for path in tmp_path.glob("told-*") for line in path.read_text().splitlines()]
    last = {run_id: what for what, run_id in told}
    found = {run.run_id for run in read_runs(store)}
    assert {run_id for run_id, what in last.items() if what == "kept"} <= found
    assert not {run_id for run_id, what in last.items() if what in ("deletes", "gone")} & found
    for run_id in found:
        if last.get(run_id) == "kept":
            assert metric_history(store, run_id, "x")["step"].to_pylist() == list(range(POINTS))
            assert metric_history(store, run_id, "y")["value"].to_pylist() == [-float(step) for step in range(POINTS)]
            assert mf.get_run(run_id, store=store).artifacts.text("a.txt") == run_id * 300
    assert {finding.code for finding in mf.fsck(store).findings} <= {"journal-torn"}
    assert purged > 0, Counter(last.values())
    store.close()
