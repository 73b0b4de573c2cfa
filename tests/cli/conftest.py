import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_runs import Done, Runner

SCRIPT = """
import mlflowish as mf

RATE = 0.5

def helper(n):
    return n * RATE

@mf.step
def work(n, power=1):
    return helper(n) ** power

@mf.step
def fails(n):
    raise ValueError("secret message")

@mf.step
def uncached(n):
    return (i for i in [n]).__next__

if __name__ == "__main__":
    import contextlib, warnings
    warnings.simplefilter("ignore")
    work(1), work(2), work(2, power=3)
    with contextlib.suppress(ValueError):
        fails(1)
"""


@pytest.fixture
def mlflowish(tmp_path: Path) -> Runner:
    """Runs the installed command in a folder of its own, whose store is `store`."""

    def run(*arguments: str, stdin: str = "", **env: str) -> Done:
        command = [str(Path(sys.executable).with_name("mlflowish")), *arguments]
        environment = {**os.environ, "MLFLOWISH_STORE": str(tmp_path / "store"), "PYTHONWARNINGS": "error", **env}
        done = subprocess.run(command, cwd=tmp_path, env=environment, input=stdin, capture_output=True, text=True)
        return Done(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def used(mlflowish: Runner, tmp_path: Path) -> Runner:
    """The same, where `script.py` has run once."""
    (tmp_path / "script.py").write_text(SCRIPT)
    env = {**os.environ, "MLFLOWISH_STORE": str(tmp_path / "store")}
    subprocess.run([sys.executable, "script.py"], cwd=tmp_path, env=env, check=True)
    return mlflowish
