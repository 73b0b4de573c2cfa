"""Which bodies need not be traced, because their code and arguments say all that they do."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

import mlflowish as mf
from mlflowish.pipelines.closed import are_plain, closed_steps, node_places

RATES = [0.1, 0.2]


@mf.step
def one(x=0):
    return x


@mf.step
def two(x=0):
    return [x]


STEPS = [one, two]


def helper(x):
    return two(one(x))


def clock(x):
    return one(time.time())


@mf.pipeline
def nested(x):
    return helper(x)


@mf.pipeline
def nested_open(x):
    return clock(x)


def plain_loop(n: int):
    return {f"k{k}": one(rate) for k, rate in enumerate(RATES[:n])}, [two(k) for k in range(n)]


def calls_helper(n: int):
    return helper(n), nested(n), mf.when(one(n), lambda: two(n), None), one.map(two(n))


def branches(n: int):
    found = []
    for name, value in {"a": n}.items():
        found.append(one(value) if name.startswith("a") and value > 1 else two(value))
    return sorted([1, 2]), found


def reads_clock(n: int):
    return one(time.time())


def reads_file(n: int):
    return one(mf.File("x"))


def lists_folder(path: str):
    return [one(str(file)) for file in Path(path).iterdir()]


def opens(path: str):
    return one(open(path).read())


def randoms(n: int):
    return one(random.random())


def imports(n: int):
    import os

    return one(os.getpid())


def through_a_list(n: int):
    return [step(n) for step in STEPS]


def makes_a_set(n: int):
    return [one(k) for k in {n, 2}]


def a_set_of_texts(n: int):
    return [one(k) for k in set("abc")]


def attribute(config):
    return one(config.rate)


def asks_for_type(x):
    return one(x) if isinstance(x, int) else two(x)


def nested_is_open(n: int):
    return nested_open(n)


def exits(n: int):
    mf.on_exit(print)
    return one(n)


def sets_global(n: int):
    global COUNT
    COUNT = n
    return one(n)


def decorates(n: int):
    return mf.step(helper)(n)


CLOSED = {plain_loop: {one, two}, calls_helper: {one, two}, branches: {one, two}, helper: {one, two}}
OPEN = [reads_clock, reads_file, lists_folder, opens, randoms, imports, through_a_list, makes_a_set, a_set_of_texts]
OPEN += [attribute, asks_for_type, nested_is_open, exits, sets_global, decorates, clock]


@pytest.mark.parametrize("body", CLOSED, ids=lambda body: body.__name__)
def test_bodies_of_steps_and_plain_values_are_closed(body):
    pipeline = mf.pipeline(body)
    assert closed_steps(pipeline, pipeline.fingerprint) == CLOSED[body]


@pytest.mark.parametrize("body", OPEN, ids=lambda body: body.__name__)
def test_bodies_that_may_see_anything_else_are_not(body):
    pipeline = mf.pipeline(body)
    assert closed_steps(pipeline, pipeline.fingerprint) is None


def test_a_closure_is_looked_into():
    def make(value):
        @mf.pipeline
        def inner(n: int):
            return one(value)

        return inner

    closed, opened = make(3), make(time)
    assert closed_steps(closed, closed.fingerprint) == {one}
    assert closed_steps(opened, opened.fingerprint) is None


def test_it_is_looked_at_again_when_the_code_changes(monkeypatch):
    pipeline = mf.pipeline(helper)
    assert closed_steps(pipeline, pipeline.fingerprint) == {one, two}
    monkeypatch.setitem(globals(), "two", clock)
    assert closed_steps(pipeline, pipeline.fingerprint) is None


def test_only_plain_arguments_have_nothing_else_to_them():
    assert are_plain((1, [2, {"a": None}], "x"), {"y": (1.5,)})
    assert not are_plain((Path("x"),), {})
    assert not are_plain(([1, [Path("x")]],), {})


def test_a_closed_pipeline_is_passed_without_being_traced(tmp_path):
    with mf.Store(tmp_path / "store"):
        pipeline = mf.pipeline(plain_loop)
        first = pipeline.run(2)
        assert not first.is_whole_hit
        real = pipeline.fn
        pipeline.fn = None  # who calls it fails
        try:
            again = pipeline.run(2)
        finally:
            pipeline.fn = real
        assert (again.is_whole_hit, again.result) == (True, first.result)
        one.forget(0.1)
        assert pipeline.run(2).counts == {"cached": 3, "done": 1}
        assert pipeline.run(2).is_whole_hit


def test_a_node_is_not_taken_for_the_value_that_it_becomes(tmp_path):
    @mf.pipeline
    def inner(x=None):
        return one("none given") if x is None else two(x)

    @mf.step
    def nothing():
        return None

    @mf.pipeline
    def outer():
        return inner(nothing()), inner(None)

    with mf.Store(tmp_path / "store"):
        for _ in range(2):
            assert inner(None) == "none given"
            assert outer() == ([None], "none given")
            one.forget("none given")
            assert outer() == ([None], "none given")


def test_the_places_of_nodes_are_part_of_it():
    seen = []

    @mf.pipeline
    def pipe():
        node = one(1)
        seen.append(node_places([node, {"a": [1, node]}, 3]))
        return node

    with mf.Store("memory://node-places"):
        pipe()
    assert seen == [["[0]", "[1]['a'][1]"]]
