"""Steps of a script go to worker processes as functions do."""

from __future__ import annotations

import subprocess
import sys

import pytest

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
