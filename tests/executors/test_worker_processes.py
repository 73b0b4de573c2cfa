"""Worker processes of ours: from scripts, through deaths, and never longer than their driver."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import CancelledError

import pytest
from processes_heard import Mortal

import mlflowish as mf
from mlflowish.testing.executor_suite import element, wait_until

SCRIPT = """
import os, signal, sys, time
import mlflowish as mf

mf.use(sys.argv[1])
TABLE = {"factor": 3}

class Pair:
    def __init__(self, a, b): self.a, self.b = a, b

class Odd(Exception):
    pass

def helper(x):
    return x * TABLE["factor"]

@mf.step
def paired(x):
    return Pair(x, helper(x))

@mf.step
def summed(pairs):
    return sum(pair.a + pair.b for pair in pairs)

@mf.step
def refuse(x):
    raise Odd(x)

print("top level")  # runs once: workers do not run the script
with mf.executor("processes", workers=2):
    pairs = [paired.submit(x) for x in range(4)]
    total = summed.submit(pairs)
    print(total.result(), type(pairs[0].result()) is Pair)
    try:
        refuse.submit(7).result()
    except Odd as error:
        print("Odd", error)
    TABLE["factor"] = 5  # other code: another key, also on workers that have seen the step before
    print(summed.submit([paired.submit(x) for x in range(4)]).result())
    print(paired.map([1, 2, 3])[2].b, [paired.call(x).hit for x in range(5)])
print(paired.name)
"""


def run_script(tmp_path, text, *arguments, **options):
    (tmp_path / "script.py").write_text(text, encoding="utf-8")
    command = [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "store"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=200, **options)


def test_a_script_without_a_guard_runs_its_steps_in_processes(tmp_path):
    done = run_script(tmp_path, SCRIPT)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "top level",
        "24 True",
        "Odd 7",
        "36",
        "15 [True, True, True, True, False]",
        "script.paired",
    ]
    with mf.Store(tmp_path / "store") as store:
        assert {call.meta.step for call in store.calls()} == {"script.paired", "script.summed", "script.refuse"}


BUSY = """
import ctypes, os, sys, time
import mlflowish as mf

mf.use(sys.argv[1])

@mf.step(cache=False)
def busy(kind):
    print("at work", os.getpid(), flush=True)
    if kind == "locked":
        ctypes.PyDLL(None).sleep(1000)  # holds the interpreter's lock: no Python code runs meanwhile
    time.sleep(1000)

with mf.executor("processes", workers=2):
    futures = [busy.submit("python"), busy.submit("locked")]
    print("driver", os.getpid(), flush=True)
    [future.result() for future in futures]
