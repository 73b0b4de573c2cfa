"""`mlflowish run`: pipelines and steps from a shell."""

from __future__ import annotations

import datetime
import enum
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import click
import pytest
from command_runs import Runner
from processes_heard import Mortal

import mlflowish as mf
from mlflowish.cli.explain import load_module
from mlflowish.cli.main import run
from mlflowish.cli.parameters import read, values_for

PIPELINE = """
import enum
from pathlib import Path
from typing import Literal, Optional
import mlflowish as mf

class Kind(enum.Enum):
    SMALL = 1
    LARGE = 2

@mf.step
def load(path: Path, n: int = 3):
    print("loading")
    return [float(i) for i in range(n)]

@mf.step
def train(rows, lr: float, kind: Kind):
    if lr > 1:
        raise ValueError("the rate is too high")
    return sum(rows) * lr * kind.value

@mf.pipeline
def nightly(path: Path, lr: float = 0.1, kind: Kind = Kind.SMALL, mode: Literal["fast", "slow"] = "fast",
            sizes: list[int] = [], name: Optional[str] = None, dry: bool = False):
    return train(load(path), lr, kind)

@mf.pipeline
def other():
    return load("b")
"""


@pytest.fixture
def project(mlflowish: Runner, tmp_path: Path) -> Runner:
    (tmp_path / "flows.py").write_text(PIPELINE)
    return mlflowish


def test_a_pipeline_runs_and_then_is_read_back(project: Runner) -> None:
    first = project("run", "flows:nightly", "-P", "path=a.csv", "-P", "lr=0.5", "--json")
    assert first.code == 0, first.err
    assert first.document["result"] == 1.5
    assert (first.document["status"], first.document["counts"]) == ("FINISHED", {"done": 2})
    assert "loading" in first.err
    second = project("run", "flows.py:nightly", "-P", "path=a.csv", "-P", "lr=0.5")
    assert second.code == 0
    assert "all of it was read back at once" in second.out
    shown = project("show", first.document["run_id"], "--json").document
    assert shown["run"]["params"]["lr"] == "0.5"


def test_what_failed_is_told_and_running_again_goes_on(project: Runner) -> None:
    failed = project("run", "flows:nightly", "-P", "path=a.csv", "-P", "lr=2", "--json")
    assert failed.code == 1
    [failure] = failed.document["failures"]
    assert (failed.document["status"], failure["label"], failure["error"]) == (
        "FAILED",
        "train",
        "ValueError: the rate is too high",
    )
    assert 'raise ValueError("the rate is too high")' in failed.err
    assert "mlflowish/pipelines" not in failed.err
    again = project("run", "flows:nightly", "-P", "path=a.csv", "-P", "lr=1", "--json")
    assert again.document["counts"] == {"cached": 1, "done": 1}


def test_a_plan_runs_nothing(project: Runner) -> None:
    plan = project("run", "flows:nightly", "-P", "path=a.csv", "--plan", "--json").document
    assert [(node["label"], node["state"]) for node in plan["nodes"]] == [("load", "run"), ("train", "unknown")]
    shown = project("run", "flows:nightly", "-P", "path=a.csv", "--plan")
    assert shown.code == 0
    assert "train" in shown.out
    assert project("steps", "--json").document["steps"] == []


@pytest.mark.parametrize(
    ("form", "begins"), [("mermaid", "flowchart LR"), ("dot", "digraph"), ("svg", "<svg"), ("tree", "flows.nightly")]
)
def test_a_graph_is_printed(project: Runner, form: str, begins: str) -> None:
    done = project("run", "flows:nightly", "-P", "path=a.csv", "--graph", form)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(begins.rpartition(".")[2])
    assert "train" in done.out


def test_a_step_runs_too(project: Runner) -> None:
    command = ("run", "flows:load", "-P", "path=a.csv", "-P", "n=2", "--json")
    assert project(*command, "--plan").document["hit"] is False
    first, second = project(*command).document, project(*command).document
    assert (first["result"], first["hit"], second["hit"]) == ([0.0, 1.0], False, True)
    threads = project(*command, "--executor", "threads", "--workers", "2").document
    assert threads["hit"] is True


