"""The commands about registered models, as they are typed."""

import contextlib
import fcntl
import json
import os
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest
from command_runs import Runner

from mlflowish.cli.models import _naming_commands
from mlflowish.cli.options import Location
from mlflowish.errors import StateError

SCRIPT = """
import mlflowish as mf

mf.register_model("churn", {"w": 1}, metrics={"auc": 0.9}, description="first")
mf.register_model("churn", {"w": 2}, alias="champion")
mf.registry.transition("churn", 1, "production", comment="go")
mf.register_model("fraud", 3)
mf.registry.configure("fraud", approvals=["production"])
"""
DETAILED = (
    SCRIPT
    + """
import pyarrow as pa

class Mean:
    def predict(self, table):
        return table["age"]

@mf.step
def fitted():
    return Mean()

if __name__ == "__main__":
    inputs = pa.schema([pa.field("age", "int64", nullable=False), pa.field("name", "string")])
    signature = mf.Signature(inputs, pa.schema([pa.field("", "float64", nullable=False)]))
    mf.register_model("churn", fitted(), stage="staging", alias="best", signature=signature)
"""
)
PROMOTE = ("promote", "fraud", "1", "production")


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


def test_refusals_name_the_option_to_give(stocked: Runner, tmp_path: Path) -> None:
    refused = stocked("promote", "fraud", "1", "production")
    assert refused.err == (
        "mlflowish: Moving fraud version 1 into production needs the approval of another person. Ask for it: "
        "mlflowish promote fraud 1 production --request\n"
    )
    assert f"--request --store {tmp_path / 'store'}" in stocked(*PROMOTE, "--store", str(tmp_path / "store")).err
    assert "Leave out --request" in stocked("promote", "fraud", "1", "staging", "--request").err
    assert stocked(*PROMOTE, "--request", "--who", "ann").code == 0
    assert "--approve or --reject it" in stocked(*PROMOTE, "--request", "--who", "eve").err
    assert "Another person must approve it (--who)" in stocked(*PROMOTE, "--approve", "--who", "ann").err
    assert (
        "Leave out --keep-existing to archive version 1"
        in stocked("promote", "churn", "2", "production", "--keep-existing").err
    )
    assert stocked(*PROMOTE, "--approve", "--reject").code == 2


def test_a_command_that_is_proposed_has_no_password_of_the_store() -> None:
    location = Location("s3://key:topsecret@bucket/x", {}, is_named=True)
    refused = StateError("no", refused="needs approval", what="It needs approval")
    with pytest.raises(StateError) as caught, _naming_commands(location, "fraud", 1, "production"):
        raise refused
    assert "--store s3://key@bucket/x" in caught.value.message
    assert "topsecret" not in caught.value.message + repr(caught.value.data)


def test_a_request_is_listed_rejected_and_taken_back(stocked: Runner) -> None:
    assert stocked(*PROMOTE, "--request", "--who", "ann", "-m", "two quiet weeks").code == 0
    assert "Waiting for approval" in stocked("models", "fraud").out
    [waiting] = stocked("models", "fraud", "--json").document["requests"]
    assert (waiting["version"], waiting["who"], waiting["needed"]) == (1, "ann", 1)
    done = stocked(*PROMOTE, "--reject", "--who", "bob")
    assert done.out == "rejected: fraud version 1 into production; it stays in none\n"
    assert stocked(*PROMOTE, "--request", "--who", "ann").code == 0
    done = stocked(*PROMOTE, "--withdraw", "--who", "ann")
    assert done.out == "withdrawn: fraud version 1 into production; it stays in none\n"
    assert stocked("models", "fraud", "--json").document["requests"] == []


def test_deleted_versions_are_listed_when_asked_for(
    mlflowish: Runner, tmp_path: Path, left_by: Callable[..., str]
) -> None:
    left_by(SCRIPT + "mf.registry.delete('churn', 2, force=True)\n", tmp_path)
    assert [v["version"] for v in mlflowish("models", "churn", "--json").document["versions"]] == [1]
    listed = mlflowish("models", "churn", "--deleted", "--json").document["versions"]
    assert [(v["version"], v["deleted"]) for v in listed] == [(1, False), (2, True)]
    assert "deleted" in mlflowish("models", "churn", "--deleted").out


