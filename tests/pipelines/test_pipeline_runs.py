"""Pipelines as users write them: results, structures, nesting, branches, maps, methods, async steps, runs."""

from __future__ import annotations

import asyncio
import threading
import time

import numpy as np
import pytest

import mlflowish as mf
from mlflowish.executors import ThreadExecutor, executor_block
from mlflowish.executors.processes import ProcessExecutor
from mlflowish.testing.executor_suite import wait_until

RAN: list[str] = []


@pytest.fixture(autouse=True)
def store(tmp_path):
    RAN.clear()
    with mf.Store(tmp_path / "store") as opened:
        yield opened


def ran() -> list[str]:
    """What ran since it was last asked."""
    found = sorted(RAN)
    RAN.clear()
    return found


@mf.step
def load(n):
    RAN.append("load")
    return list(range(n))


@mf.step
def array(n):
    RAN.append("array")
    return np.arange(n)


@mf.step
def double(x):
    RAN.append(f"double {x}")
    return 2 * x


@mf.step
def add(a, b=0):
    RAN.append("add")
    return a + b


@mf.step
def total(xs, extra=0):
    RAN.append("total")
    return sum(xs) + extra


@mf.step
def is_large(n):
    RAN.append("is_large")
    return n > 10


@mf.step
def split(n) -> tuple[int, int]:
    return n // 2, n - n // 2


def test_a_result_goes_from_step_to_step_and_a_second_run_computes_nothing():
    @mf.pipeline
    def pipe(n: int):
        return add(double(total(load(n))), b=1)

    assert pipe(4) == 13
    assert ran() == ["add", "double 6", "load", "total"]
    assert pipe(4) == 13
    assert ran() == []


def test_the_result_may_be_any_structure_of_nodes_and_values():
    @mf.pipeline
    def pipe(n: int):
        a, b = double(n), double(n + 1)
        return {"a": a, "both": [a, (b, "text")], "array": array(3), 5: None}

    for _ in range(2):
        result = pipe(1)
        np.testing.assert_array_equal(result.pop("array"), np.arange(3))
        assert result == {"a": 2, "both": [2, (4, "text")], 5: None}


def test_a_pipeline_without_steps_gives_its_value():
    @mf.pipeline
    def constant(x=1):
        return [x]

    assert constant() == constant() == [1]


def test_equal_calls_in_one_body_run_once():
    @mf.pipeline
    def pipe():
        return [double(3) for _ in range(20)]

    assert pipe() == [6] * 20
    assert ran() == ["double 3"]


def test_values_that_a_call_returns_are_private_to_it():
    @mf.step
    def spoil(xs):
        xs.append(99)
        return xs

    @mf.pipeline
    def pipe():
        xs = load(2)
        return xs, spoil(xs)

    with pytest.warns(mf.UncachedWarning, match="changes its argument"):
        assert pipe() == ([0, 1], [0, 1, 99])


def test_what_the_body_does_with_its_lists_later_is_not_seen_by_earlier_calls():
    @mf.pipeline
    def pipe():
        xs = [1, 2]
        first = total(xs)
        xs.append(double(5))
        second = total(xs)
        xs.clear()
        return first, second

    assert pipe() == (3, 13)


def test_parts_of_a_result_are_had_by_key_and_by_unpacking_what_is_annotated():
    @mf.step
    def report(n):
        return {"loss": n / 2, "name": "x"}

    @mf.pipeline
    def pipe(n: int):
        small, large = split(n)
        return report(n)["loss"], small, large, double(large)

    for _ in range(2):
        assert pipe(5) == (2.5, 2, 3, 6)


def test_a_part_that_is_not_there_fails_with_its_line():
    @mf.pipeline
    def pipe():
        return double(load(1)[7])

    with pytest.raises(mf.StepError, match=r"load\[7\] \(test_pipeline_runs.py, line \d+\): IndexError"):
        pipe()


# -- nesting ---------------------------------------------------------------------------------------