"""


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(signal.SIGKILL, id="killed"),
        pytest.param(signal.SIGINT, id="interrupted", marks=pytest.mark.nightly),
    ],
)
def test_no_worker_outlives_its_driver(tmp_path, end):
    (tmp_path / "script.py").write_text(BUSY, encoding="utf-8")
    command = [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "store")]
    with open(tmp_path / "complaints", "w") as complaints:
        driver = Mortal(command, stdout=subprocess.PIPE, stderr=complaints, text=True, cwd=tmp_path)
    assert driver.stdout is not None
    told = [driver.stdout.readline() for _ in range(3)]
    assert all(told), (tmp_path / "complaints").read_text()
    workers = {int(line.split()[-1]) for line in told} - {driver.pid}
    assert len(workers) == 2
    driver.send_signal(end)
    assert driver.wait(300) != 0
    wait_until(lambda: not any(is_running(pid) for pid in workers))


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


@pytest.fixture
def executor():
    with mf.executor("processes", workers=1) as opened:
        yield opened


def test_workers_are_used_again_and_replaced(executor):
    [first] = {executor.submit(os.getpid).result() for _ in range(5)}
    assert first != os.getpid()
    os.kill(first, signal.SIGKILL)
    assert executor.submit(os.getpid).result() != first


def test_a_call_that_always_ends_its_process_fails_and_says_how(executor):
    def crash():
        os.kill(os.getpid(), signal.SIGSEGV)

    with pytest.raises(mf.WorkerDiedError, match=r"crash ended its worker process 3 times \(signal 11, SIGSEGV"):
        executor.submit(crash).result()
    assert executor.submit(lambda: "alive").result() == "alive"


def test_a_running_call_is_stopped_and_its_worker_replaced(executor, tmp_path):
    def endless():
        (tmp_path / "began").touch()
        time.sleep(1000)

    future = executor.submit(endless)
    wait_until((tmp_path / "began").exists)
    future.stop()
    with pytest.raises(CancelledError):
        future.result(300)
    assert executor.submit(lambda: 1).result() == 1


def test_workers_are_where_the_driver_is(executor, tmp_path, monkeypatch):
    def surroundings():
        return os.getcwd(), os.environ.get("SOME_NAME"), sys.path[0]

    executor.submit(surroundings).result()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOME_NAME", "set later")
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    assert executor.submit(surroundings).result() == (str(tmp_path), "set later", str(tmp_path / "modules"))


def test_a_worker_of_another_python_or_release_is_refused_before_it_unpickles_anything(tmp_path):
    from dataclasses import replace

    from mlflowish.executors.packing import Answer, packed
    from mlflowish.executors.versions import here
    from mlflowish.executors.worker import run_packed

    function = (tmp_path / "ran").touch
    elsewhere = replace(here(), process=(0, "elsewhere"))
    assert run_packed(packed(lambda: 7, None), elsewhere, "raise").opened(None) == 7
    for other in (replace(elsewhere, python="3.9"), replace(elsewhere, mlflowish="0.0.1")):
        refused = run_packed(packed(function, None), other, "raise")
        with pytest.raises(mf.CapabilityError, match=r"where the driver has (3\.9|0\.0\.1)"):
            refused.opened(None)
        assert not (tmp_path / "ran").exists()
    accepted: Answer = run_packed(packed(lambda: 7, None), other, "warn")
    assert accepted.opened(None) == 7
    assert "0.0.1" in accepted.warned[0]


def test_a_worker_with_other_code_is_refused_or_used_with_a_warning(tmp_path, monkeypatch):
    (tmp_path / "edited_steps.py").write_text(
        "import mlflowish as mf\n@mf.step\ndef edited(x):\n    return x + 1\n", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import edited_steps

    edited_steps.edited.fingerprint
    (tmp_path / "edited_steps.py").write_text(
        "import mlflowish as mf\n@mf.step\ndef edited(x):\n    return x + 1000\n", encoding="utf-8"
    )
    with mf.Store(tmp_path / "store"):
        with mf.executor("processes", workers=1), pytest.raises(mf.CapabilityError, match=r"edited_steps\.edited"):
            edited_steps.edited.submit(1).result()
        assert not edited_steps.edited.is_cached(1)
        with mf.executor("processes", workers=1, on_mismatch="warn"):
            future = edited_steps.edited.submit(1)
            with pytest.warns(mf.WorkerWarning, match=r"function edited_steps\.edited"):
                assert future.result() == 1001
        # What the other code computed stands under the other code's key: here it is computed.
        assert edited_steps.edited(1) == 2


@pytest.mark.nightly
def test_an_interrupted_map_cancels_the_rest(tmp_path):
    done = run_script(tmp_path, INTERRUPTED)
    assert done.returncode == 0, done.stderr
    began, pids = done.stdout.split()
    assert int(began) < 20
    assert pids == "[]"


INTERRUPTED = """
import os, signal, sys, threading, time
from pathlib import Path
import mlflowish as mf

mf.use(sys.argv[1])

@mf.step
def slow(x):
    Path(f"began-{x}").touch()
    time.sleep(0.5)
    return x

def interrupt():
    while not Path("began-0").exists():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt).start()
try:
    with mf.executor("processes", workers=2) as executor:
        slow.map(range(20))
except KeyboardInterrupt:
    print(len(list(Path(".").glob("began-*"))), str(executor.pids()).replace(" ", ""))
"""


def test_what_travels_of_a_large_argument_is_where_it_rests(tmp_path):
    import numpy as np

    from mlflowish.executors.packing import packed
    from mlflowish.steps.remote import Departure

    data = np.zeros(1_000_000)
    with mf.Store(tmp_path / "store") as store:
        departure = Departure(element, [((1, data), {}), ((2, data), {}), ((3,), {"data": data})], "raise")
        assert len(packed(departure.ready(), departure)) < 20_000
        assert sum(1 for _ in store.storage.list("objects")) == 1


def test_modules_that_are_edited_and_reloaded_are_what_workers_run(executor, tmp_path, monkeypatch):
    import importlib

    code = "import mlflowish as mf\n@mf.step\ndef edited(x):\n    return x + {}\n"
    (tmp_path / "reloaded_steps.py").write_text(code.format(1), encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    import reloaded_steps

    with mf.Store(tmp_path / "store"):
        assert reloaded_steps.edited.submit(1).result() == 2
        (tmp_path / "reloaded_steps.py").write_text(code.format(1000), encoding="utf-8")
        importlib.reload(reloaded_steps)
        assert reloaded_steps.edited.submit(1).result() == 1001
        assert reloaded_steps.edited.call(1).hit
