"""`mlflowish demo`: what it shows is what happened."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_runs import Runner

ORDER = ["load", "split", "features", "train", "features", "evaluate"]


def test_the_second_run_reads_everything_back_and_so_does_the_next_demo(mlflowish: Runner) -> None:
    done = mlflowish("demo", "--json", PYTHONWARNINGS="default")
    assert done.code == 0, done.err
    first, second = done.document["runs"]
    assert [(call["step"], call["hit"]) for call in first["calls"]] == [(step, False) for step in ORDER]
    assert [(call["step"], call["hit"]) for call in second["calls"]] == [(step, True) for step in ORDER]
    assert [call["key"] for call in first["calls"]] == [call["key"] for call in second["calls"]]
    assert first["process"] != second["process"]
    assert first["accuracy"] == second["accuracy"] > 0.95
    assert done.document["seconds_saved"] > 0

    left = mlflowish("status", "--json").document["results"]
    edited = mlflowish("demo", "--edit", "--json", PYTHONWARNINGS="default")
    assert edited.code == 0, edited.err
    before, after = edited.document["runs"]
    assert all(call["hit"] for call in before["calls"])
    assert edited.document["ran_again"] == ["features", "train", "evaluate"]
    assert edited.document["read_back"] == ["load", "split"]
    features, train = after["calls"][2], after["calls"][3]
    assert [(d["kind"], d["name"].rpartition(".")[2]) for d in features["differences"]] == [("function", "normalised")]
    assert "+    return np.sqrt(images / 16.0)" in features["differences"][0]["diff"]
    assert [(d["kind"], d["name"]) for d in train["differences"]] == [("argument", "x")]

    # An edit leaves nothing behind that would hide the next one: what the first demo left is there, and no more.
    assert mlflowish("status", "--json").document["results"] == left


@pytest.mark.nightly  # the tests around this one run the same in another form, and `.ci/run` reads what is printed
def test_an_edit_says_what_ran_again_and_so_does_the_next_one(mlflowish: Runner) -> None:
    for _ in range(2):
        told = mlflowish("demo", "--edit", PYTHONWARNINGS="default")
        assert told.code == 0, told.err
        assert "Ran again: features, train, evaluate. Read back: load, split." in told.out
        assert "function digits.normalised differs" in " ".join(told.out.split())


@pytest.mark.any_python
def test_on_memory_both_runs_are_in_one_process(mlflowish: Runner) -> None:
    done = mlflowish("demo", "--store", "memory://demo", "--json", PYTHONWARNINGS="default")
    assert done.code == 0, done.err
    first, second = done.document["runs"]
    assert first["process"] == second["process"]
    assert [call["hit"] for call in second["calls"]] == [True] * len(ORDER)


def test_without_scikit_learn_the_extra_is_named(mlflowish: Runner, tmp_path: Path) -> None:
    # A search that does not find the package, as if it were not installed, for every process below.
    (tmp_path / "sitecustomize.py").write_text(
        "from importlib.machinery import PathFinder\n"
        "found = PathFinder.find_spec\n"
        "PathFinder.find_spec = lambda name, *a: None if name.partition('.')[0] == 'sklearn' else found(name, *a)\n"
    )
    done = mlflowish("demo", "--json", PYTHONPATH=str(tmp_path))
    assert (done.code, done.out) == (1, "")
    error = json.loads(done.err)["error"]
    assert error["code"] == "missing-extra"
    assert "pip install 'mlflowish[demo]'" in error["message"]


def test_a_store_that_cannot_be_written_is_an_error_of_ours(mlflowish: Runner, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "tmp").mkdir()
    url = os.fspath(tmp_path / "file" / "store")
    done = mlflowish("demo", "--store", url, PYTHONWARNINGS="ignore", TMPDIR=os.fspath(tmp_path / "tmp"))
    assert done.code == 1
    assert "mlflowish: " in done.err
    assert "Traceback" not in done.err
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.nightly  # the tests above run the same example
def test_the_example_runs_as_a_module_of_its_own(tmp_path: Path) -> None:
    env = {**os.environ, "MLFLOWISH_STORE": str(tmp_path / "store")}
    command = [sys.executable, "-m", "mlflowish.demo.digits"]
    outputs = [subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True) for _ in "12"]
    assert [done.stdout for done in outputs] == ["accuracy 99.1%\n"] * 2