def test_it_runs_in_worker_processes_from_a_file(project: Runner) -> None:
    done = project("run", "flows.py:other", "--executor", "processes", "--workers", "1", "--json")
    assert done.code == 0, done.err
    assert done.document["result"] == [0.0, 1.0, 2.0]


def test_the_only_pipeline_needs_no_name(project: Runner, tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("import mlflowish as mf\n@mf.pipeline\ndef only(n: int = 1):\n    return [n]\n")
    assert project("run", "one.py", "--json").document["result"] == [1]
    several = project("run", "flows")
    assert several.code == 2
    assert "flows:nightly, flows:other" in several.err


def test_a_store_of_the_command_line_wins(project: Runner, tmp_path: Path) -> None:
    (tmp_path / "flows.py").write_text(PIPELINE + "\nmf.use('memory://nowhere')\n")
    done = project("run", "flows:other", "--store", str(tmp_path / "elsewhere"), "--json")
    assert done.code == 0, done.err
    assert project("steps", "--store", str(tmp_path / "elsewhere"), "--json").document["steps"][0]["calls"] == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("flows:nightly",), "flows:nightly needs path (Path): -P path="),
        (("flows:nightly", "-P", "path=a", "-P", "lrr=1"), "has no parameter lrr; did you mean lr?"),
        (("flows:nightly", "-P", "path=a", "-P", "lr=high"), "lr is float, found 'high'"),
        (
            ("flows:nightly", "-P", "path=a", "-P", "kind=SMAL"),
            "kind is one of SMALL, LARGE, found 'SMAL': did you mean",
        ),
        (("flows:nightly", "-P", "path=a", "-P", "mode=fats"), "mode is one of fast, slow, found 'fats'"),
        (("flows:nightly", "-P", "path=a", "-P", "sizes=1,x"), "sizes is list[int], found '1,x'"),
        (("flows:nightly", "-P", "path=a", "-P", "lr=1", "-P", "lr=2"), "it was given 2 times"),
        (("flows:nightly", "-P", "path"), "'path' is not NAME=VALUE"),
        (("flows:nigthly",), "There is no nigthly in flows; it has nightly"),
        (("flows:Kind",), "flows:Kind is a EnumType"),
        (("flow:nightly",), "There is no module flow"),
        (("flow.py:nightly",), "There is no file flow.py"),
        (("flows:other", "--executor", "thraeds"), "threads"),
        (("flows:other", "--workers", "0"), "0"),
    ],
)
def test_what_cannot_be_meant_ends_with_2(
    arguments: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "flows.py").write_text(PIPELINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOWISH_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    try:
        assert run(["run", *arguments]) == 2
    finally:
        sys.modules.pop("flows", None)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert said in re.sub(r"\s+", " ", shown.err)


def test_an_error_of_the_users_module_is_shown_where_it_is(project: Runner, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import mlflowish as mf\n\n1 / 0\n")
    done = project("run", "broken:x")
    assert done.code == 1
    assert re.search(r'broken.py", line 3[\s\S]*ZeroDivisionError', done.err)


# -- values ------------------------------------------------------------------------------------------


class Colour(enum.Enum):
    RED = "#f00"
    BLUE = "#00f"


@pytest.mark.parametrize(
    ("text", "hint", "value"),
    [
        ("3", int, 3),
        ("1_000", int, 1000),
        ("3", float, 3.0),
        ("1e-3", float, 0.001),
        ("3", str, "3"),
        ("none", str, "none"),
        ("yes", bool, True),
        ("False", bool, False),
        ("a/b", Path, Path("a/b")),
        ("none", int | None, None),
        ("3", int | None, 3),
        ("3", str | int, 3),
        ("x", int | str | None, "x"),
        ("fast", Literal["fast", 2], "fast"),
        ("2", Literal["fast", 2], 2),
        ("RED", Colour, Colour.RED),
        ("#00f", Colour, Colour.BLUE),
        ("1,2,3", list[int], [1, 2, 3]),
        ("[1, 2]", list[float], [1.0, 2.0]),
        ("a, b", list[str], ["a", "b"]),
        ("", list[int], []),
        ("RED,BLUE", list[Colour], [Colour.RED, Colour.BLUE]),
        ("1,2", tuple[int, ...], (1, 2)),
        ("x,x", set[str], {"x"}),
        ("{'a': 1}", dict[str, int], {"a": 1}),
        ("2026-01-31", datetime.date, datetime.date(2026, 1, 31)),
        ("3", Annotated[int, "rows"], 3),
        ("[1, 'a']", Any, [1, "a"]),
        ("plain text", Any, "plain text"),
        ("'3'", Any, "3"),
    ],
    ids=repr,
)
def test_a_text_becomes_what_the_hint_says(text: str, hint: Any, value: Any) -> None:
    found = read(text, hint)
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("3.5", int),
        ("true", int),
        ("maybe", bool),
        ("x", int | None),
        ("GREEN", Colour),
        ("[1", list[int]),
        ("1", dict[str, int]),
        ("x", object.__class__),
        ("soon", datetime.date),
    ],
    ids=repr,
)
def test_a_text_that_is_no_such_value_is_refused(text: str, hint: Any) -> None:
    with pytest.raises(ValueError):
        read(text, hint)


