"""Many processes write runs to a bucket while one after the other is killed: what they were told is logged is there."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

import mlflowish as mf
from mlflowish.tracking import metric_history, read_runs

POINTS = 25
WORKER = f"""
import json, os, sys, mlflowish as mf
mf.use(sys.argv[1], **json.loads(sys.argv[2]))
for number in range(int(sys.argv[3])):
    with mf.start_run(f"{{os.getpid()}}-{{number}}") as run:
        mf.log_params({{"number": number, "pid": os.getpid()}})
        for step in range({POINTS}):
            mf.log_metrics({{"a": step, "b": -step}}, step=step)
    os.write(1, (run.run_id + "\\n").encode())
"""


def finished(process: subprocess.Popen[str]) -> Iterator[str]:
    """The ids of the runs that a worker was told are ended, up to its end."""
    out, _ = process.communicate(timeout=120)
    return (line for line in out.split("\n") if len(line) == 32)


@pytest.mark.parametrize(
    ("workers", "runs_each", "kills"),
    [(3, 12, 3), pytest.param(8, 60, 12, marks=pytest.mark.nightly)],
    ids=["few", "many"],
)
def test_runs_in_a_bucket_are_complete_though_writers_are_killed(
    seaweed_url, program, workers: int, runs_each: int, kills: int
) -> None:
    url, options = seaweed_url
    arguments = (url, json.dumps(options), str(runs_each))
    alive = [program(WORKER, *arguments) for _ in range(workers)]
    told: list[str] = []
    choose = random.Random(0)
    for _ in range(kills):
        time.sleep(choose.random() * 0.6)
        victim = alive.pop(choose.randrange(len(alive)))
        victim.send_signal(signal.SIGKILL)
        told += finished(victim)
        alive.append(program(WORKER, *arguments))
    for process in alive:
        told += finished(process)
        assert process.returncode == 0
    store = mf.Store(url, **options)
    mf.sync(store)
    store.close()
    found = {run.run_id: run for run in read_runs(mf.Store(url, **options))}
    assert len(told) >= workers * runs_each
    assert set(told) <= found.keys()
    assert {found[run_id].status for run_id in told} == {"FINISHED"}
    assert all({"number", "pid"} == set(found[run_id].params) for run_id in told)
    expected = {"a": POINTS - 1.0, "b": 1.0 - POINTS}
    assert all({name: last.value for name, last in found[run_id].metrics.items()} == expected for run_id in told)
    assert {run.status for run in found.values()} <= {"FINISHED", "KILLED"}
    sample = mf.Store(url, **options)
    histories = [metric_history(sample, run_id, "a") for run_id in told[:: max(len(told) // 5, 1)]]
    assert all(table["step"].to_pylist() == list(range(POINTS)) for table in histories)
    sample.close()
