"""Bad input and failure: what is told, when, and what is kept."""

from __future__ import annotations

import inspect
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import psutil
import pytest
from processes_heard import Mortal

import mlflowish as mf
from mlflowish.testing.executor_suite import wait_until

HERE = os.path.basename(__file__)


@pytest.fixture(autouse=True)
def store(tmp_path):
    with mf.Store(tmp_path / "store") as opened:
        yield opened


@mf.step
def load(n):
    return list(range(n))


@mf.step
def double(x):
    return 2 * x


@mf.step
def fail(x):
    raise ValueError(f"no {x}")


def line_of(function, text):
    """Where in this file a function has a line with that text."""
    lines, first = inspect.getsourcelines(getattr(function, "fn", function))
    return first + next(number for number, line in enumerate(lines) if text in line)


# -- parameters ------------------------------------------------------------------------------------

ran = []


@mf.pipeline
def typed(
    path: str,
    lr: float = 0.1,
    sizes: list[int] | None = None,
    mode: Literal["fast", "slow"] = "fast",
    many: dict[str, float] = {},  # noqa: B006  such a default is what is tested
    *,
    array: np.ndarray | None = None,
):
    ran.append(path)
    return double(lr)


@pytest.mark.parametrize(
    ("args", "kwargs", "told"),
    [
        ((), {}, "missing a required argument: 'path'"),
        ((1,), {}, "the parameter 'path' is str, found int 1"),
        (("a", "0.1"), {}, "the parameter 'lr' is float, found str '0.1'"),
        (("a", True), {}, "the parameter 'lr' is float, found bool True"),
        (("a",), {"lrr": 1.0}, "Did you mean 'lr'"),
        (("a",), {"sizes": [1, "2"]}, "the parameter 'sizes' is list"),
        (("a",), {"mode": "medium"}, "the parameter 'mode' is Literal"),
        (("a",), {"many": {"x": "y"}}, "the parameter 'many' is dict"),
        (("a",), {"array": [1]}, "the parameter 'array'"),
    ],
    ids=["missing", "int", "text", "bool", "unknown", "member", "literal", "dict", "array"],
)
def test_parameters_are_checked_before_anything_runs(args, kwargs, told):
    for ask in (typed, typed.run, typed.plan):
        with pytest.raises(mf.InvalidInputError, match=told):
            ask(*args, **kwargs)
    assert ran == []
    assert len(mf.search_runs()) == 0


def test_parameters_that_fit_are_taken():
    assert typed("a", 1, [1], "slow", {"x": 1}, array=np.arange(2)) == 2
    ran.clear()


def test_a_hint_that_cannot_be_understood_is_passed_over():
    @mf.pipeline
    def odd(n: NotThere):  # noqa: F821  such a hint is what is tested
        return double(n)

    assert odd("a") == "aa"


def test_a_wrong_call_in_the_body_names_its_line():
    @mf.pipeline
    def wrong():
        return double(1, 2, 3)

    with pytest.raises(mf.InvalidInputError, match="the arguments do not fit") as caught:
        wrong()
    assert (caught.value.line, os.path.basename(caught.value.file)) == (line_of(wrong, "double(1, 2"), HERE)


def test_a_wrong_call_of_a_nested_pipeline_names_its_line():
    @mf.pipeline
    def outer():
        return typed(3)

    with pytest.raises(mf.InvalidInputError, match=rf"'path' is str, found int 3 \({HERE}, line \d+\)"):
        outer()


# -- nodes used as values --------------------------------------------------------------------------


def use_if(x):
    return 1 if x else 2


def use_compare(x):
    return x > 3


def use_equal(x):
    return x == 3


def use_loop(x):
    return [double(item) for item in x]


def use_unpack(x):
    a, _b = x
    return a


def use_len(x):
    return len(x)


def use_add(x):
    return x + 1


def use_numpy(x):
    return np.mean(x)


def use_attribute(x):
    return x.shape


def use_text(x):
    return f"{x}.csv"


def use_index(x):
    return [1, 2][x]


