"""The commands about runs, as they are typed."""

from collections.abc import Callable
from pathlib import Path

import pytest
from command_runs import Runner

SCRIPT = """
import os, signal
import mlflowish as mf

@mf.step
def double(n):
    return 2 * n

for lr in (0.1, 0.2):
    with mf.start_run(f"lr-{lr}", experiment="churn", tags={"team": "x"}):
        mf.log_params({"lr": lr, "depth": 3})
        mf.log_metric("loss", lr * 2, step=1)
        mf.log_metric("odd", float("nan"))
        mf.log_text("hi", "notes/a.txt")
        double(1)
mf.start_run("victim")
mf.log_metric("x", 1)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def tracked(mlflowish: Runner, tmp_path: Path, left_by: Callable[..., str]) -> Runner:
    """A store with two runs that ended and one whose program was killed."""
    # What is found out in the background may not be there yet when the program is killed.
    left_by(SCRIPT, tmp_path, name="tracked.py", MLFLOWISH_SOURCE="0", MLFLOWISH_ENVIRONMENT="0")
    return mlflowish


def test_runs_are_listed_filtered_shown_and_compared(tracked: Runner) -> None:
    listed = tracked("runs", "--json").document["runs"]
    assert [(run["name"], run["status"]) for run in listed] == [
        ("victim", "KILLED"),
        ("lr-0.2", "FINISHED"),
        ("lr-0.1", "FINISHED"),
    ]
    assert listed[1]["metrics"] == {"loss": 0.4, "odd": "nan"}
    few = tracked("runs", "metrics.loss < 0.3", "-e", "churn", "--order-by", "metrics.loss asc", "--json").document
    assert [run["name"] for run in few["runs"]] == ["lr-0.1"]
    page = tracked("runs")
    assert (page.code, "lr-0.1" in page.out, "0.4" in page.out) == (0, True, True)

    shown = tracked("show", "lr-0.2", "--json").document["run"]
    assert (shown["params"], shown["artifacts"][0]["path"]) == ({"lr": "0.2", "depth": "3"}, "notes/a.txt")
    assert [call["hit"] for call in shown["calls"]] == [True]
    by_id = tracked("show", listed[2]["run_id"])
    assert (by_id.code, "param lr" in by_id.out, "1, 0 read back" in by_id.out) == (0, True, True)

    compared = tracked("compare", "lr-0.1", "lr-0.2", "--json").document["differences"]
    assert [(row["kind"], row["name"], row["values"]) for row in compared] == [
        ("param", "lr", ["0.1", "0.2"]),
        ("metric", "loss", [0.2, 0.4]),
    ]
    assert "0.2" in tracked("compare", "lr-0.1", "lr-0.2").out


def test_sync_brings_in_what_a_killed_program_left(tracked: Runner, tmp_path: Path) -> None:
    assert len(list((tmp_path / "store" / "spool").iterdir())) == 1
    assert tracked("sync", "--json").document["files_moved"] == 1
    assert tracked("sync").out.startswith("brought in 0 spool files")
    assert tracked("show", "victim", "--json").document["run"]["metrics"] == {"x": 1.0}
    assert tracked("compact").code == 0
    assert tracked("show", "victim", "--json").document["run"]["status"] == "KILLED"


def test_a_run_that_is_not_there_is_one_message(tracked: Runner) -> None:
    done = tracked("show", "lr-0.3")
    assert (done.code, done.out) == (1, "")
    assert "There is no run lr-0.3" in done.err
    assert "lr-0.2" in done.err
    assert tracked("compare", "lr-0.1").code == 1
    assert tracked("runs", "metrics.loss <").code == 1
