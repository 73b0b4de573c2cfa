"""A pipeline as one call: passed in one look-up when nothing has changed, and never when anything has."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

import mlflowish as mf
from mlflowish.pipelines import RunGraph

FACTOR = 2


@pytest.fixture
def store(tmp_path):
    with mf.Store(tmp_path / "store") as opened:
        yield opened


@mf.step
def load(n):
    return list(range(n))


@mf.step
def scale(x):
    return x * FACTOR


@mf.step
def total(xs):
    return sum(xs)


@mf.step
def vector(n):
    return np.arange(float(n))


@mf.pipeline
def pipe(n: int):
    return total(scale.map(load(n)))


@mf.pipeline
def large(n: int):
    return {"v": vector(n), "sum": total(load(3))}


def whole(pipeline, *args):
    """Is it passed in one look-up? Its result must be that of running it from nothing, in any case."""
    run = pipeline.run(*args)
    with mf.Store(f"memory://from-nothing-{time.monotonic_ns()}"):
        expected = pipeline(*args)
    assert repr(run.result) == repr(expected)
    return run.is_whole_hit


def lose_objects(store):
    for path in Path(store.url, "objects").rglob("*"):
        if path.is_file():
            path.chmod(0o600)
            path.unlink()


def test_an_unchanged_pipeline_is_passed_in_one_look_up(store):
    assert not whole(pipe, 3)
    assert whole(pipe, 3)
    assert whole(pipe, 3)
    assert not whole(pipe, 4)
    assert whole(pipe, 4)


def test_its_nodes_are_not_looked_at(store, tmp_path):
    pipe(3)
    key = next(entry.key for entry in store.calls(pipe.name))
    calls = store.journals("calls")
    asked = []
    real = calls.get
    calls.get = lambda wanted: asked.append(wanted) or real(wanted)
    try:
        assert pipe.run(3).is_whole_hit
    finally:
        del calls.get
    assert asked == [key]


def test_a_changed_global_of_a_step_is_seen(store, monkeypatch):
    pipe(3)
    monkeypatch.setattr(sys.modules[__name__], "FACTOR", 5)
    run = pipe.run(3)
    assert (run.is_whole_hit, run.result) == (False, 15)
    assert run.counts["cached"] == 1


@pytest.mark.parametrize("how", ["one", "all", "store"])
def test_a_forgotten_result_is_computed_again(store, how):
    pipe(3)
    if how == "one":
        scale.forget(1)
    elif how == "all":
        assert scale.forget() == 3
    else:
        (entry,) = store.calls(load.name)
        store.forget(entry.key, [entry.id], step=load.name)
    run = pipe.run(3)
    assert not run.is_whole_hit
    assert run.counts["done"] == {"one": 1, "all": 3, "store": 1}[how]
    assert pipe.run(3).is_whole_hit


@mf.step(ignore=["path"])
def content(n, path):
    return Path(path).read_text()


@mf.pipeline(executor="serial")
def reading(n: int, path: str):
    return content(n, path)


def test_results_forgotten_by_another_process_are_computed_again(store, tmp_path):
    module = tmp_path / "forgotten_steps.py"
    module.write_text(
        textwrap.dedent(
            """
            import mlflowish as mf
            @mf.step
            def one(n):
                return n + 1
            @mf.pipeline
            def pipe(n: int):
                return one(one(n))
            """
        )
    )
    code = f"import mlflowish as mf, forgotten_steps as f; mf.use({store.url!r}); "
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}

    def python(what):
        done = subprocess.run(
            [sys.executable, "-c", code + what], env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    assert python("print(f.pipe.run(1).is_whole_hit, f.pipe.run(1).is_whole_hit)") == "False True"
    assert python("print(f.pipe.run(1).is_whole_hit, f.one.forget())") == "True 2"
    assert python("print(f.pipe.run(1).counts)") == "{'done': 2}"


def test_what_another_process_forgot_a_moment_ago_is_not_written_down_for_ever(store, tmp_path, monkeypatch):
    """An answer about a call is given for a moment without a look, and the epoch of its step was looked at in it."""
    monkeypatch.setattr("mlflowish.journals.journals.NEWS_S", 3600.0)
    path = str(tmp_path / "file")
    Path(path).write_text("one")
    for _ in range(2):  # the first answer is looked for
        assert (reading(3, path), content(3, path)) == ("one", "one")
    with mf.Store(store.url):
        content.forget(3, path)
    Path(path).write_text("two")
    assert reading(3, path) == "two"
    with mf.Store(store.url):
        assert (reading(3, path), content(3, path)) == ("two", "two")


def test_results_that_gc_evicts_are_computed_again(store):
    pipe(3)
    assert mf.gc(store, keep_last=0, grace=0, dry_run=False).evicted.count >= 5
    run = pipe.run(3)
    assert (run.is_whole_hit, run.counts["done"]) == (False, 5)


def test_a_result_that_was_collected_is_computed_again_node_by_node(store):
    assert not whole(large, 100_000)
    assert whole(large, 100_000)
    lose_objects(store)
    run = large.run(100_000)
    assert not run.is_whole_hit
    np.testing.assert_array_equal(run.result["v"], np.arange(100_000.0))
    assert large.run(100_000).is_whole_hit


@pytest.mark.parametrize("options", [{"cache": False}, {"max_age": 1000.0}], ids=["cache", "max_age"])
def test_steps_that_do_not_keep_their_results_for_ever_are_always_looked_at(store, options):
    calls = []

    @mf.step(**options, ignore=() if "cache" in options else "n")
    def volatile(n):
        calls.append(n)
        return n

    @mf.pipeline
    def with_volatile(n: int):
        return scale(volatile(n))

    for _ in range(2):
        assert not with_volatile.run(1).is_whole_hit
    volatile.forget()


def test_a_step_that_stops_being_cached_runs_again_though_its_code_is_the_same(store):
    def stamp(n):
        return time.monotonic_ns()

    def make(step):
        @mf.pipeline(name="stamped")
        def stamped(n: int):
            return step(n)

        return stamped

    first = make(mf.step(stamp))
    assert first(1) == first(1)
    always = make(mf.step(cache=False)(stamp))
    assert always(1) != always(1)


def test_what_could_not_be_stored_runs_again(store):
    @mf.step
    def lock(n):
        import threading

        return threading.Lock()

    @mf.step
    def kind(x, n):
        return n

    @mf.pipeline
    def locked(n: int):
        return kind(lock(n), n)

    for _ in range(2):
        with pytest.warns(mf.UncachedWarning):
            assert not locked.run(1).is_whole_hit


def test_a_failed_pipeline_is_not_passed(store):
    fails = [True]

    @mf.step(ignore="switch")
    def shaky(n, switch):
        if switch.on:
            raise ValueError("no")
        return n

    class Switch:
        on = True

        def __mlf_digest__(self):
            return "switch"

    switch = Switch()

    @mf.pipeline
    def sometimes(n: int):
        return shaky(n, switch), scale(n)

    with pytest.raises(mf.StepError):
        sometimes(1)
    switch.on = False
    run = sometimes.run(1)
    assert (run.is_whole_hit, run.counts) == (False, {"cached": 1, "done": 1})
    assert fails


def test_variables_of_the_environment_that_a_step_declares_are_seen(store, monkeypatch):
    @mf.step(env="PIPE_REGION")
    def region(n):
        return os.environ["PIPE_REGION"]

    @mf.pipeline
    def regional(n: int):
        return region(n)

    monkeypatch.setenv("PIPE_REGION", "north")
    assert regional(1) == "north"
    assert regional.run(1).is_whole_hit
    monkeypatch.setenv("PIPE_REGION", "south")
    assert regional(1) == "south"
    monkeypatch.setenv("PIPE_REGION", "north")
    assert regional.run(1).is_whole_hit


def test_files_that_a_step_depends_on_are_seen(store, tmp_path):
    config = tmp_path / "config.txt"
    config.write_text("one")

    @mf.step(depends=mf.File(config))
    def configured(n):
        return config.read_text()

    @mf.pipeline
    def with_config(n: int):
        return configured(n)

    assert with_config(1) == "one"
    assert with_config(1) == "one"
    config.write_text("two!")
    assert with_config(1) == "two!"


def test_files_among_the_arguments_count_by_content(store, tmp_path):
    data = tmp_path / "data.txt"

    @mf.step
    def read(file):
        return file.read_bytes()

    @mf.pipeline
    def reading(file: mf.File):
        return read(file)

    @mf.pipeline
    def reading_inside(path: str):
        return read(mf.File(path))

    for content in (b"one", b"two!", b"one"):
        data.write_bytes(content)
        assert reading(mf.File(data)) == content
        assert reading_inside(str(data)) == content
    assert reading.run(mf.File(data)).is_whole_hit
    assert reading_inside.run(str(data)).is_whole_hit


def test_what_a_body_reads_by_itself_is_seen(store, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()

    @mf.step
    def read(file):
        return file.read_bytes().decode()

    @mf.pipeline
    def all_of(path: str):
        return [read(mf.File(file)) for file in sorted(Path(path).iterdir())]

    (folder / "a").write_text("1")
    assert all_of(str(folder)) == ["1"]
    assert all_of.run(str(folder)).is_whole_hit
    (folder / "b").write_text("2")
    assert all_of(str(folder)) == ["1", "2"]
    (folder / "a").write_text("33")
    assert all_of(str(folder)) == ["33", "2"]


OBSERVED = """
import sys
import mlflowish as mf
from mlflowish.pipelines import RunGraph
import plugin
mf.use(sys.argv[1])