@mf.pipeline
def quadruple(x):
    return double(double(x))


def test_a_pipeline_inside_a_pipeline_is_part_of_its_graph():
    @mf.pipeline
    def outer(n: int):
        return quadruple(total(load(n))), quadruple(1)

    assert outer(3) == (12, 4)
    assert ran() == ["double 1", "double 2", "double 3", "double 6", "load", "total"]
    assert outer(3) == (12, 4)
    assert ran() == []


def test_a_pipeline_inside_a_step_is_a_run_of_its_own_within_it(store):
    @mf.step
    def outer(n):
        return quadruple(n) + 1

    assert outer(2) == 9
    assert ran() == ["double 2", "double 4"]
    assert outer(2) == 9
    children = [call.meta.children for call in store.calls(outer.name)]
    assert [[key] for (key,) in children] == [[entry.key.hex()] for entry in store.calls(quadruple.name)]
    assert len(mf.search_runs()) == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_steps_that_run_pipelines_do_not_starve_a_small_pool(workers):
    @mf.step
    def outer(n):
        return quadruple(n)

    @mf.pipeline
    def pipe():
        return [outer(n) for n in range(6)]

    with mf.executor("threads", workers=workers):
        assert pipe() == [4 * n for n in range(6)]


def test_what_a_nested_pipeline_does_not_need_does_not_wait_for_its_other_arguments():
    order, quick_is_done = [], threading.Event()

    @mf.step(cache=False)
    def slow():
        quick_is_done.wait(60)
        order.append("slow")
        return 1

    @mf.step(cache=False)
    def quick():
        order.append("quick")
        quick_is_done.set()
        return 2

    @mf.pipeline
    def inner(a):
        return add(quick(), 1), add(a, 1)

    @mf.pipeline
    def outer():
        return inner(slow())

    assert outer() == (3, 2)
    assert order == ["quick", "slow"]


# -- what is known only at run time ----------------------------------------------------------------


@mf.pipeline
def at_most_ten(n: int):
    found = double(n)
    return mf.when(is_large(found), lambda: add(found, -10), lambda: add(found, 100))


def test_only_the_branch_that_is_chosen_runs():
    assert at_most_ten(7) == 4
    assert ran() == ["add", "double 7", "is_large"]
    assert at_most_ten(3) == 106
    assert at_most_ten(7) == 4


def test_a_branch_may_be_a_value_a_node_or_missing_and_branches_may_be_nested():
    @mf.pipeline
    def pipe(n: int):
        found = double(n)
        inner = mf.when(
            is_large(n), lambda: mf.when(is_large(add(n, -10)), lambda: double(found), "middle"), lambda: quadruple(n)
        )
        return inner, mf.when(is_large(n), found), mf.when(n > 100, lambda: 1, 2)

    assert pipe(1) == (4, None, 2)
    assert pipe(15) == ("middle", 30, 2)
    assert pipe(30) == (120, 60, 2)


def test_a_branch_that_is_not_chosen_leaves_nothing_running_in_it():
    @mf.step
    def never(n):
        raise AssertionError("it was not chosen")

    @mf.pipeline
    def inner(n):
        return never(n)

    @mf.pipeline
    def pipe(n: int):
        flag = is_large(n)
        return mf.when(flag, lambda: [never(1), inner(2), never.map(load(3))], lambda: "small")

    assert pipe(1) == "small"


def test_a_map_over_a_node_makes_a_call_for_each_item():
    @mf.pipeline
    def pipe(n: int):
        return total(add.map(double.map(load(n)), b=1)), add.map(load(n), load(n))

    assert pipe(3) == (9, [0, 2, 4])
    ran()
    assert pipe(4) == (16, [0, 2, 4, 6])
    assert ran() == ["add", "add", "double 3", "load", "total"]


def test_a_map_over_nothing_is_an_empty_list():
    @mf.pipeline
    def pipe():
        return double.map(load(0)), double.map([])

    assert pipe() == ([], [])


