"""What every executor must do with units of work: a part of `ExecutorSuite`, in `executor_suite.py`."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

import mlflowish as mf
from mlflowish.executors import Executor


class Meddler:
    """Writes a file where it arrives, or deletes it: as if somebody did, between the driver's look at it and the
    worker's."""

    def __init__(self, path: str, text: str | None) -> None:
        self.path, self.text = path, text

    def __reduce__(self) -> Any:
        return _meddled, (self.path, self.text)


def _meddled(path: str, text: str | None) -> Meddler:
    if text is None:
        Path(path).unlink(missing_ok=True)
    else:
        Path(path).write_text(text)
    return Meddler(path, text)


@mf.step(ignore=("folder", "meddler"))
def read(file: mf.File, folder: str, meddler: Meddler | None = None) -> str:
    """The content; leaves a file for each time that it ran."""
    text = file.read_text()
    (Path(folder) / f"{file.name}-{time.time_ns()}-{os.getpid()}").touch()
    return text


@mf.step(ignore=("folder",))
def summed(parts: list[Any], folder: str) -> int:
    """Of a group of tables; leaves a file for each time that it ran."""
    (Path(folder) / f"group-{time.time_ns()}-{os.getpid()}").touch()
    return sum(int(part["n"].sum()) for part in parts)


@mf.step
def by_letter(rows: int) -> mf.Units:
    """A table in parts, together by half."""
    import pandas as pd

    parts = mf.partitions(pd.DataFrame({"letter": [*"abcdefgh"][:rows], "n": range(rows)}), by="letter")
    return mf.group(parts, by=half)


def half(unit: mf.Unit) -> str:
    """Of the alphabet."""
    return "first" if unit.keys["letter"] < "d" else "second"


@mf.pipeline
def over_files(pattern: str, folder: str, meddler: Meddler | None = None) -> list[str]:
    """A map over files, in batches."""
    return read.map(mf.files(pattern), folder=folder, meddler=meddler, batch=2)


@mf.pipeline
def over_parts(rows: int, folder: str) -> list[int]:
    """A map over the parts of a result."""
    return summed.map(by_letter(rows), folder=folder)


class UnitsOnExecutor:
    """The tests, with the fixtures of the suite."""

    def test_of_units_only_the_new_ones_are_computed(self, executor: Executor, tmp_path: Path) -> None:
        data, marks = _folders(tmp_path)
        for name in "abc":
            (data / f"{name}.txt").write_text(name)
        units = mf.files(str(data))
        assert read.map(units, folder=str(marks), batch=2) == ["a", "b", "c"]
        (data / "d.txt").write_text("d")
        (data / "a.txt").unlink()
        assert over_files(f"{data}/*.txt", str(marks)) == ["b", "c", "d"]
        results = read.map(units, folder=str(marks))
        assert isinstance(results, mf.Results)
        assert results.names == [str(data / f"{name}.txt") for name in "bcd"]
        assert sorted(path.name[0] for path in marks.iterdir()) == ["a", "b", "c", "d"]

    def test_of_the_parts_of_a_result_only_the_new_ones_are_computed(self, executor: Executor, tmp_path: Path) -> None:
        _, marks = _folders(tmp_path)
        assert over_parts(4, str(marks)) == [0 + 1 + 2, 3]
        assert over_parts(6, str(marks)) == [0 + 1 + 2, 3 + 4 + 5]
        assert len(list(marks.iterdir())) == 3

    def test_a_file_that_changes_on_its_way_to_a_worker_is_computed_as_it_is(
        self, executor: Executor, tmp_path: Path
    ) -> None:
        if executor.in_process:
            pytest.skip("calls in this process do not travel, so nothing can change on their way")
        data, marks = _folders(tmp_path)
        meddler = Meddler(str(data / "b.txt"), "new")
        for text in ("mapped", "in a pipeline"):
            for name in "abc":
                (data / f"{name}.txt").write_text(f"{name} {text}")
            if text == "mapped":
                found = read.map(mf.files(str(data)), folder=str(marks), meddler=meddler, batch=3)
            else:
                found = over_files(f"{data}/*.txt", str(marks), meddler)
            assert found == [f"a {text}", "new", f"c {text}"]
            assert read.is_cached(mf.File(data / "b.txt"), folder="")

    def test_a_file_that_vanishes_on_its_way_to_a_worker_fails_alone(self, executor: Executor, tmp_path: Path) -> None:
        if executor.in_process:
            pytest.skip("calls in this process do not travel, so nothing can change on their way")
        data, marks = _folders(tmp_path)
        for name in "abc":
            (data / f"{name}.txt").write_text(name)
        meddler = Meddler(str(data / "b.txt"), None)
        with pytest.raises(mf.StepError, match=r"b\.txt for the worker on .*the driver has seen it"):
            over_files(f"{data}/*.txt", str(marks), meddler)
        assert sorted(path.name[0] for path in marks.iterdir()) == ["a", "c"]


def _folders(folder: Path) -> tuple[Path, Path]:
    found = folder / "data", folder / "marks"
    for each in found:
        each.mkdir()
    return found
