"""kill -9 at every storage call of a miss and of a compaction, and at any moment: nothing wrong, half or lost."""

from __future__ import annotations

import random
import time

import pytest
import runtime_steps as steps
from processes import run, start
from processes_heard import rest_of

import mlflowish as mf

KILLS = "import json, sys, faulty_calls; print(json.dumps(faulty_calls.kills(*sys.argv[1:])))"
FAULTS = "import json, sys, faulty_calls; print(json.dumps(faulty_calls.faults(*sys.argv[1:])))"


def cases(kinds, names, ordinary):
    """Every kind with every name; all but the ordinary ones nightly."""
    return [
        pytest.param(kind, name, marks=() if (kind, name) in ordinary else pytest.mark.nightly, id=f"{kind}-{name}")
        for kind in kinds
        for name in names
    ]


# A death after one storage call differs from one before the next only in what no storage sees.
EACH_DEATH = {(kind, "kill_before") for kind in ("array", "compaction")}
EACH_FAULT = {
    ("inline", "torn"),
    ("inline", "fail_after"),
    ("array", "fail_after"),
    ("array", "full"),
    ("items", "torn"),
}


@pytest.mark.parametrize(
    ("kind", "fault"), cases([*steps.KINDS, "compaction"], ["kill_before", "kill_after"], EACH_DEATH)
)
def test_a_death_at_any_storage_call_leaves_nothing_wrong(tmp_path, kind, fault):
    found = run(KILLS, tmp_path, kind, fault, env={"RUNTIME_LOG": ""})
    assert found["wrong"] == []
    assert found["calls"] > 20


@pytest.mark.parametrize(
    ("kind", "fault"),
    cases(steps.KINDS, ["fail_before", "fail_after", "torn", "twice", "delay", "stale_list", "full"], EACH_FAULT),
)
def test_a_fault_at_any_storage_call_never_changes_a_value(tmp_path, kind, fault):
    found = run(FAULTS, tmp_path, kind, fault, env={"RUNTIME_LOG": ""})
    assert found["wrong"] == []
    assert found["calls"] > 15


WRITER = """
import sys, runtime_steps as steps, mlflowish as mf
kinds = ["inline"] * 5 + ["array", "items", "pickled"]
with mf.Store(sys.argv[1]):
    x = int(sys.argv[2])
    while True:
        kind = kinds[x % len(kinds)]
        steps.computed(kind, x, None)
        print(kind, x, flush=True)
        x += 1
"""


@pytest.mark.parametrize("rounds", [4, pytest.param(100, marks=pytest.mark.nightly)])
def test_a_death_at_any_moment_loses_nothing_acknowledged(root, rounds):
    generator, acknowledged = random.Random(7), []
    for number in range(rounds):
        writer = start(WRITER, root, number * 100_000, env={"RUNTIME_LOG": ""})
        first = writer.stdout.readline()
        assert first
        time.sleep(generator.random() * 0.4)
        writer.kill()
        told, complaints = rest_of(writer)
        assert not complaints
        lines = [first, *told.splitlines(keepends=True)]
        acknowledged += [line.split() for line in lines if line.endswith("\n")]
    assert len(acknowledged) > rounds
    with mf.Store(root) as store:
        for _ in range(2):
            for kind, x in acknowledged:
                assert steps.computed(kind, int(x), None).hit, f"{kind}({x})"
            store.compact()
        kind, x = acknowledged[-1]
        assert steps.shown(steps.computed(kind, int(x), None).value) == steps.expected(kind, int(x), None)
    store.close()
