"""A store of its own for every test, no run left open, and programs that are run as processes of their own."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from processes_heard import Mortal

import mlflowish as mf

Program = Callable[..., subprocess.Popen[str]]


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is captured unless a test asks for it, and no experiment is left from the test before."""
    for name in ("CONSOLE", "HARDWARE", "SOURCE", "ENVIRONMENT"):
        monkeypatch.setenv(f"MLFLOWISH_{name}", "0")
    monkeypatch.setattr("mlflowish.tracking.lifecycle._experiment", None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the store lies."""
    return tmp_path / "store"


@pytest.fixture
def store(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[mf.Store]:
    """A store in a folder, active in the test."""
    monkeypatch.setattr("mlflowish.store.active._used", None)
    opened = mf.use(str(folder))
    yield opened
    while mf.active_run() is not None:
        mf.end_run()
    opened.close()


@pytest.fixture
def program(folder: Path, tmp_path: Path) -> Program:
    """Starts a Python program that uses the store."""
    count = itertools.count()

    def start(code: str, *arguments: str, **env: str) -> subprocess.Popen[str]:
        script = tmp_path / f"program{next(count)}.py"
        script.write_text(textwrap.dedent(code), encoding="utf-8")
        return Mortal(
            [sys.executable, str(script), *arguments],
            cwd=tmp_path,
            env={**os.environ, "MLFLOWISH_STORE": str(folder), **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture
def run_program(program: Program) -> Callable[..., str]:
    """Runs a program to its end and gives what it printed."""

    def run(code: str, *arguments: str, **env: str) -> str:
        process = program(code, *arguments, **env)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        return out

    return run
