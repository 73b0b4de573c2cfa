"""What commands say of a place where nothing was ever stored: a mistyped path is no sound, empty store."""

import json
from pathlib import Path

import pytest
from command_runs import Runner

KEEPING = ("fsck", "du", "gc", "retain", "compact")
LISTS = ("steps", "runs", "models", "hooks")
LOOKING = (
    ("models", "churn"),
    ("promote", "churn", "1", "production"),
    ("show", "abcd"),
    ("compare", "a", "b"),
    ("forget", "work", "--yes"),
    ("lineage", "models:/churn/1"),
)


@pytest.mark.parametrize("command", [*((each,) for each in (*KEEPING, *LISTS)), *LOOKING], ids=lambda parts: parts[0])
def test_a_mistyped_store_is_said_and_not_made(mlflowish: Runner, tmp_path: Path, command: tuple[str, ...]) -> None:
    done = mlflowish(*command, "--store", "typo")
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        "mlflowish: There is no store at typo: nothing was ever stored there. Check the path; a store is made by the "
        "first write to it\n"
    ).replace("typo", str(tmp_path / "typo"))
    assert list(tmp_path.iterdir()) == []


def test_programs_get_a_mistyped_store_as_not_found(mlflowish: Runner) -> None:
    done = mlflowish("fsck", "--store", "typo", "--json")
    assert (done.code, done.out, json.loads(done.err)["error"]["code"]) == (1, "", "not-found")


@pytest.mark.parametrize("command", LISTS)
def test_the_store_of_this_folder_may_be_new(mlflowish: Runner, command: str) -> None:
    done = mlflowish(command)
    assert (done.code, done.err, done.out.endswith(": none\n")) == (0, "", True)
    assert mlflowish(command, "--json").document[command] == []


@pytest.mark.parametrize("command", ["du", "gc", "retain", "compact", "status"])
def test_looking_after_a_store_of_this_folder_that_is_new_makes_none(
    mlflowish: Runner, tmp_path: Path, command: str
) -> None:
    assert mlflowish(command).code == 0
    assert list(tmp_path.iterdir()) == []


def test_a_check_of_nothing_fails_wherever_it_is(mlflowish: Runner) -> None:
    assert mlflowish("fsck").code == 1


def test_the_folder_above_a_store_is_none(used: Runner, tmp_path: Path) -> None:
    (tmp_path / "store").rename(tmp_path / ".mlflowish")
    done = used("fsck", "--store", str(tmp_path))
    assert (done.code, f"There is one at {tmp_path / '.mlflowish'}" in done.err) == (1, True)


def test_what_is_not_in_a_store_that_is_there_is_what_is_missing(used: Runner) -> None:
    assert "No model is named 'churn'" in used("models", "churn").err
    assert used("models", "--store", "store").code == 0
