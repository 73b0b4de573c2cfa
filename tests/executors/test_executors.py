"""Submitted calls: in order, in parallel, without deadlock, with futures as arguments."""

from __future__ import annotations

import concurrent.futures
import os
import threading
import time

import pytest

import mlflowish as mf


@pytest.fixture
def store(tmp_path):
    with mf.Store(tmp_path / "store") as opened:
        yield opened


@pytest.fixture(params=["threads", "serial"])
def kind(request):
    return request.param


def test_futures_are_arguments_also_inside_containers(store, kind):
    @mf.step
    def add(*numbers):
        return sum(numbers)

    @mf.step
    def total(items):
        return sum(items["list"]) + items["one"]

    with mf.executor(kind):
        a, b = add.submit(1, 2), add.submit(3, 4)
        assert total.submit({"list": [a, b], "one": add.submit(a, b)}).result() == 20
    assert total.is_cached({"list": [3, 7], "one": 10})


def test_a_chain_longer_than_the_pool_finishes(store):
    @mf.step
    def inc(x):
        return x + 1

    with mf.executor("threads", workers=2):
        future = inc.submit(0)
        for _ in range(50):
            future = inc.submit(future)
        assert future.result(timeout=300) == 51


def test_steps_that_wait_for_steps_do_not_deadlock_a_small_pool(store):
    @mf.step
    def leaf(x):
        return x

    @mf.step
    def tree(depth):
        return 1 if depth == 0 else sum(f.result() for f in [tree.submit(depth - 1), leaf.submit(depth)])

    with mf.executor("threads", workers=1):
        assert tree.submit(6).result() == 1 + sum(range(1, 7))


def test_what_a_step_submits_uses_the_threads_that_are_free(store):
    both = threading.Barrier(2, timeout=300)

    @mf.step(ignore=("meet",))
    def leaf(x, meet):
        meet.wait()
        return x

    @mf.step(ignore=("meet",))
    def outer(n, meet):
        return sum(leaf.map(range(n), meet=meet))

    @mf.pipeline
    def pipe(meet):
        return outer(4, meet)

    with mf.executor("threads", workers=2):  # one is where `outer` waits, and works
        assert outer.submit(2, both).result() == 1
        assert pipe(both) == 6


def test_calls_that_wait_for_calls_never_wait_for_ever(store):
    @mf.step
    def tree(depth, name):
        below = [tree.submit(depth - 1, f"{name}{side}") for side in "lr"] if depth else []
        if depth % 2:
            concurrent.futures.wait(below, timeout=0.01)
        return 1 + sum(future.result() for future in below)

    @mf.step
    def chain(n):
        return 0 if n == 0 else 1 + chain.submit(n - 1).result()

    for workers in (1, 2, 3):
        with mf.executor("threads", workers=workers):
            assert tree.submit(5, f"{workers}").result(timeout=300) == 2**6 - 1
            assert chain.submit(20 + workers).result(timeout=300) == 20 + workers


def test_what_runs_at_once_is_no_more_than_there_are_workers(store):
    running, most, lock = [0], [0], threading.Lock()

    @mf.step
    def leaf(x):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.002)
        with lock:
            running[0] -= 1
        return x

    @mf.step
    def outer(n):
        return sum(future.result() for future in [leaf.submit(10 * n + k) for k in range(10)])

    with mf.executor("threads", workers=3):
        assert sum(outer.map(range(8))) == sum(range(80))
    assert most[0] <= 3 + 3  # whoever waits for a call that nobody has begun does it


def test_what_a_step_submits_in_a_process_runs_there(store):
    @mf.step
    def pid(x):
        return os.getpid()

    @mf.step
    def outer(n):
        return {os.getpid(), *pid.map(range(n)), pid.submit(n).result()}

    with mf.executor("processes", workers=2):
        found = outer.submit(3).result()
    assert len(found) == 1
    assert os.getpid() not in found


def test_map_keeps_order_and_computes_only_new_items(store):
    ran = []

    @mf.step
    def square(x, plus=0):
        ran.append(x)
        return x * x + plus

    assert square.map(range(20), plus=1) == [x * x + 1 for x in range(20)]
    ran.clear()
    assert square.map(range(23), plus=1) == [x * x + 1 for x in range(23)]
    assert sorted(ran) == [20, 21, 22]


def test_a_failure_in_a_map_keeps_the_finished_ones(store):
    broken = {7}

    @mf.step(ignore=("bad",))
    def check(x, bad=None):
        if x in bad:
            raise ValueError(f"no {x}")
        return x

    with pytest.raises(mf.StepError, match="index 7") as caught:
        check.map(range(10), bad=broken)
    assert list(caught.value.failures) == [7]
    assert sum(check.is_cached(x, bad=None) for x in range(10)) == 9


def test_failures_reach_whoever_asks(store, kind):
    @mf.step
    def fail():
        raise KeyError("x")

    @mf.step
    def use(value):
        return value

    with mf.executor(kind):
        with pytest.raises(KeyError):
            fail.submit().result()
        with pytest.raises(KeyError):
            use.submit(fail.submit()).result()


def test_calls_run_in_the_pools_threads(store):
    @mf.step(cache=False)
    def where():
        return threading.current_thread().name

    with mf.executor("threads", workers=3):
        future = where.submit()
        while not future.done():
            pass
        assert future.result().startswith("mlflowish")


def test_an_unknown_executor_is_refused():
    with pytest.raises(mf.InvalidInputError, match="threads"):
        mf.executor("treads")
    with pytest.raises(mf.InvalidInputError, match="workers"):
        mf.executor("threads", workers=0)
    with pytest.raises(mf.InvalidInputError, match="dask"):
        mf.executor(3)
