"""Maps over units in other processes and in pipelines."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import mlflowish as mf


@mf.per_worker
def set_up() -> int:
    return os.getpid()


@mf.step(ignore=("log",))
def measured(file: mf.File, log: str) -> int:
    with open(log, "a") as lines:
        lines.write(f"{file.name} {set_up() == os.getpid()}\n")
    if file.read_text() == "bad":
        raise ValueError("bad")
    return len(file.read_text())


@mf.step
def total(sizes: list[int]) -> int:
    return sum(sizes)


@mf.pipeline
def whole(pattern: str, log: str) -> int:
    return total(measured.map(mf.files(pattern), log=log))


@mf.pipeline
def part(units: mf.Units, log: str) -> int:
    return total(measured.map(units, log=log))


@mf.pipeline
def nested(pattern: str, log: str) -> int:
    return part(mf.files(pattern), log)


@mf.pipeline
def in_batches(pattern: str, log: str) -> int:
    return total(measured.map(mf.files(pattern), log=log, batch=10))


def lines(log):
    return Path(log).read_text().splitlines() if Path(log).exists() else []


@pytest.mark.parametrize("options", [{}, {"batch": 4}], ids=["each", "batches"])
def test_other_processes_compute_the_new_ones_and_set_up_once(write, tmp_path, options):
    log = str(tmp_path / "log")
    write(*(f"{n:02}.txt" for n in range(10)))
    with mf.executor("processes", workers=2):
        before = measured.map(mf.files("*.txt"), log=log, **options)
        write("new.txt", "00-b.txt")
        Path("07.txt").write_text("bad")
        with pytest.raises(mf.StepError, match=r"1 of 12 items failed, the first at index 8 \(07\.txt\)") as caught:
            measured.map(mf.files("*.txt"), log=log, **options)
        assert caught.value.results[-1] == len("new.txt")
        write("07.txt")
        results = measured.map(mf.files("*.txt"), log=log, **options)
    assert {name: results[name] for name in before.names} == before.to_dict()
    assert len(lines(log)) == 13
    assert all(line.endswith("True") for line in lines(log))


def test_two_units_of_other_processes_that_write_one_output_are_named(write):
    write("a.txt", "b.txt")
    with mf.executor("processes", workers=1), pytest.raises(mf.StepError, match=r"are both out\.txt"):
        into_one.map(mf.files("?.txt"))
    assert not any(into_one.is_cached(*unit) for unit in mf.files("?.txt"))


@mf.step
def into_one(file: mf.File) -> mf.File:
    Path("out.txt").write_text(file.read_text())
    return mf.File("out.txt")


@pytest.mark.parametrize("pipeline", [whole, nested, in_batches], ids=["whole", "nested", "batches"])
def test_a_pipeline_maps_over_units_and_sees_each_change(write, tmp_path, pipeline):
    log = str(tmp_path / "log")
    write("a.txt", "b.txt")
    assert pipeline("*.txt", log) == pipeline("*.txt", log) == 10
    write("c.txt", text="longer")
    assert pipeline("*.txt", log) == 16
    Path("a.txt").write_text("1")
    assert pipeline("*.txt", log) == 12
    os.rename("b.txt", "d.txt")
    assert pipeline("*.txt", log) == 12
    Path("d.txt").unlink()
    assert pipeline("*.txt", log) == 7
    assert len(lines(log)) == 4
