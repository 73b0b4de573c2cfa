import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
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


class Warm:
    """The process behind `warm_command.py`."""

    def __init__(self, log: Path) -> None:
        with open(log, "w") as errors:
            self._process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("warm_command.py"))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, "PYTHONWARNINGS": "error"},
                text=True,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout
        assert self._answers.readline() == "ready\n", log.read_text()

    def run(self, arguments: tuple[str, ...], folder: Path, environment: dict[str, str], stdin: str) -> Done:
        with tempfile.TemporaryDirectory(prefix="streams-") as streams:
            names = ("stdin", "stdout", "stderr")
            paths = {name: Path(streams, name) for name in names}
            for name, path in paths.items():
                path.write_text(stdin if name == "stdin" else "")
            request = {"arguments": arguments, "folder": str(folder), "environment": environment}
            print(json.dumps(request | {name: str(paths[name]) for name in names}), file=self._requests, flush=True)
            code = int(self._answers.readline())
            return Done(code, paths["stdout"].read_text(), paths["stderr"].read_text())

    def close(self) -> None:
        self._requests.close()
        self._answers.close()
        self._process.wait(120)


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    """Runs the command in forks of one process."""
    warm = Warm(tmp_path_factory.mktemp("warm") / "log")
    yield warm
    warm.close()


@pytest.fixture
def typed(tmp_path: Path) -> Runner:
    """Runs the installed command in a folder of its own, whose store is `store`, in a process of its own."""

    def run(*arguments: str, stdin: str = "", **env: str) -> Done:
        command = [str(Path(sys.executable).with_name("mlflowish")), *arguments]
        environment = _environment(tmp_path, env)
        done = subprocess.run(command, cwd=tmp_path, env=environment, input=stdin, capture_output=True, text=True)
        return Done(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def mlflowish(request: pytest.FixtureRequest, tmp_path: Path, typed: Runner) -> Runner:
    """The same, in a fork of a process that has imported it; what an interpreter reads at its start needs a new one."""
    if not hasattr(os, "fork"):
        return typed
    warm: Warm = request.getfixturevalue("warm")

    def run(*arguments: str, stdin: str = "", **env: str) -> Done:
        if any(name.startswith("PYTHON") for name in env):
            return typed(*arguments, stdin=stdin, **env)
        return warm.run(arguments, tmp_path, _environment(tmp_path, env), stdin)

    return run


def _environment(folder: Path, env: dict[str, str]) -> dict[str, str]:
    return {**os.environ, "MLFLOWISH_STORE": str(folder / "store"), "PYTHONWARNINGS": "error", **env}


@pytest.fixture(scope="session")
def left_by(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """`left_by(script, folder, name="script.py", files={}, **env)`: the folder as the script leaves it, with its store,
    and what it printed. Each script runs once a worker; its folder is copied from then on."""
    known: dict[str, tuple[Path, str]] = {}

    def lay_out(
        script: str, folder: Path, *, name: str = "script.py", files: Mapping[str, str] | None = None, **env: str
    ) -> str:
        if script not in known:
            place = tmp_path_factory.mktemp("script")
            for path, text in {**(files or {}), name: script}.items():
                (place / path).write_text(text)
            environment = {**os.environ, "MLFLOWISH_STORE": str(place / "store"), **env}
            # Some scripts kill themselves.
            done = subprocess.run(
                [sys.executable, name], cwd=place, env=environment, stdout=subprocess.PIPE, text=True, check=False
            )
            assert done.returncode in (0, -9)
            known[script] = place, done.stdout.strip()
        place, printed = known[script]
        shutil.copytree(place, folder, dirs_exist_ok=True)
        return printed

    return lay_out


@pytest.fixture
def used(mlflowish: Runner, tmp_path: Path, left_by: Callable[..., str]) -> Runner:
    """The same, where `script.py` has run once."""
    left_by(SCRIPT, tmp_path)
    return mlflowish
