"""The commands that look into a store, as they are typed."""

import json
from pathlib import Path

import pytest
from command_runs import Runner


def key_of(used: Runner, n: int) -> str:
    found = used("explain", "script.py:work", "-a", f"n={n}", "--json").document
    assert found["hit"]
    return str(found["key"])


def test_the_version_is_printed(mlflowish: Runner) -> None:
    done = mlflowish("--version")
    assert (done.code, done.out.split()[0]) == (0, "mlflowish,")


@pytest.mark.parametrize(
    "command",
    [
        "demo",
        "status",
        "steps",
        "show",
        "explain",
        "lineage",
        "forget",
        "compact",
        "du",
        "fsck",
        "gc",
        "runs",
        "compare",
        "sync",
    ],
)
def test_every_command_says_what_it_does(mlflowish: Runner, command: str) -> None:
    done = mlflowish(command, "--help")
    assert done.code == 0
    assert "--store" in done.out
    assert "--json" in done.out


def test_status_counts_what_is_stored(used: Runner) -> None:
    found = used("status", "--json").document
    assert (found["format"], found["results"], found["steps"], found["failed"]) == (1, 3, 2, 1)
    assert found["files"] > 0
    assert found["bytes"] > 0


def test_status_for_people_names_the_store(used: Runner, tmp_path: Path) -> None:
    done = used("status")
    assert done.code == 0
    assert "3 of 2 steps" in done.out


def test_status_of_a_store_that_is_not_there_creates_nothing(mlflowish: Runner, tmp_path: Path) -> None:
    done = mlflowish("status")
    assert (done.code, "nothing is stored there yet" in done.out) == (0, True)
    assert not (tmp_path / "store").exists()


def test_another_store_can_be_named(used: Runner, tmp_path: Path) -> None:
    assert used("status", "--json", "--store", str(tmp_path / "other")).document["format"] is None
    assert used("status", "--json", "--store", str(tmp_path / "store"), MLFLOWISH_STORE="").document["results"] == 3


def test_steps_lists_calls_and_results_of_each_step(used: Runner) -> None:
    found = {each["step"]: each for each in used("steps", "--json").document["steps"]}
    assert {name: (s["calls"], s["results"], s["failed"]) for name, s in found.items()} == {
        "script.work": (3, 3, 0),
        "script.fails": (1, 0, 1),
    }


def test_steps_for_people_is_a_table(used: Runner) -> None:
    done = used("steps")
    assert done.code == 0
    assert "script.work" in done.out
    assert "results kept" in done.out


def test_show_takes_the_first_digits_of_a_key(used: Runner) -> None:
    key = key_of(used, 2)
    [call] = used("show", key[:12], "--json").document["calls"]
    assert (call["key"], call["step"], call["status"]) == (key, "script.work", "computed")
    assert [a["name"] for a in call["arguments"]] == ["n", "power"]


def test_show_for_people_has_arguments_and_result(used: Runner) -> None:
    done = used("show", key_of(used, 2))
    assert done.code == 0
    assert "argument n" in done.out
    assert "result" in done.out


def test_show_of_an_unknown_key_is_one_message(used: Runner) -> None:
    done = used("show", "0000000000000000")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("mlflowish: There is no call with a key that begins with 0000000000000000")
    assert "Traceback" not in done.err


def test_show_of_what_cannot_be_a_key_says_what_one_is(used: Runner) -> None:
    done = used("show", "work")
    assert done.code == 1
    assert "hex digits" in done.err


def test_an_error_for_programs_is_one_json_line(used: Runner) -> None:
    done = used("show", "0000000000000000", "--json")
    assert (done.code, done.out) == (1, "")
    assert json.loads(done.err)["error"]["code"] == "not-found"


def test_explain_names_the_argument_that_differs(used: Runner) -> None:
    found = used("explain", "script.py:work", "-a", "n=2", "-a", "power=9", "--json").document
    assert (found["hit"], [d["name"] for d in found["differences"]]) == (False, ["power"])


def test_explain_names_the_helper_and_the_global_that_differ(used: Runner, tmp_path: Path) -> None:
    file = tmp_path / "script.py"
    file.write_text(file.read_text().replace("RATE = 0.5", "RATE = 0.25").replace("return n * RATE", "return RATE * n"))
    found = used("explain", "script.py:work", "-a", "n=2", "--json").document
    names = sorted(d["name"].rpartition(".")[2] for d in found["differences"])
    assert (found["hit"], names) == (False, ["RATE", "helper"])
    text = used("explain", "script.py:work", "-a", "n=2").out
    assert "-    return n * RATE" in text
    assert "+    return RATE * n" in text