@mf.step
def dispatch(x, name):
    import operator
    module = operator.getitem(sys.modules, "plu" + "gin")
    return operator.attrgetter(name)(module)(x)

@mf.pipeline
def pipe(x: int):
    return dispatch(x, "wo" + "rk")

run = pipe.run(1)
print(run.result, run.is_whole_hit)
"""


@pytest.mark.skipif(sys.version_info < (3, 12), reason="functions are observed by sys.monitoring, of Python 3.12")
def test_an_observed_dependency_that_changed_is_seen(tmp_path):
    (tmp_path / "main.py").write_text(OBSERVED)

    def run(added):
        (tmp_path / "plugin.py").write_text(f"def work(x):\n    return x + {added}\n")
        command = [sys.executable, "main.py", str(tmp_path / "store")]
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.split()

    assert run(1) == ["2", "False"]
    assert run(1) == ["2", "True"]
    assert run(5) == ["6", "False"]


def test_an_accepted_edit_keeps_the_results_and_is_passed_from_the_second_time_on(store):
    def make(function):
        step = mf.step(name="edited")(function)

        @mf.pipeline(name="edited_pipe")
        def edited(n: int):
            return step(n)

        return step, edited

    _, before = make(lambda n: n + n)
    assert before(4) == 8
    step, after = make(lambda n: 2 * n)
    mf.accept(step, reason="the same in other words")
    run = after.run(4)
    assert (run.is_whole_hit, run.counts) == (False, {"cached": 1})
    assert after.run(4).is_whole_hit


def test_files_that_are_results_are_put_back(store, tmp_path):
    @mf.step
    def write(text):
        (tmp_path / "out.txt").write_text(text)
        return mf.File(tmp_path / "out.txt")

    @mf.step
    def length(file):
        return len(file.read_bytes())

    @mf.pipeline
    def writing(text: str):
        return length(write(text))

    assert writing("hello") == 5
    (tmp_path / "out.txt").unlink()
    assert writing.run("hello").is_whole_hit
    assert (tmp_path / "out.txt").read_text() == "hello"
    writing("other!")
    writing("hello")
    assert (tmp_path / "out.txt").read_text() == "hello"


class Model:
    def __init__(self, n):
        self.n = n


def test_a_class_of_the_result_that_was_edited_is_seen(store, monkeypatch):
    make_model = mf.step(lambda n: Model(n))

    @mf.pipeline
    def models(n: int):
        return make_model(n)

    models(1)
    assert models.run(1).is_whole_hit
    monkeypatch.setattr(Model, "doubled", lambda self: 2 * self.n, raising=False)
    assert not models.run(1).is_whole_hit


# -- nested ----------------------------------------------------------------------------------------


@mf.pipeline
def inner(x):
    return scale(scale(x)), total([x, 1])


def test_a_nested_pipeline_with_the_same_inputs_is_passed_in_one_look_up(store):
    @mf.step(cache=False)
    def begin(n):
        return n % 3

    @mf.pipeline
    def outer(n: int):
        a, b = inner(begin(n))
        return scale(a), b

    assert outer(1) == (8, 2)
    run = outer.run(4)
    assert run.result == (8, 2)
    # Of `inner` its end alone is seen by the run, not its four calls.
    steps = [name.rpartition(".")[2] for name in run.calls.column("step")]
    assert list(zip(steps, run.calls.column("hit"), strict=True))[:2] == [("begin", False), ("inner", True)]


def test_a_nested_pipeline_is_not_passed_when_something_in_it_was_forgotten(store):
    @mf.pipeline
    def outer(n: int, extra: int):
        return inner(n), scale(extra)

    outer(1, 1)
    scale.forget(2)
    run = outer.run(1, 7)
    assert run.result == ((4, 2), 14)
    assert run.counts == {"cached": 2, "done": 2}


# -- lineage ---------------------------------------------------------------------------------------


@mf.step
def longer(n):
    return np.arange(float(n))


@mf.step
def sum_of(v, more):
    return float(v.sum()) + more


@mf.pipeline
def inner_large(n: int):
    return longer(n)


@mf.pipeline
def around_large(n: int):
    return [inner_large(n)]


@mf.pipeline
def uses_large(n: int, more: int):
    return sum_of(inner_large(n), more)


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_a_nested_pipeline_whose_result_was_lost_is_computed_again(store, executor):
    count = 100_000
    assert uses_large(count, 0) == sum(range(count))
    lose_objects(store)
    # The pipeline inside is known and its result is gone, which shows when somebody needs it.
    run = uses_large.run(count, 1, executor=executor)
    assert (run.result, run.counts) == (sum(range(count)) + 1, {"done": 2})
    lose_objects(store)
    assert [len(each) for each in around_large.run(count, executor=executor).result] == [count]
    assert around_large.run(count).is_whole_hit


@mf.step
def each_of(n):
    return list(range(n))


@mf.step
def doubled(n):
    return 2 * n


@mf.pipeline
def maps_and_uses_large(n: int, more: int):
    return doubled.map(each_of(more + 2)), sum_of(inner_large(n), more)


class Begins(RunGraph):
    """Also remembers how often it began, and every change."""

    begins = 0

    def begin(self, pipeline, nodes):
        self.begins += 1
        self.changes = []
        super().begin(pipeline, nodes)

    def change(self, change):
        self.changes.append((change.node.index, change.state))
        super().change(change)


def test_a_run_that_has_to_begin_once_more_begins_once_for_those_who_watch(store):
    count = 100_000
    maps_and_uses_large(count, 0)
    lose_objects(store)
    run = maps_and_uses_large.run(count, 1, observers=[seen := Begins()], executor="serial")
    assert run.result == ([0, 2, 4], sum(range(count)) + 1)
    assert seen.begins == 1
    facts_of = {facts["label"]: facts for _, facts in seen.graph.nodes(data=True)}
    assert {facts["state"] for facts in facts_of.values()} <= {"done", "cached"}
    assert facts_of["doubled.map"]["items"] == {"cached": 3}
    inside = [state for index, state in seen.changes if seen.graph.nodes.get(index, {}).get("label") == "longer"]
    assert inside[:2] == ["cached", "waiting"]


def test_a_display_goes_on_with_the_run_that_begins_once_more():
    from mlflowish.pipelines.displays.board import Board
    from mlflowish.pipelines.displays.watcher import _Look
    from mlflowish.pipelines.observing import Observers
    from mlflowish.pipelines.progress import Progress
    from mlflowish.pipelines.trace import Trace

    trace = Trace(maps_and_uses_large)
    trace.body((3, 0), {})
    first = Progress(trace, Observers(()))
    look = _Look(first, [], board := Board("m.pipe", 0.0))
    first.finish(0, [0, 1])
    look()
    assert (board.counts["done"], board.total) == (1, 4)
    look.turn_to(Progress(trace, Observers(()), instead_of=first), [])
    look()
    assert (board.counts["done"], board.counts["waiting"], board.total) == (0, 4, 4)


def test_a_nested_pipeline_that_was_passed_does_not_hide_what_fails(store):
    @mf.step
    def fails(v):
        raise ValueError("no")

    @mf.pipeline
    def fails_after():
        return fails(inner_large(100_000))

    inner_large(100_000)
    with pytest.raises(mf.StepError, match="no"):
        fails_after()


def test_the_entry_of_a_pipeline_has_its_calls_as_children_and_lineage_shows_them(store):
    for _ in range(2):
        run = large.run(5)
        (entry,) = store.calls(large.name)
        steps = [store.entries(bytes.fromhex(child))[0].meta.step for child in entry.meta.children]
        assert [step.rpartition(".")[2] for step in steps] == ["vector", "load", "total"]
        assert entry.meta.arguments[0][0] == "n"
        assert entry.meta.output == mf.digest(run.result)
        behind = mf.lineage.of(entry.key.hex())
        labels = [facts["label"] for _, facts in behind.graph.nodes(data=True)]
        assert sorted(labels) == ["large", "load", "total", "vector"]
        assert [facts["label"] for _, facts in mf.lineage.of(run.result["v"]).graph.nodes(data=True)] == ["vector"]


def test_the_lineage_of_a_chain_through_numbers_is_whole(store):
    pipe(3)
    pipe(3)
    (entry,) = store.calls(total.name)
    behind = mf.lineage.of(entry.key.hex())
    labels = sorted(facts["label"] for _, facts in behind.graph.nodes(data=True))
    assert labels == ["load", "scale", "scale", "scale", "total"]
