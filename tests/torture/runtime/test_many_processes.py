"""Many processes in one store at once: on one key, on their own keys while one compacts, and across forks."""

from __future__ import annotations

import os

import pytest
import runtime_steps as steps
from processes import finish, lines_of, run, start

import mlflowish as mf

# All wait for each other, so that they really meet.
TOGETHER = """
import json, sys, time, warnings
import runtime_steps as steps, mlflowish as mf
warnings.simplefilter("error")
store = mf.Store(sys.argv[1])
with store:
    steps.inline.is_cached(-1), steps.array.is_cached(-1)
    print("ready", flush=True)
    sys.stdin.readline()
"""


def together(count, body, root, *arguments):
    """The outcomes of `count` processes that run `body` at the same moment."""
    indented = "".join(f"    {line}\n" for line in body.strip().splitlines())
    running = [start(TOGETHER + indented, root, number, *arguments, seed=number) for number in range(count)]
    for process in running:
        assert process.stdout.readline() == "ready\n", process.communicate()[1]
    for process in running:
        process.stdin.write("go\n")
        process.stdin.flush()
    return [finish(process) for process in running]


@pytest.mark.parametrize(
    "kind",
    ["inline", "array", *(pytest.param(kind, marks=pytest.mark.nightly) for kind in ("tree", "pickled", "items"))],
)
def test_eight_processes_on_one_key_all_get_the_right_value(root, log, kind, tmp_path):
    body = f"""
call = steps.computed({kind!r}, 5, None)
again = steps.computed({kind!r}, 5, None)
print(json.dumps([call.key, steps.shown(call.value), steps.shown(again.value), again.hit]))
"""
    found = together(8, body, root)
    computations = len(lines_of(log))
    expected = steps.expected(kind, 5, tmp_path)
    key = found[0][0]
    assert found == [[key, expected, expected, True]] * 8
    assert 1 <= computations <= 8


def test_with_a_lock_one_of_eight_processes_computes(root, log):
    found = together(8, "print(json.dumps(steps.leased(5)))", root)
    assert found == [[5, 5, 5]] * 8
    assert lines_of(log) == ["leased 5"]
    assert not [path for path in (root / "leases").rglob("*") if path.is_file()]


def test_a_dead_holder_of_a_lock_holds_nobody_up_for_ever(root, log):
    code = """
import os, sys, mlflowish as mf
@mf.step(lock=0.5, name="held")
def held(x):
    if len(sys.argv) > 2:
        os.kill(os.getpid(), 9)
    return x + 1
with mf.Store(sys.argv[1]):
    print(held(1))
"""
    dead = start(code, root, "die")
    dead.communicate(timeout=200)
    assert dead.returncode == -9
    assert run(code, root) == 2


# Each process re-reads at once, and at the end, everything that was acknowledged to it; one compacts all the time.
WRITING = """
import random
number, count = int(sys.argv[2]), int(sys.argv[3])
if number == 0:
    until = time.time() + float(sys.argv[4])
    while time.time() < until:
        store.compact()
    print(json.dumps([]))
else:
    lost, keys = [], []
    for x in range(number * 100_000, number * 100_000 + count):
        first = steps.inline.call(x)
        if not steps.inline.call(x).hit or first.value != steps.inline.fn(x):
            lost.append(x)
        if x % 50 == 0:
            other = steps.array.call(x)
            if not steps.array.call(x).hit:
                lost.append(x)
    store.close()
    with mf.Store(sys.argv[1]):
        lost += [x for x in range(number * 100_000, number * 100_000 + count) if not steps.inline.call(x).hit]
        lost += [x for x in range(number * 100_000, number * 100_000 + count, 50) if not steps.array.call(x).hit]
    print(json.dumps(lost))
"""