def use_str(x):
    return load(str(x))


def use_old_format(x):
    return load("%s of it" % x)  # noqa: UP031  what is tested


def use_converted_format(x):
    return load(f"{x!s}")


def use_in(x):
    return 3 in x


@pytest.mark.parametrize(
    ("use", "told"),
    [
        (use_if, "mf.when"),
        (use_compare, "mf.when"),
        (use_equal, "mf.when"),
        (use_in, "mf.when"),
        (use_loop, "step.map"),
        (use_unpack, r"a, b = pair\[0\], pair\[1\]"),
        (use_len, "step.map"),
        (use_add, "Let a step do it"),
        (use_numpy, "Let a step do it"),
        (use_attribute, "asked for .shape"),
        (use_text, "Let a step do it"),
        (use_str, "Let a step do it"),
        (use_old_format, "Let a step do it"),
        (use_converted_format, "Let a step do it"),
        (use_index, "Let a step do it"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_node_that_is_used_as_a_value_is_refused_with_the_way_to_do_it(use, told):
    @mf.pipeline
    def wrong():
        return use(load(2))

    with pytest.raises(mf.InvalidInputError, match=told) as caught:
        wrong()
    assert caught.value.line == line_of(wrong, "use(load(2))")
    assert f"{HERE}, line {caught.value.line}" in str(caught.value)


@pytest.mark.parametrize(
    "hold",
    [
        lambda node: {node: 1},
        lambda node: {node},
        lambda node: {0: "zero"}.get(node, "other"),
        lambda node: {0: "zero"}[node],
        lambda node: node in {0, 1},
    ],
    ids=["name", "member", "get", "item", "in"],
)
def test_nodes_are_not_looked_up_in_sets_and_dicts(hold):
    @mf.pipeline
    def returns():
        return hold(double(0))

    with pytest.raises(mf.InvalidInputError, match="in a dict or a set"):
        returns()


def test_questions_about_steps_in_a_body_are_refused():
    for ask in (double.call, double.is_cached, double.explain):

        @mf.pipeline
        def wrong(ask=ask):
            return ask(1)

        with pytest.raises(mf.InvalidInputError, match=r"where nothing has run"):
            wrong()


def test_nodes_have_no_meaning_outside_of_their_body():
    kept = []

    @mf.pipeline
    def leaks():
        kept.append(double(1))
        return kept[0]

    leaks()

    @mf.pipeline
    def uses():
        return double(kept[0])

    with pytest.raises(mf.InvalidInputError, match=r"belongs to another run|cannot be used as a value"):
        uses()
    with pytest.raises(mf.InvalidInputError, match="cannot be used as a value"):
        double(kept[0])


def test_a_node_of_a_branch_is_not_to_be_used_outside_of_it():
    @mf.pipeline
    def wrong():
        inside = []
        mf.when(double(1), lambda: inside.append(double(2)))
        return double(inside[0])

    with pytest.raises(mf.InvalidInputError, match=r"belongs to a branch of mf.when. Return it"):
        wrong()


@pytest.mark.parametrize("what", [mf.when, mf.on_exit])
def test_what_belongs_into_a_body_is_refused_elsewhere(what):
    with pytest.raises(mf.InvalidInputError, match="belongs into the body of a pipeline"):
        what(*([lambda ending: None] * (2 if what is mf.when else 1)))


# -- cycles ----------------------------------------------------------------------------------------


def test_a_pipeline_that_calls_itself_without_end_is_a_cycle():
    @mf.pipeline
    def endless(n):
        return endless(double(n))

    with pytest.raises(mf.InvalidInputError, match="calls itself without end, which is a cycle"):
        endless(1)


def test_a_pipeline_may_call_itself_to_an_end():
    @mf.pipeline
    def times(n: int, x):
        return x if n == 0 else times(n - 1, double(x))

    assert times(5, 1) == 32


def test_an_argument_that_contains_itself_is_a_cycle():
    @mf.pipeline
    def wrong():
        nodes = [double(1)]
        nodes.append(nodes)
        return double(nodes)

    with pytest.raises(mf.InvalidInputError, match="that is a cycle"):
        wrong()


# -- declaring -------------------------------------------------------------------------------------


async def coroutine():
    pass


def generator():
    yield 1


@pytest.mark.parametrize(
    ("thing", "told"),
    [
        (coroutine, "plain function"),
        (generator, "plain function"),
        (double, "a step already"),
        (typed, "a pipeline already"),
        (3, "takes a function"),
        (dict, "takes a function"),
    ],
    ids=["coroutine", "generator", "step", "pipeline", "number", "class"],
)
def test_what_cannot_be_a_pipeline_is_told(thing, told):
    with pytest.raises(mf.InvalidInputError, match=told):
        mf.pipeline(thing)


def test_options_that_cannot_be_meant_are_told():
    with pytest.raises(mf.InvalidInputError, match="'finish' or 'stop'"):
        mf.pipeline(on_failure="explode")
    with pytest.raises(mf.InvalidInputError, match="printable name"):
        mf.pipeline(name="a/b")
    with pytest.raises(mf.InvalidInputError, match="'finish' or 'stop'"):
        typed.run("a", on_failure="explode")


# -- failure ---------------------------------------------------------------------------------------


@mf.pipeline
def partly(n: int):
    good = double(n)
    bad = fail(good)
    worse = fail(n)
    return double(bad), double(worse), double(good)


def test_all_failures_are_told_together_and_everything_finished_is_kept():
    with pytest.raises(mf.StepError) as caught:
        partly(5)
    error = caught.value
    assert [(f.label, f.line, str(f.error)) for f in error.failures] == [
        ("fail", line_of(partly, "bad = fail"), "no 10"),
        ("fail", line_of(partly, "worse = fail"), "no 5"),
    ] or [str(f.error) for f in error.failures] == ["no 5", "no 10"]
    text = str(error)
    assert "partly: 2 calls failed, 2 more could not run. 2 results are kept" in text
    assert f"fail ({HERE}, line {line_of(partly, 'bad = fail')}): ValueError: no 10" in text
    assert isinstance(error.__cause__, ValueError)
    assert double.is_cached(5)
    assert double.is_cached(10)
    run = mf.get_run(error.run_id)
    assert run.status == "FAILED"


def test_a_failure_can_stop_everything():
    @mf.pipeline
    def stopping():
        return [fail(0), *[double(n) for n in range(50)]]

    with mf.executor("serial"), pytest.raises(mf.StepError) as caught:
        stopping.run(on_failure="stop")
    assert len(caught.value.failures) == 1
    assert sum(double.is_cached(n) for n in range(50)) < 50
    with mf.executor("serial"), pytest.raises(mf.StepError):
        stopping.run()
    assert all(double.is_cached(n) for n in range(50))


def test_items_of_a_map_that_fail_let_the_others_finish():
    @mf.step
    def odd_only(x):
        if x % 2 == 0:
            raise ValueError(f"even {x}")
        return x

    @mf.pipeline
    def mapped():
        return double(odd_only.map(load(5)))

    with pytest.raises(mf.StepError) as caught:
        mapped()
    assert sorted(f.label for f in caught.value.failures) == ["odd_only[0]", "odd_only[2]", "odd_only[4]"]
    assert odd_only.is_cached(1)
    assert odd_only.is_cached(3)


def test_a_strict_step_that_cannot_be_cached_fails_its_call_alone():
    strict = mf.step(strict=True, name="strict")(lambda x: x)
    lock = __import__("threading").Lock()

    @mf.pipeline
    def pipe():
        return strict(lock), double(4)

    with pytest.raises(mf.StepError, match="strict"):
        pipe()
    assert double.is_cached(4)


def test_a_condition_that_has_no_truth_fails_with_its_line():
    @mf.step
    def many():
        return np.arange(3)

    @mf.pipeline
    def pipe():
        return mf.when(many(), lambda: double(1))

    with pytest.raises(mf.StepError, match=rf"when \({HERE}, line {line_of(pipe, 'mf.when')}\): ValueError"):
        pipe()


def test_two_calls_that_write_one_file_are_refused(tmp_path):
    @mf.step
    def write(text):
        (tmp_path / "out.txt").write_text(text)
        return mf.File(tmp_path / "out.txt")

    @mf.pipeline
    def clash():
        first = write("one")
        return first, write("two")

    for _ in range(2):
        with mf.executor("serial"), pytest.raises(mf.StepError, match=r"both write .*out.txt"):
            clash()


def test_a_file_that_is_passed_on_is_not_written_twice(tmp_path):
    @mf.step
    def write(text):
        (tmp_path / "out.txt").write_text(text)
        return mf.File(tmp_path / "out.txt")

    @mf.step
    def checked(file):
        assert file.read_bytes()
        return {"ok": file}

    @mf.pipeline
    def passed_on():
        return checked(write("one"))

    for _ in range(2):
        assert passed_on()["ok"].read_bytes() == b"one"


def test_two_calls_that_write_one_file_at_the_same_time_are_refused_though_the_content_is_the_same(tmp_path):
    @mf.step
    def write(text, n):
        (tmp_path / "out.txt").write_text(text)
        return mf.File(tmp_path / "out.txt")

    @mf.pipeline
    def clash():
        return write("same", 1), write("same", 2)

    for _ in range(2):
        with pytest.raises(mf.StepError, match=r"both write .*out.txt"):
            clash()
        assert not write.is_cached("same", 1)


def test_a_result_whose_object_was_lost_is_computed_again_for_who_needs_it(store):
    @mf.step
    def vector(n):
        return np.arange(float(n))

    @mf.step
    def summed(array, by):
        return float(array.sum()) * by

    @mf.pipeline
    def pipe(by: int):
        return summed(vector(50_000), by)

    first = pipe(1)
    for path in Path(store.url, "objects").rglob("*"):
        if path.is_file():
            path.chmod(0o600)
            path.unlink()
    run = pipe.run(2)
    assert run.result == 2 * first


def test_a_result_that_cannot_be_computed_again_is_told(store):
    attempts = []

    @mf.step(ignore="unused")
    def once(n, unused):
        if unused:
            raise OSError("gone for good")
        return np.arange(float(n))

    @mf.step
    def summed(array):
        return float(array.sum())

    @mf.pipeline
    def pipe(unused: bool):
        return summed(once(50_000, unused))

    once(50_000, False)
    for path in Path(store.url, "objects").rglob("*"):
        if path.is_file():
            path.chmod(0o600)
            path.unlink()
    with pytest.raises(mf.StepError, match="gone for good"):
        pipe(True)
    assert attempts == []


# -- interruption ----------------------------------------------------------------------------------

SCRIPT = """
import os, sys, time
from pathlib import Path
import mlflowish as mf

@mf.step
def quick(n):
    return n

@mf.step
def slow(n):
    # Not by arguments of the program: they would be part of the code, and each run another one.
    Path(os.environ["FOLDER"], f"started-{n}-{os.getpid()}").touch()
    end = time.monotonic() + (float(os.environ["SECONDS"]) if n >= int(os.environ["FROM"]) else 0)
    while time.monotonic() < end:
        time.sleep(600.0 if os.environ.get("DEAF") else 0.02)  # one long call of C, or many short ones
    return n

@mf.pipeline
def pipe():
    mf.on_exit(lambda ending: print("ended", ending.status, flush=True))
    return [quick(n) for n in range(20)], [slow(n) for n in range(40)]

if __name__ == "__main__":
    kind = os.environ["KIND"]
    with mf.executor(kind, workers=None if kind == "serial" else 2):
        run = pipe.run()
    print(run.counts)
"""


class Script:
    """The pipeline above, as a program of its own."""

    def __init__(self, folder, kind):
        self.folder, self.kind, self.store = folder, kind, str(folder / "script-store")
        self.path = folder / "script.py"
        self.path.write_text(SCRIPT)

    def environment(self, seconds, first=0):
        named = {"FOLDER": str(self.folder), "KIND": self.kind, "SECONDS": str(seconds), "MLFLOWISH_STORE": self.store}
        return {**os.environ, **named, "FROM": str(first)}

    def begun(self, seconds, *, started, first=0):
        """The program, when so many slow calls have started; those before the `first` are quick."""
        command = [sys.executable, str(self.path)]
        process = Mortal(
            command, env=self.environment(seconds, first), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        deadline = time.monotonic() + 120
        while len(list(self.folder.glob("started-*"))) < started:
            assert time.monotonic() < deadline, sorted(path.name for path in self.folder.glob("started-*"))
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.02)
        return process

    def workers(self):
        """The processes in which slow calls have started."""
        return {int(path.name.rpartition("-")[2]) for path in self.folder.glob("started-*")}

    def finished(self):
        """How many calls are stored."""
        with mf.Store(self.store) as opened:
            return sum(call.meta.step.startswith("script") for call in opened.calls())

    def run_to_its_end(self):
        """What it prints when nothing comes between."""
        command = [sys.executable, str(self.path)]
        done = subprocess.run(command, env=self.environment(0), capture_output=True, text=True, check=True, timeout=240)
        return done.stdout


def test_calls_that_nothing_can_interrupt_do_not_keep_an_interrupted_program_from_ending(tmp_path, monkeypatch):
    monkeypatch.setenv("DEAF", "yes")
    script = Script(tmp_path, "threads")
    process = script.begun(600, started=2)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=120)
    assert "ended KILLED" in out
    assert process.returncode != 0


@pytest.mark.nightly
@pytest.mark.parametrize("kind", ["threads", "serial"])
def test_an_interrupted_pipeline_ends_promptly_keeps_what_is_finished_and_goes_on_from_there(tmp_path, kind):
    script = Script(tmp_path, kind)
    process = script.begun(600, started=1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert "KeyboardInterrupt" in err
    assert process.returncode != 0
    assert "ended KILLED" in out
    assert script.finished() == 20
    with mf.Store(script.store):
        (run,) = mf.search_runs()
        assert run.status == "KILLED"
    assert "{'cached': 20, 'done': 40}" in script.run_to_its_end()


def is_gone(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("kind", [pytest.param("threads", marks=pytest.mark.nightly), "processes"])
def test_a_driver_that_is_killed_in_the_middle_loses_nothing_that_was_finished(tmp_path, kind):
    script = Script(tmp_path, kind)
    process = script.begun(600, started=6, first=4)
    process.kill()
    process.communicate(timeout=60)
    wait_until(lambda: all(map(is_gone, script.workers())))  # what they had ended they may still store
    finished = script.finished()
    assert 20 < finished <= 24
    assert f"{{'cached': {finished}, 'done': {60 - finished}}}" in script.run_to_its_end()


def test_the_type_of_a_node_is_not_asked(tmp_path):
    @mf.step
    def numbers():
        return [1, 2]

    def is_text(x):
        return isinstance(x, str)

    @mf.pipeline
    def by_isinstance(x):
        return numbers() if isinstance(x, list) else x

    @mf.pipeline
    def by_helper(x):
        return numbers() if is_text(x) else x

    @mf.pipeline
    def by_abstract_class(x):
        return numbers() if isinstance(x, Sequence) else x

    @mf.pipeline
    def by_match(x):
        match x:
            case list():
                return numbers()
        return x

    @mf.pipeline
    def by_tools():
        node = numbers()
        return node, inspect.isclass(node)

    with mf.Store(tmp_path / "store"):
        for nested in (by_isinstance, by_helper, by_abstract_class, by_match):

            @mf.pipeline
            def outer(nested=nested):
                return nested(numbers())

            nested("plain")
            with pytest.raises(mf.InvalidInputError, match=r"numbers \(.*cannot be asked for its type\. Let a step"):
                outer()
        assert by_tools() == ([1, 2], False)
