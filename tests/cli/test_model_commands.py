"""The commands about registered models, as they are typed."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command_runs import Runner

SCRIPT = """
import mlflowish as mf

mf.register_model("churn", {"w": 1}, metrics={"auc": 0.9}, description="first")
mf.register_model("churn", {"w": 2}, alias="champion")
mf.registry.transition("churn", 1, "production", comment="go")
mf.register_model("fraud", 3)
mf.registry.configure("fraud", approvals=["production"])
"""


@pytest.fixture
def stocked(mlflowish: Runner, tmp_path: Path, left_by: Callable[..., str]) -> Runner:
    """The command, in a folder whose store has two models."""
    left_by(SCRIPT, tmp_path)
    return mlflowish


@pytest.mark.parametrize("command", ["models", "promote", "hooks"])
def test_every_command_about_models_says_what_it_does(mlflowish: Runner, command: str) -> None:
    done = mlflowish(command, "--help")
    assert (done.code, "--store" in done.out, "--json" in done.out) == (0, True, True)


def test_models_are_listed_for_people_and_for_programs(stocked: Runner) -> None:
    listed = stocked("models", "--json").document["models"]
    assert [(m["model"], m["latest"], m["stages"].get("production")) for m in listed] == [
        ("churn", 2, [1]),
        ("fraud", 1, None),
    ]
    assert "production: 1" in stocked("models").out
    versions = stocked("models", "churn", "--json").document["versions"]
    assert [(v["version"], v["stage"], v["aliases"]) for v in versions] == [
        (1, "production", []),
        (2, "none", ["champion"]),
    ]
    assert "auc=0.9" in stocked("models", "churn").out
    assert stocked("models", "models:/churn@champion", "--json").document["version"] == 2
    history = stocked("models", "churn", "--history", "--json").document["history"]
    assert (history[-1]["to_stage"], history[-1]["comment"]) == ("production", "go")


def test_a_version_is_promoted_by_number_and_by_alias(stocked: Runner) -> None:
    done = stocked("promote", "churn", "@champion", "production", "-m", "better", "--who", "bob")
    assert (done.code, done.out) == (0, "churn version 2: none -> production\n")
    moved = stocked("promote", "churn", "1", "staging", "--json").document
    assert (moved["version"], moved["from_stage"], moved["stage"]) == (1, "archived", "staging")


def test_what_cannot_be_promoted_ends_with_one_message(stocked: Runner) -> None:
    done = stocked("promote", "churn", "7", "production")
    assert (done.code, done.err) == (1, "mlflowish: churn has no version 7; there is 2, 1 (newest first)\n")
    done = stocked("promote", "churn", "2", "production", "--keep-existing", "--json")
    assert (done.code, json.loads(done.err)["error"]["code"], done.out) == (1, "state", "")


def test_a_move_is_asked_for_and_approved_by_another_person(stocked: Runner) -> None:
    assert stocked("promote", "fraud", "1", "production").code == 1
    assert stocked("promote", "fraud", "1", "production", "--request", "--who", "ann").code == 0
    assert stocked("promote", "fraud", "1", "production", "--approve", "--who", "ann").code == 1
    done = stocked("promote", "fraud", "1", "production", "--approve", "--who", "bob")
    assert done.out == "fraud version 1: none -> production\n"


def test_what_did_not_arrive_makes_hooks_end_with_one(stocked: Runner, tmp_path: Path) -> None:
    add = "import mlflowish as mf; mf.registry.on_transition('http://127.0.0.1:9/nobody')"
    env = {**os.environ, "MLFLOWISH_STORE": str(tmp_path / "store")}
    subprocess.run([sys.executable, "-c", add], cwd=tmp_path, env=env, check=True)
    assert stocked("hooks", "--deliver").code == 0
    assert stocked("promote", "churn", "2", "staging").code == 0
    [hook] = stocked("hooks", "--json").document["hooks"]
    assert hook["pending"] == 1
    done = stocked("hooks", "--deliver")
    assert (done.code, "1 deliveries did not arrive" in done.err) == (1, True)
