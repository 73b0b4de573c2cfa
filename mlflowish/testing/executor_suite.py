"""What every executor must do, as tests: inherit, say how to make yours, run pytest.

    import pytest
    from mlflowish.testing.executor_suite import ExecutorSuite

    class TestMyExecutor(ExecutorSuite):
        @pytest.fixture
        def executor(self):
            with mf.executor(MyExecutor(workers=2)) as opened:
                yield opened

It is asked with two workers. Steps and what they need are at the top of this module, so that workers can import them;
others are made inside tests and travel by value.
"""

from __future__ import annotations

import concurrent.futures
import itertools
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import mlflowish as mf
from mlflowish.executors import Executor, Future, Resources
from mlflowish.hashing import hexdigest
from mlflowish.testing.executor_units import UnitsOnExecutor

PATIENCE_S = 300.0


class UnfitError(Exception):
    """An exception that pickle takes apart and cannot put together: it is made of two things, and keeps one."""

    def __init__(self, first: str, second: int) -> None:
        super().__init__(first)
        self.second = second


@mf.step
def plus(x: int, y: int = 0) -> int:
    """A step that workers import."""
    return x + y


@mf.step
def noted(x: int, folder: str) -> int:
    """Leaves a file for each time that it ran."""
    (Path(folder) / f"{x}-{time.time_ns()}-{os.getpid()}").touch()
    return x * 10


@mf.step
def gathered(held: Any) -> Any:
    """Gives back what it got, with containers."""
    return held


@mf.step
def leaf(x: int) -> int:
    """The end of a `tree`."""
    return x


@mf.step
def tree(depth: int) -> int:
    """Waits for steps that wait for steps."""
    return 1 if depth == 0 else sum(f.result() for f in [tree.submit(depth - 1), leaf.submit(depth)])


@mf.step(cache=False)
def failing(kind: str) -> None:
    """Raises."""
    if kind == "unfit":
        raise UnfitError("it was so", 2)
    raise KeyError(kind)


@mf.step(cache=False)
def slept(seconds: float, folder: str, name: str) -> tuple[float, float]:
    """When it began and ended."""
    began = time.time()
    (Path(folder) / name).touch()
    time.sleep(seconds)
    return began, time.time()


@mf.step(cache=False)
def held_up(folder: str, n: int) -> bool:
    """Waits until there is a file `go`."""
    wait_until((Path(folder) / "go").exists)
    return True


@mf.step
def dies_once(folder: str) -> str:
    """Kills its process when it runs first."""
    mark = Path(folder) / "died"
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "lived"


@mf.step
def numbers(n: int) -> Any:
    """More than travels by itself."""
    import numpy as np

    return np.arange(n, dtype="float64")


@mf.step
def element(place: int, data: Any) -> float:
    """One of many."""
    return float(data[place])


@mf.step
def logs(x: int) -> int:
    """Logs into the active run, and prints."""
    mf.log_metric("seen", x, step=x)
    print(f"saw {x}")
    return x