def test_a_map_over_a_list_of_nodes_is_as_many_nodes():
    @mf.pipeline
    def pipe():
        nodes = double.map([double(1), double(2), 3])
        return nodes[0], total(nodes)

    assert pipe() == (4, 18)


def test_a_map_over_files_computes_only_the_new_ones_and_forgets_those_that_vanished(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()

    @mf.step
    def size(file):
        RAN.append(file.path.rpartition("/")[2])
        return len(file.read_bytes())

    @mf.pipeline
    def sizes(pattern: str):
        each = size.map(mf.files(pattern), batch=10)
        return each, total(each)

    def write(name, text):
        (folder / name).write_text(text)

    write("a.txt", "1")
    write("b.txt", "22")
    assert sizes(f"{folder}/*.txt") == ([1, 2], 3)
    assert ran() == ["a.txt", "b.txt", "total"]
    assert sizes.run(f"{folder}/*.txt").is_whole_hit
    write("c.txt", "333")
    (folder / "a.txt").unlink()
    assert sizes(f"{folder}/*.txt") == ([2, 3], 5)
    assert ran() == ["c.txt", "total"]


# -- kinds of steps --------------------------------------------------------------------------------


class Scaler:
    def __init__(self, by):
        self.by = by

    @mf.step
    def scale(self, x):
        return x * self.by

    @mf.step
    @classmethod
    def make(cls, x):
        return x + 1


@mf.step
async def fetch(x):
    await asyncio.sleep(0.001)
    return x + 1


@mf.step
def numbers(n):
    yield from range(n)


@mf.step
async def anumbers(n):
    for item in range(n):
        yield item


def test_methods_coroutines_and_generators_are_nodes_as_functions_are():
    @mf.pipeline
    def pipe(n: int):
        scaler = Scaler(3)
        fetched = fetch(n)
        return scaler.scale(fetched), Scaler.make(n), total(numbers(n)), total(anumbers(n)), fetch.map(numbers(2))

    for _ in range(2):
        assert pipe(4) == (15, 5, 6, 6, [1, 2])


def test_a_pipeline_runs_inside_a_running_event_loop():
    @mf.pipeline
    def pipe():
        return fetch(fetch(1))

    async def main():
        return pipe()

    assert asyncio.run(main()) == 3
    with mf.executor("serial"):
        assert asyncio.run(main()) == 3


def test_submit_in_a_body_is_a_call():
    @mf.pipeline
    def pipe():
        return add(double.submit(2), double.submit(3))

    assert pipe() == 10


def test_retries_and_timeouts_hold_in_a_pipeline():
    attempts = []

    @mf.step(retries=2)
    def shaky():
        attempts.append(1)
        if len(attempts) < 3:
            raise OSError("not yet")
        return "well"

    @mf.step(timeout=0.1)
    def endless():
        while True:
            time.sleep(0.01)

    @mf.pipeline
    def pipe():
        return shaky(), endless()

    with pytest.raises(mf.StepError) as caught:
        pipe()
    assert len(attempts) == 3
    (failure,) = caught.value.failures
    assert (failure.label, type(failure.error)) == ("endless", mf.StepTimeoutError)


# -- executors and runs ----------------------------------------------------------------------------


def test_steps_run_at_the_same_time():
    barrier = threading.Barrier(4, timeout=90)

    @mf.step
    def meet(n):
        barrier.wait()
        return n

    @mf.pipeline
    def pipe():
        return [meet(n) for n in range(4)]

    with mf.executor("threads", workers=4):
        assert pipe() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "options",
    [{"limits": "database"}, {"cpus": 4}, {"memory": "6 GB"}, {"gpus": 1}],
    ids=["limits", "cpus", "memory", "gpus"],
)
def test_never_more_runs_at_once_than_there_is_room_for(options):
    running, most, lock = [0], [0], threading.Lock()

    @mf.step(**options, cache=False)
    def busy(n):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.01)
        with lock:
            running[0] -= 1
        return n

    @mf.pipeline
    def pipe():
        return [busy(n) for n in range(6)]

    with mf.executor("threads", workers=4, memory="10 GB", gpus=1):
        assert pipe() == list(range(6))
    assert most == [1]


