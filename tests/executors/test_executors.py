"""Submitted calls: in order, in parallel, without deadlock, with futures as arguments."""

from __future__ import annotations

import threading

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
        assert future.result(timeout=30) == 51


def test_steps_that_wait_for_steps_do_not_deadlock_a_small_pool(store):
    @mf.step
    def leaf(x):
        return x

    @mf.step
    def tree(depth):
        return 1 if depth == 0 else sum(f.result() for f in [tree.submit(depth - 1), leaf.submit(depth)])

    with mf.executor("threads", workers=1):
        assert tree.submit(6).result() == 1 + sum(range(1, 7))


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
