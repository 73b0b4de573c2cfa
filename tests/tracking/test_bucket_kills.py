"""Many processes write runs to a bucket while one after the other is killed: what they were told is logged is there."""

from __future__ import annotations

import json
import random
import signal
import time
from collections import defaultdict
from pathlib import Path

import pytest

import mlflowish as mf
from mlflowish.tracking import metric_history, read_runs

STEPS = 25
# What a call returned from is acknowledged: that is written down, in a file of its own, before the next call.
WORKER = f"""
import json, os, sys, time, mlflowish as mf
mf.use(sys.argv[1], **json.loads(sys.argv[2]))
folder, pause = sys.argv[3], float(sys.argv[4])
told = os.open(os.path.join(folder, f"told-{{os.getpid()}}"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
tell = lambda *words: os.write(told, (" ".join(map(str, words)) + "\\n").encode())
number = 0
while not os.path.exists(os.path.join(folder, "enough")):
    number += 1
    with mf.start_run(f"{{os.getpid()}}-{{number}}") as run:
        tell("begun", run.run_id)
        mf.log_params({{"number": number, "pid": os.getpid()}})
        tell("params", run.run_id)
        for step in range({STEPS}):
            mf.log_metrics({{"a": step, "b": -step}}, step=step)
            tell("step", run.run_id, step)
            time.sleep(pause)
    tell("ended", run.run_id)
"""


class Told:
    """What all workers were told, up to now."""

    def __init__(self, folder: Path) -> None:
        self.begun: set[str] = set()
        self.params: set[str] = set()
        self.ended: set[str] = set()
        self.steps: dict[str, int] = defaultdict(int)
        for path in folder.glob("told-*"):
            for line in path.read_text().splitlines():
                what, run_id, *rest = line.split()
                if what == "step":
                    self.steps[run_id] = int(rest[0]) + 1
                else:
                    getattr(self, what).add(run_id)


@pytest.mark.any_python
@pytest.mark.parametrize(
    ("workers", "runs", "pause"),
    [(3, 8, 0.01), pytest.param(8, 200, 0.04, marks=[pytest.mark.nightly, pytest.mark.timeout(900)])],
    ids=["few", "two hundred"],
)
def test_all_that_was_acknowledged_is_in_the_bucket_though_writers_are_killed(
    seaweed_url, program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int, runs: int, pause: float
) -> None:
    url, options = seaweed_url
    arguments = (f"{url}/kills", json.dumps(options), str(tmp_path), str(pause))
    alive = [program(WORKER, *arguments) for _ in range(workers)]
    choose, kills, ended = random.Random(0), 0, 0
    while ended < runs or kills < 3:
        time.sleep(1.0)
        # On a busy machine a run may take longer than that: no death without a run that ended since the one before.
        before = ended
        while (ended := len(Told(tmp_path).ended)) == before:
            assert all(each.poll() is None for each in alive)
            time.sleep(0.1)
        victim = alive.pop(choose.randrange(len(alive)))
        assert victim.poll() is None, victim.communicate()[1]
        kills += victim.send_signal(signal.SIGKILL) is None
        victim.wait()
        alive.append(program(WORKER, *arguments))
    (tmp_path / "enough").touch()
    for process in alive:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    store = mf.Store(f"{url}/kills", **options)
    mf.sync(store)
    store.close()

    # Another machine, which has nothing but the bucket.
    monkeypatch.setenv("MLFLOWISH_CACHE_DIR", str(tmp_path / "elsewhere"))
    there, told = mf.Store(f"{url}/kills", **options), Told(tmp_path)
    found = {run.run_id: run for run in read_runs(there)}
    assert told.begun <= found.keys()
    assert {found[run_id].status for run_id in told.ended} == {"FINISHED"}
    assert {found[run_id].status for run_id in found.keys() - told.ended} <= {"FINISHED", "KILLED"}
    assert all(found[run_id].params.keys() == {"number", "pid"} for run_id in told.params)
    for run_id, steps in told.steps.items():
        for name, sign in (("a", 1), ("b", -1)):
            history = metric_history(there, run_id, name)
            logged = history["step"].to_pylist()
            assert logged == list(range(len(logged))), (run_id, name)
            assert len(logged) >= steps, (run_id, name)
            assert history["value"].to_pylist() == [sign * step for step in logged]
            assert found[run_id].metrics[name].value == sign * logged[-1]
    there.close()
