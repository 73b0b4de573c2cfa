"""Steps of a script go to worker processes as functions do."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from processes_heard import Mortal

import mlflowish as mf

SCRIPT = """
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
import mlflowish as mf

mf.use(sys.argv[2])

@mf.step
def square(x):
    return x * x

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    with context.Pool(2) as pool:
        print(pool.map(square, [1, 2, 3]))
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        print(list(pool.map(square, [1, 2, 3, 4])))
    print([square.is_cached(x) for x in (1, 2, 3, 4, 5)])
"""


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_a_step_of_a_script_is_mapped_over_worker_processes(tmp_path, method):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-W", "ignore", str(script), method, str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, timeout=120)
    assert done.stdout.splitlines() == ["[1, 4, 9]", "[1, 4, 9, 16]", "[True, True, True, True, False]"]


FORGETFUL = """
import sys
import mlflowish as mf
import shared_steps

mf.use(sys.argv[1])
print(shared_steps.square(3), flush=True)
sys.stdin.readline()
print(shared_steps.square.forget(3), flush=True)
"""


def test_a_process_that_only_hits_notices_what_another_one_forgets(tmp_path, monkeypatch):
    (tmp_path / "shared_steps.py").write_text(
        "import mlflowish as mf\n@mf.step\ndef square(x):\n    return x * x\n", encoding="utf-8"
    )
    (tmp_path / "forgetful.py").write_text(FORGETFUL, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    import shared_steps

    command = [sys.executable, str(tmp_path / "forgetful.py"), str(tmp_path / "store")]
    pipe = subprocess.PIPE
    with (
        mf.Store(tmp_path / "store"),
        Mortal(command, stdin=pipe, stdout=pipe, text=True, cwd=tmp_path) as other,
    ):
        assert other.stdout.readline() == "9\n"
        assert all(shared_steps.square.call(3).hit for _ in range(100))
        print("go", file=other.stdin, flush=True)
        assert other.stdout.readline() == "1\n"
        # Nothing absent is asked for meanwhile; a process that never noticed would wait here for good.
        patience = time.monotonic() + 60
        while shared_steps.square.is_cached(3) and time.monotonic() < patience:
            time.sleep(0.01)
        assert not shared_steps.square.call(3).hit