def test_a_lineage_of_a_version_that_is_not_there_says_which_are(stocked: Runner) -> None:
    assert (
        stocked("lineage", "models:/churn/9").err == "mlflowish: churn has no version 9; there is 2, 1 (newest first)\n"
    )


def test_a_store_in_the_wrong_place_is_answered_with_the_right_one(mlflowish: Runner) -> None:
    done = mlflowish("fsck", "store")
    assert (done.code, "A store is named with --store." in done.err) == (2, True)
    done = mlflowish("--store", "store", "fsck")
    assert (done.code, "It stands after the command" in done.err) == (2, True)


def test_a_move_that_moves_nothing_says_so(stocked: Runner) -> None:
    assert stocked("promote", "churn", "1", "production").out == "churn version 1 is in production already\n"


@pytest.mark.parametrize("address", ["churn/3", "models:/churn/3", "churn@best", "churn/latest", "churn/staging"])
def test_all_about_one_version(mlflowish: Runner, tmp_path: Path, left_by: Callable[..., str], address: str) -> None:
    left_by(DETAILED, tmp_path, name="detailed.py")
    page = mlflowish("models", address).out
    for text in (
        "age: int64, name: string?",
        "gives        float64",
        "detailed.fitted, call ",
        "Python 3.",
        "packages",
    ):
        assert text in page
    found = mlflowish("models", address, "--json").document
    assert [column["name"] for column in found["signature"]["inputs"]] == ["age", "name"]
    assert found["environment"]["python"].startswith("3.")
    assert (found["type"], len(found["made_by"]), found["has_input_example"]) == ("__main__.Mean", 1, False)
    assert sum(file["bytes"] for file in found["files"]) <= found["bytes"]
    history = mlflowish("models", address, "--history", "--json").document["history"]
    assert {event["version"] for event in history} == {3}


def test_a_version_whose_files_are_damaged_is_told_all_the_same(stocked: Runner, tmp_path: Path) -> None:
    for path in (tmp_path / "store" / "objects").glob("*/*"):
        path.unlink()
    done = stocked("models", "churn/1")
    assert (done.code, "damaged" in done.out, "auc=0.9" in done.out) == (0, True, True)
    found = stocked("models", "churn/1", "--json").document
    assert ("is not in" in found["damage"], found["version"]) == (True, 1)


def test_a_terminal_that_is_too_narrow_for_columns_gets_a_block_for_each_row(stocked: Runner, tmp_path: Path) -> None:
    lines = _on_terminal(50, ["models", "churn", "--store", str(tmp_path / "store")])
    assert ["version", "1"] in lines
    assert ["metrics", "auc=0.9"] in lines
    assert all(line == line.rstrip() for line in stocked("models", "churn").out.splitlines())


def _on_terminal(columns: int, arguments: list[str]) -> list[list[str]]:
    """The words of each line that the command prints on a terminal of so many columns."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {**os.environ, "TERM": "dumb", "NO_COLOR": "1"}
    environment.pop("COLUMNS", None)
    command = [str(Path(sys.executable).with_name("mlflowish")), *arguments]
    subprocess.run(command, stdout=theirs, env=environment, check=True)
    os.close(theirs)
    text = b""
    with contextlib.suppress(OSError):  # the end of what a terminal gives
        while piece := os.read(ours, 65536):
            text += piece
    os.close(ours)
    return [line.split() for line in text.decode().splitlines()]


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


def test_what_the_encoding_of_a_terminal_does_not_have_is_escaped(
    typed: Runner, tmp_path: Path, left_by: Callable[..., str]
) -> None:
    left_by('import mlflowish as mf\n\nmf.register_model("\\u6f22", 1)', tmp_path)
    shown = typed("models", PYTHONIOENCODING="cp1252")
    assert (shown.code, shown.err) == (0, "")
    assert "\\u6f22" in shown.out
    refused = typed("models", "\u6f23", PYTHONIOENCODING="cp1252")
    assert (refused.code, "Traceback" in refused.err) == (1, False)
    assert "'\\u6f23'" in refused.err