def test_a_file_is_known_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    assert mf.digest(read(str(tmp_path / "a"), mf.File)) == mf.digest(mf.File(tmp_path / "a"))


def test_names_may_have_dashes_and_repeated_ones_make_a_list() -> None:
    def function(first, /, max_depth: int, *, xs: list[int] = [], **more: float): ...  # noqa: B006  never called

    args, kwargs = values_for(function, ["first=a", "max-depth=3", "xs=1", "xs=2", "other=0.5"], "m:function")
    assert (args, kwargs) == (["a"], {"max_depth": 3, "xs": [1, 2], "other": 0.5})
    with pytest.raises(click.UsageError, match="needs first"):
        values_for(function, ["max_depth=3"], "m:function")


# -- code that other machines do not have ------------------------------------------------------------


def test_the_code_of_a_named_file_travels_to_where_it_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import cloudpickle

    (tmp_path / "sent.py").write_text(PIPELINE)
    monkeypatch.setattr(sys, "path", [*sys.path])
    module = load_module(str(tmp_path / "sent.py"))
    by_name = cloudpickle.dumps(module.train)
    cloudpickle.register_pickle_by_value(module)
    try:
        by_value = cloudpickle.dumps(module.train)
        pickled = pickle.dumps(module.train)
    finally:
        cloudpickle.unregister_pickle_by_value(module)
        del sys.modules["sent"]
    code = (
        "import pickle, sys, types; step = pickle.load(sys.stdin.buffer); "
        "print(step.name, step.fn([1.0], 0.5, types.SimpleNamespace(value=2)))"
    )
    for sent, ends in ((by_value, 0), (by_name, 1), (pickled, 1)):
        done = subprocess.run([sys.executable, "-c", code], input=sent, capture_output=True, cwd=tmp_path.parent)
        assert done.returncode == ends, done.stderr
        assert done.stdout.decode().strip() == ("sent.train 1.0" if ends == 0 else "")


@pytest.mark.nightly
def test_a_file_runs_on_a_cluster_that_does_not_have_it(project: Runner, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "cluster.py").write_text(
        "from distributed import LocalCluster\n"
        "if __name__ == '__main__':\n"
        "    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:\n"
        "        print(cluster.scheduler_address, flush=True)\n"
        "        input()\n"
    )
    cluster = Mortal(
        [sys.executable, "cluster.py"],
        cwd=tmp_path / "elsewhere",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with cluster:
        assert cluster.stdout is not None
        address = cluster.stdout.readline().strip()
        command = ("run", "flows.py:nightly", "-P", "path=a.csv", "-P", "kind=LARGE", "--json")
        done = project(*command, "--executor", address, PYTHONWARNINGS="default")
        cluster.communicate("\n")
    assert done.code == 0, done.err
    assert (done.document["result"], done.document["counts"]) == (pytest.approx(0.6), {"done": 2})
    assert project(*command).document["whole_hit"] is True