def test_explain_takes_a_module_by_name(used: Runner) -> None:
    assert used("explain", "script:work", "-a", "n=2", "--json").document["hit"]


def test_an_argument_in_quotes_is_text(used: Runner) -> None:
    assert not used("explain", "script.py:work", "-a", "n='2'", "--json").document["hit"]


def test_explain_runs_nothing(used: Runner) -> None:
    before = used("status", "--json").document
    assert used("explain", "script.py:work", "-a", "n=77").code == 0
    assert used("status", "--json").document == before


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("script.py:nothing", "There is no nothing in script.py; its steps are"),
        ("script.py:helper", "script.py:helper is a function, not a step"),
        ("missing.py:work", "There is no file missing.py"),
        ("no_such_module:work", "Importing no_such_module failed: ModuleNotFoundError"),
    ],
)
def test_explain_says_why_there_is_no_such_step(used: Runner, target: str, message: str) -> None:
    done = used("explain", target)
    assert done.code == 1
    assert message in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("status", "--nonsense"),
        ("show",),
        ("explain", "script.py"),
        ("explain", "script.py:work", "-a", "n"),
        ("explain", "script.py:work", "-a", "unknown=1"),
        ("status", "-o", "nonsense"),
    ],
    ids=" ".join,
)
def test_a_command_line_that_cannot_be_meant_ends_with_2(used: Runner, arguments: tuple[str, ...]) -> None:
    done = used(*arguments)
    assert (done.code, done.out) == (2, "")
    assert "Traceback" not in done.err


def test_forget_drops_all_results_of_a_step(used: Runner) -> None:
    assert used("forget", "script.work", "--yes", "--json").document["dropped"] == 3
    assert used("status", "--json").document["results"] == 0
    assert not used("explain", "script.py:work", "-a", "n=2", "--json").document["hit"]


def test_forget_drops_the_result_of_one_key(used: Runner) -> None:
    key = key_of(used, 2)
    assert used("forget", key[:16], "--yes", "--json").document["dropped"] == 1
    assert not used("explain", "script.py:work", "-a", "n=2", "--json").document["hit"]
    assert used("explain", "script.py:work", "-a", "n=1", "--json").document["hit"]


def test_forget_asks_first_and_no_is_no(used: Runner) -> None:
    done = used("forget", "script.work", stdin="n\n")
    assert done.code != 0
    assert "Drop 3 stored results" in done.err
    assert used("status", "--json").document["results"] == 3


def test_forget_without_anybody_to_ask_drops_nothing(used: Runner) -> None:
    assert used("forget", "script.work").code != 0
    assert used("status", "--json").document["results"] == 3


def test_forget_of_an_unknown_step_names_the_near_ones(used: Runner) -> None:
    done = used("forget", "script.wurk", "--yes")
    assert done.code == 1
    assert "script.work" in done.err


def test_compact_keeps_everything(used: Runner) -> None:
    assert used("compact", "--json").code == 0
    assert used("status", "--json").document["results"] == 3
    assert used("explain", "script.py:work", "-a", "n=2", "--json").document["hit"]


def test_compact_of_nothing_creates_nothing(mlflowish: Runner, tmp_path: Path) -> None:
    assert mlflowish("compact").code == 0
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("url", "code"),
    [("nonsense://bucket", ("invalid-input", "capability")), ("memory://x", None)],
    ids=["unknown", "memory"],
)
def test_a_store_of_an_unknown_kind_is_an_error_of_ours(
    mlflowish: Runner, url: str, code: tuple[str, ...] | None
) -> None:
    done = mlflowish("status", "--store", url, "--json")
    if code is None:
        assert done.document["format"] is None
    else:
        assert (done.code, json.loads(done.err)["error"]["code"] in code) == (1, True)


def test_a_store_of_a_newer_format_is_left_alone(used: Runner, tmp_path: Path) -> None:
    record = tmp_path / "store" / "FORMAT"
    newer = json.dumps({**json.loads(record.read_text()), "version": 99})
    record.chmod(0o644)
    record.write_text(newer)
    for command in (["status"], ["steps"], ["compact"], ["forget", "script.work", "--yes"]):
        done = used(*command)
        assert done.code == 1
        assert "Upgrade" in done.err
        assert "Traceback" not in done.err
    assert record.read_text() == newer


def test_a_reader_that_stops_early_is_no_error(used: Runner, tmp_path: Path) -> None:
    import os
    import subprocess
    import sys

    script = f"{Path(sys.executable).with_name('mlflowish')} steps | true; exit ${{PIPESTATUS[0]}}"
    env = {**os.environ, "MLFLOWISH_STORE": str(tmp_path / "store")}
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