def test_a_call_that_wants_more_than_there_is_fails_and_says_how_much():
    @mf.step(gpus=3)
    def greedy(n):
        return n

    @mf.pipeline
    def pipe():
        return greedy(1)

    with mf.executor("threads", gpus=1), pytest.raises(mf.StepError, match="A call wants 3 gpus"):
        pipe()


@pytest.mark.parametrize("kind", ["serial", "threads", "processes"])
def test_the_results_are_the_same_on_every_executor(kind, store):
    run = at_most_ten.run(7, executor=kind)
    assert run.result == 4
    assert run.counts == {"done": 3, "skipped": 1}
    found = {(call.key.hex(), call.meta.output) for call in store.calls()}
    with mf.Store("memory://other-executor") as other:
        at_most_ten.run(7, executor="serial")
        assert {(call.key.hex(), call.meta.output) for call in other.calls()} == found
    with mf.executor(kind):
        assert at_most_ten.run(7).is_whole_hit


def test_a_run_holds_its_calls_parameters_and_result(store):
    run = at_most_ten.run(7)
    assert (run.result, run.status, run.name, dict(run.params)) == (4, "FINISHED", "at_most_ten", {"n": "7"})
    assert [step.rpartition(".")[2] for step in run.calls.column("step")] == [
        "double",
        "is_large",
        "add",
        "at_most_ten",
    ]
    assert run.counts == {"done": 3, "skipped": 1}
    assert not any(run.calls.column("hit"))
    again = at_most_ten.run(7)
    assert (again.is_whole_hit, again.result) == (True, 4)
    assert again.calls.column("hit") == [True]
    assert mf.active_run() is None


def test_calling_makes_one_run_nested_in_the_one_around(store):
    with mf.start_run() as outer:
        at_most_ten(7)
    runs = list(mf.search_runs())
    assert len(runs) == 2
    (inner,) = [run for run in runs if run.run_id != outer.run_id]
    assert inner.parent_id == outer.run_id
    assert {call.meta.run_id for call in store.calls()} == {inner.run_id}


def test_metrics_of_steps_go_to_the_run_of_the_pipeline():
    @mf.step
    def train(lr):
        mf.log_metric("loss", lr * 2)
        return lr

    @mf.pipeline
    def pipe(lr: float):
        return train(lr)

    assert pipe.run(0.5).metrics == {"loss": 1.0}


# -- exit handlers ---------------------------------------------------------------------------------


class Ears:
    """Hears endings; what it heard is no part of the code."""

    def __init__(self):
        self.heard = []

    def __mlf_digest__(self):
        return "ears"

    def __call__(self, ending):
        self.heard.append(ending)


def test_exit_handlers_are_told_how_it_ended_whatever_happened():
    ears = Ears()

    @mf.step
    def fail(n):
        if n:
            raise ValueError("no")
        return n

    @mf.pipeline
    def pipe(n: int):
        mf.on_exit(ears)
        mf.on_exit(lambda ending: ears(ending.pipeline.rpartition(".")[2]))
        return fail(n)

    pipe(0)
    pipe(0)
    with pytest.raises(mf.StepError):
        pipe(1)
    endings = ears.heard
    assert endings[1::2] == ["pipe"] * 3
    assert [(e.status, e.is_whole_hit, len(e.failures)) for e in endings[::2]] == [
        ("FINISHED", False, 0),
        ("FINISHED", True, 0),
        ("FAILED", False, 1),
    ]
    assert endings[4].failures[0].label == "fail"
    assert endings[0].run_id is not None


