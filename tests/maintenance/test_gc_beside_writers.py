"""Real processes write while collections run with no grace: no wrong value, no error, nothing lost."""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path
from subprocess import PIPE

import pytest
from processes_heard import Mortal

import mlflowish as mf

HERE = Path(__file__).parent
COLLECTOR = """
import os, sys, mlflowish as mf
deleted, store = 0, mf.Store(sys.argv[1])  # which need not be there yet
print("ready", flush=True)
sys.stdin.readline()
while not os.path.exists(sys.argv[2]):
    deleted += mf.gc(store, dry_run=False, grace=0).objects.count
    if deleted:
        open(sys.argv[3], "a").close()
print(deleted)
"""


def race(root: Path, *, writers: int, collectors: int, seconds: float, turn: int = 0) -> tuple[int, int]:
    """How many calls were made, how many objects deleted; fails if any process did. It goes on until something was
    deleted beside the writers, however busy the machine is. Each writer begins with calls that nobody made before, so
    each `turn` on one store has writers of its own."""
    end, met = root.with_name("end"), root.with_name("met")
    end.unlink(missing_ok=True)
    met.unlink(missing_ok=True)
    seeds = range(turn * writers, (turn + 1) * writers)
    commands = [[str(HERE / "busy_writer.py"), str(root), str(seed), str(seconds), str(met)] for seed in seeds]
    commands += [["-c", COLLECTOR, str(root), str(end), str(met)] for _ in range(collectors)]
    pipes = {"stdin": PIPE, "stdout": PIPE, "stderr": PIPE, "text": True}
    running = [Mortal([sys.executable, *command], **pipes) for command in commands]
    for process in running:  # on a busy machine the first may be through before the last has imported anything
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.communicate()[1]
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    outcomes = [process.communicate(timeout=seconds + 200) for process in running[:writers]]
    end.touch()
    outcomes += [process.communicate(timeout=100) for process in running[writers:]]
    for process, (_, err) in zip(running, outcomes, strict=True):
        assert process.returncode == 0, err
    counts = [int(out) for out, _ in outcomes]
    return sum(counts[:writers]), sum(counts[writers:])


def test_nothing_is_lost_beside_four_writers_and_two_collections(tmp_path):
    calls, deleted = race(tmp_path / "s", writers=4, collectors=2, seconds=4)
    assert calls > 20
    assert deleted > 0
    assert mf.fsck(tmp_path / "s").findings == ()


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_nothing_is_lost_beside_eight_writers_and_three_collections_for_long(tmp_path):
    start = time.monotonic()
    for turn in itertools.count():
        if time.monotonic() - start > 240:
            break
        _, deleted = race(tmp_path / "s", writers=8, collectors=3, seconds=30, turn=turn)
        assert deleted > 0
        assert mf.fsck(tmp_path / "s").findings == ()