@pytest.mark.parametrize("count", [150, pytest.param(5_000, marks=pytest.mark.nightly)])
def test_nothing_acknowledged_is_gone_while_another_process_compacts(root, count, monkeypatch):
    monkeypatch.delenv("RUNTIME_LOG", raising=False)
    assert together(9, WRITING, root, count, 3 if count < 1000 else 60) == [[]] * 9
    with mf.Store(root) as store:
        store.compact()
        for number in range(1, 9):
            assert steps.inline.call(number * 100_000 + count - 1).hit
            assert steps.inline.call(number * 100_000).hit
        assert sum(entry.meta.step.endswith("inline") for entry in store.calls()) == 8 * count
    store.close()


def test_a_forked_child_hits_what_its_parent_stored_and_both_go_on(root, log):
    code = """
import json, os, sys, warnings
import runtime_steps as steps, mlflowish as mf
warnings.simplefilter("error")
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
mf.use(sys.argv[1])
mine = [steps.inline.call(x).hit for x in range(5)] + [steps.array.call(1).hit]
reader, writer = os.pipe()
child = os.fork()
if child == 0:
    os.close(reader)
    found = [steps.inline.call(x).hit for x in range(5)] + [steps.array.call(1).hit]
    found += [steps.inline.call(100).hit, steps.inline.call(100).hit, steps.array.call(2).hit]
    os.write(writer, json.dumps(found).encode())
    os._exit(0)
os.close(writer)
more = [steps.inline.call(x).hit for x in range(200, 205)]
with os.fdopen(reader) as answers:
    theirs = json.loads(answers.read())
os.waitpid(child, 0)
print(json.dumps([mine, theirs, more, [steps.inline.call(100).hit, steps.array.call(2).hit]]))
"""
    mine, theirs, more, shared = run(code, root)
    assert mine == [False] * 6
    assert theirs == [True] * 6 + [False, True, False]
    assert more == [False] * 5
    assert shared == [True, True]
    with mf.Store(root):
        assert all(steps.inline.call(x).hit for x in [*range(5), 100, *range(200, 205)])


def test_a_fork_while_threads_call_steps_never_hangs_or_lies(root, log):
    code = """
import json, os, sys, threading, warnings
import runtime_steps as steps, mlflowish as mf
warnings.simplefilter("ignore", DeprecationWarning)
mf.use(sys.argv[1])
stop = threading.Event()
def work(base):
    x = base
    while not stop.is_set():
        assert steps.inline(x)["value"] == x + 100
        x += 1
steps.inline(0), steps.array(0)  # imports are done: Python itself cannot fork while another thread is importing
threads = [threading.Thread(target=work, args=(1000 * n,)) for n in range(1, 5)]
for thread in threads: thread.start()
codes = []
for _ in range(20):
    child = os.fork()
    if child == 0:
        right = steps.inline(7)["value"] == 107 and steps.inline.call(7).hit and len(steps.array(3)) == 10_000
        os._exit(0 if right else 3)
    codes.append(os.waitpid(child, 0)[1])
stop.set()
for thread in threads: thread.join()
print(json.dumps(codes))
"""
    assert run(code, root, env={"RUNTIME_LOG": ""}) == [0] * 20


def test_an_entry_of_another_user_place_seed_and_name_of_the_store_hits(root, tmp_path, log):
    code = """
import json, sys, runtime_steps as steps, mlflowish as mf
with mf.Store(sys.argv[1]):
    print(json.dumps([steps.computed(kind, 3, sys.argv[2]).hit for kind in steps.KINDS]))
"""
    here, there = tmp_path / "here", tmp_path / "there" / "deeper"
    here.mkdir()
    there.mkdir(parents=True)
    assert run(code, root, tmp_path, seed=1, cwd=here, env={"HOME": str(here), "USER": "ann"}) == [False] * 6
    moved = tmp_path / "elsewhere" / "renamed"
    moved.parent.mkdir()
    os.rename(root, moved)
    assert run(code, moved, tmp_path, seed=99, cwd=there, env={"HOME": str(there), "USER": "bob"}) == [True] * 6