def test_a_failing_exit_handler_is_raised_and_never_hides_the_failure_of_a_step():
    @mf.step
    def fail(n):
        if n:
            raise ValueError("no")

    def broken(ending):
        raise RuntimeError("handler")

    @mf.pipeline
    def pipe(n: int):
        mf.on_exit(broken)
        return fail(n)

    with pytest.raises(RuntimeError, match="handler"):
        pipe(0)
    with pytest.raises(mf.StepError) as caught:
        pipe(1)
    assert "RuntimeError: handler" in caught.value.__notes__[0]


# -- observers -------------------------------------------------------------------------------------


class Log:
    def __init__(self):
        self.nodes, self.changes, self.ending = None, [], None

    def begin(self, pipeline, nodes):
        self.nodes = nodes

    def change(self, change):
        self.changes.append((change.node.label, change.state))

    def end(self, ending):
        self.ending = ending


def test_observers_see_every_change_of_every_node():
    log = Log()
    double(7)
    at_most_ten.run(7, observers=[log], executor="serial")
    assert [node.label for node in log.nodes] == ["double", "is_large", "add", "add"]
    assert log.nodes[1].needs == (0,)
    assert log.changes == [
        ("double", "cached"),
        ("is_large", "running"),
        ("is_large", "done"),
        ("add", "skipped"),
        ("add", "running"),
        ("add", "done"),
    ]
    assert log.ending.status == "FINISHED"


def test_items_of_a_map_are_announced_as_they_come_into_being():
    log = Log()

    @mf.pipeline
    def pipe():
        return double.map(load(2))

    pipe.run(observers=[log], executor="serial")
    for label in ("double.map", "double[0]", "double[1]"):
        assert [state for name, state in log.changes if name == label] == ["running", "done"]
    assert log.changes[-1] == ("double.map", "done")


@pytest.mark.parametrize("kind", ["threads", "processes", "blind"])
def test_only_what_runs_is_shown_as_running(kind, tmp_path):
    marks = [tmp_path / "0", tmp_path / "1"]

    @mf.step
    def nap(n):
        if n < 2:  # the first two go on when both have begun
            marks[n].touch()
            wait_until(lambda: all(mark.exists() for mark in marks))
        return n

    @mf.pipeline
    def pipe():
        return [nap(n) for n in range(7)]

    class Blind(ProcessExecutor):
        """As clusters are: nobody knows what runs."""

        knows_what_runs = False

    executor = {"threads": ThreadExecutor, "processes": ProcessExecutor, "blind": Blind}[kind](2)
    log = Log()
    try:
        with executor_block(executor):
            pipe.run(observers=[log])
    finally:
        executor.shutdown()
    running, most = 0, 0
    for _, state in log.changes:
        running += {"running": 1, "done": -1}[state]
        most = max(most, running)
    assert (most, running, len(log.changes)) == (2, 0, 14)


def test_an_observer_that_fails_changes_nothing(caplog):
    class Broken(Log):
        def change(self, change):
            raise RuntimeError("observer")

    assert at_most_ten.run(7, observers=[Broken()]).result == 4
    assert "An observer of a pipeline failed" in caplog.text


# -- size ------------------------------------------------------------------------------------------


def test_long_chains_and_wide_fans_need_no_recursion():
    @mf.pipeline
    def chain(n: int):
        x = 0
        for _ in range(n):
            x = add(x, 1)
        return x

    @mf.pipeline
    def fan(n: int):
        return total([double(k) for k in range(n)])

    assert chain(1_200) == 1_200
    assert fan(500) == 499 * 500
    add.forget(-1)
    assert chain(1_200) == 1_200


@pytest.mark.nightly
def test_a_chain_of_100_000_nodes_is_passed_node_by_node():
    @mf.pipeline
    def chain(n: int):
        x = 0
        for _ in range(n):
            x = add(x, 1)
        return x

    with mf.Store("memory://long-chain") as store:
        assert chain.run(100_000, executor="serial").result == 100_000
        store.forget(b"0" * 16, [b"1" * 16], step=add.name)
        ran()
        assert chain(100_000) == 100_000
        assert ran() == []