class ExecutorSuite(UnitsOnExecutor):
    """Inherit, and override `executor`."""

    has_resources = True  # does it hold back calls for which there is nothing free?
    survives_death = False  # is a call made again whose worker died?
    holds_context = True  # do calls see the run and the store of whoever submitted them?

    @pytest.fixture
    def executor(self) -> Any:
        """An executor with two workers, active in the test: `with mf.executor(...) as opened: yield opened`."""
        raise NotImplementedError("override the fixture `executor`")

    @pytest.fixture
    def place(self, tmp_path: Path) -> Any:
        """Where the store is: what `mf.Store` takes."""
        return tmp_path / "store"

    @pytest.fixture(autouse=True)
    def store(self, place: Any, executor: Executor) -> Any:
        """The active store."""
        with mf.Store(place) if not isinstance(place, tuple) else mf.Store(place[0], **place[1]) as opened:
            yield opened

    def test_results_come_in_order_and_are_those_of_the_calls(self, executor: Executor) -> None:
        futures = [plus.submit(n, y=1) for n in range(6)]
        assert [future.result(PATIENCE_S) for future in futures] == [1, 2, 3, 4, 5, 6]
        assert plus.map(range(8), y=5) == list(range(5, 13))

    def test_plain_functions_run_as_well(self, executor: Executor) -> None:
        base = 40
        assert executor.submit(lambda: base + 2).result(PATIENCE_S) == 42

    def test_futures_are_arguments_also_inside_containers(self, executor: Executor) -> None:
        a, b = plus.submit(1), plus.submit(2)
        held = gathered.submit({"list": [a, (b, {"deep": plus.submit(a, b)})], "plain": 5})
        assert held.result(PATIENCE_S) == {"list": [1, (2, {"deep": 3})], "plain": 5}
        assert gathered.is_cached({"list": [1, (2, {"deep": 3})], "plain": 5})

    def test_a_chain_longer_than_the_workers_finishes(self, executor: Executor) -> None:
        future = plus.submit(0, 1)
        for _ in range(8):
            future = plus.submit(future, 1)
        assert future.result(PATIENCE_S) == 9

    def test_steps_that_wait_for_steps_do_not_deadlock(self, executor: Executor) -> None:
        trees = [tree.submit(depth) for depth in (4, 3, 4)]
        assert [future.result(PATIENCE_S) for future in trees] == [1 + 10, 1 + 6, 1 + 10]

    def test_hits_are_not_computed_again(self, executor: Executor, tmp_path: Path) -> None:
        marks = tmp_path / "marks"
        marks.mkdir()
        assert noted.map([1, 2, 3], folder=str(marks)) == [10, 20, 30]
        assert noted.map([1, 2, 3, 4], folder=str(marks)) == [10, 20, 30, 40]
        assert noted.submit(4, folder=str(marks)).result(PATIENCE_S) == 40
        assert sorted(path.name[0] for path in marks.iterdir()) == ["1", "2", "3", "4"]

    def test_keys_and_digests_are_those_of_a_direct_call(self, executor: Executor) -> None:
        scale, table = 3, {"a": [1.5, None], "b": b"x"}

        @mf.step
        def made_here(x: int) -> Any:
            return {"x": x * scale, **table}

        assert made_here.submit(7).result(PATIENCE_S) == {"x": 21, **table}
        call = made_here.call(7)
        assert call.hit
        assert call.output == hexdigest({"x": 21, **table})

    def test_large_arguments_arrive_and_say_who_made_them(self, executor: Executor) -> None:
        data = numbers(200_000)
        assert element.map([1, 2, 3, 199_999], data=data) == [1.0, 2.0, 3.0, 199_999.0]
        assert element.submit(7, numbers.submit(200_001)).result(PATIENCE_S) == 7.0
        for place, n in ((2, 200_000), (7, 200_001)):
            call = element.call(place, numbers(n))
            assert call.hit
            upstream = mf.lineage.of(call).upstream()
            assert f"call:{numbers.call(n).key}" in set(upstream.graph.nodes)

    def test_a_batch_of_a_map_fails_where_its_calls_do(self, executor: Executor) -> None:
        @mf.step
        def inverse(x: int) -> float:
            return 12 / x

        with pytest.raises(mf.StepError, match="index 3") as caught:
            inverse.map([1, 2, 3, 0, 4, 6, 0], batch=3)
        assert {place: type(error) for place, error in caught.value.data["failures"].items()} == {
            3: ZeroDivisionError,
            6: ZeroDivisionError,
        }
        assert inverse.map([1, 2, 3, 4, 6], batch=2) == [12, 6, 4, 3, 2]
        assert all(inverse.is_cached(x) for x in (1, 2, 3, 4, 6))

    def test_many_tiny_calls_keep_their_order(self, executor: Executor) -> None:
        assert plus.map(range(60), y=50_000) == list(range(50_000, 50_060))

    def test_a_step_that_is_defined_anew_is_another_step(self, executor: Executor) -> None:
        def made(by: int) -> Any:
            @mf.step
            def scaled(x: int) -> int:
                return x * by

            return scaled

        first, second = made(2), made(3)
        assert [first.submit(5).result(PATIENCE_S), second.submit(5).result(PATIENCE_S)] == [10, 15]

    def test_exceptions_come_back_as_they_are(self, executor: Executor) -> None:
        with pytest.raises(KeyError) as caught:
            failing.submit("here").result(PATIENCE_S)
        assert caught.value.args == ("here",)
        # Where it was raised can be read, here or on the worker.
        trace = str(caught.value.__cause__) if not executor.in_process else str(caught.traceback)
        assert "failing" in trace or "executor_suite" in trace

    def test_an_exception_that_does_not_pickle_tells_what_it_was(self, executor: Executor) -> None:
        with pytest.raises((UnfitError, mf.StepError), match="it was so"):
            failing.submit("unfit").result(PATIENCE_S)

    def test_the_failure_of_an_argument_is_that_of_the_call(self, executor: Executor) -> None:
        with pytest.raises(KeyError, match="argument"):
            plus.submit(1, failing.submit("argument")).result(PATIENCE_S)

    def test_a_failure_in_a_map_keeps_the_others(self, executor: Executor) -> None:
        @mf.step
        def odd(x: int) -> int:
            if x % 4 == 2:
                raise ValueError(f"not {x}")
            return x

        with pytest.raises(mf.StepError, match="index 2") as caught:
            odd.map(range(8))
        assert sorted(caught.value.data["failures"]) == [2, 6]
        assert all(odd.is_cached(x) for x in (0, 1, 3, 4, 5, 7))

    def test_what_has_not_begun_can_be_cancelled(self, executor: Executor, tmp_path: Path) -> None:
        if executor.workers < 2 and executor.in_process:
            pytest.skip("a serial executor has begun everything")
        busy = [held_up.submit(str(tmp_path), n) for n in range(executor.workers)]
        waiting = slept.submit(busy[0], str(tmp_path), "never")
        assert waiting.cancel()
        assert waiting.cancelled()
        with pytest.raises(concurrent.futures.CancelledError):
            waiting.result(PATIENCE_S)
        (tmp_path / "go").touch()
        assert all(future.result(PATIENCE_S) for future in busy)
        assert not (tmp_path / "never").exists()

    def test_calls_of_a_worker_belong_to_the_active_run(self, executor: Executor, capsys: Any) -> None:
        if not self.holds_context:
            pytest.skip("it does not carry contexts")
        with mf.start_run(hardware=False) as run:
            assert logs.map([1, 2, 3]) == [1, 2, 3]
            assert logs.map([1, 2, 3]) == [1, 2, 3]
        wait_until(lambda: len(run.calls) == 6)
        assert sorted(run.calls.column("hit")) == [False] * 3 + [True] * 3
        assert sorted(run.metric_history("seen")["step"].to_pylist()) == [1, 2, 3]
        assert {call.run_id for call in map(logs.call, (1, 2, 3))} == {run.run_id}
        assert mf.get_run(run.run_id).status == "FINISHED"
        assert sorted(line for line in capsys.readouterr().out.splitlines() if line.startswith("saw")) == [
            "saw 1",
            "saw 2",
            "saw 3",
        ]

    def test_limits_are_kept(self, executor: Executor, tmp_path: Path) -> None:
        if not self.has_resources or executor.workers < 2:
            pytest.skip("it does not hold calls back")
        work = [(lambda n=n: _timed(tmp_path, n)) for n in range(4)]
        alone = Resources(limits=("one",))
        spans = sorted(
            future.result(PATIENCE_S) for future in [executor.submit(call, resources=alone) for call in work]
        )
        assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(spans))

    def test_more_than_there_will_ever_be_is_refused(self, executor: Executor) -> None:
        if not self.has_resources or executor.workers < 2:
            pytest.skip("it does not hold calls back")
        with pytest.raises(mf.CapabilityError, match="one"):
            executor.submit(lambda: 1, resources=Resources(limits=("one", "one"))).result(PATIENCE_S)

    def test_the_death_of_a_worker_is_survived(self, executor: Executor, tmp_path: Path) -> None:
        if not self.survives_death:
            pytest.skip("its workers are ours, or break for good")
        others = [plus.submit(n, 100) for n in range(4)]
        assert dies_once.submit(str(tmp_path)).result(PATIENCE_S) == "lived"
        assert [future.result(PATIENCE_S) for future in others] == [100, 101, 102, 103]

    def test_an_argument_that_cannot_travel_is_named(self, executor: Executor) -> None:
        if executor.in_process:
            pytest.skip("nothing travels")
        with pytest.raises(mf.InvalidInputError, match=r"gathered.*argument 'held'.*\[1\]"):
            gathered.submit([1, threading.Lock()]).result(PATIENCE_S)

    def test_a_store_in_memory_is_refused_where_memory_is_not_shared(self, executor: Executor) -> None:
        if executor.in_process:
            pytest.skip("memory is shared")
        with mf.Store("memory://executor-suite"), pytest.raises(mf.CapabilityError, match="memory://"):
            plus.submit(1, 2).result(PATIENCE_S)

    def test_many_threads_may_submit(self, executor: Executor) -> None:
        results: list[int] = []

        def submit(n: int) -> None:
            results.append(plus.submit(n, 1000).result(PATIENCE_S))

        threads = [threading.Thread(target=_in_context, args=(submit, n)) for n in range(4)]
        store = mf.active_store()
        assert store is not None
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert executor.submit(lambda: 1).result(PATIENCE_S) == 1

    def test_shutdown_finishes_what_was_submitted(self, executor: Executor) -> None:
        futures: list[Future] = [plus.submit(n, 7000) for n in range(4)]
        executor.shutdown()
        assert [future.result(PATIENCE_S) for future in futures] == [7000, 7001, 7002, 7003]
        assert all(future.done() for future in futures)


def wait_until(holds: Any) -> None:
    """Until it is true; AssertionError if it never is."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


def _timed(folder: Path, n: int) -> tuple[float, float]:
    began = time.time()
    time.sleep(0.05)
    return began, time.time()


def _in_context(work: Any, n: int) -> None:
    work(n)
