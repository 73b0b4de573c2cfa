"""Calls of steps: computed once, read back, and equal to what the plain function gives."""

from __future__ import annotations

import asyncio
import pickle
import threading
import warnings

import pytest

import mlflowish as mf


@pytest.fixture(params=["folder", "memory"])
def store(request, tmp_path):
    opened = (
        mf.Store(tmp_path / "store")
        if request.param == "folder"
        else mf.Store(f"memory://{tmp_path.name}-{id(tmp_path)}")
    )
    with opened:
        yield opened


def test_the_second_call_is_read_back(store):
    @mf.step
    def double(x):
        return {"value": 2 * x, "parts": [x, (x,)]}

    first, second = double.call(4), double.call(4)
    assert (first.hit, second.hit) == (False, True)
    assert first.value == second.value == {"value": 8, "parts": [4, (4,)]}
    assert first.key == second.key
    assert first.output == second.output == mf.digest(first.value)
    assert second.inputs == {"x": mf.digest(4)}


def test_a_step_that_appends_to_a_global_list_runs_once(store):
    log = []

    @mf.step
    def noted(x):
        log.append(x)
        return x + 1

    assert [noted(1), noted(1), noted(2)] == [2, 2, 3]
    assert log == [1, 2]


def test_none_is_a_result_like_any_other(store):
    @mf.step
    def nothing():
        return None

    assert nothing.call().hit is False
    assert nothing.call().hit is True


def test_equal_calls_written_differently_are_one_call(store):
    @mf.step
    def f(a, b=2, *, c=3):
        return a + b + c

    calls = [f.call(1), f.call(1, 2), f.call(a=1), f.call(1, b=2, c=3), f.call(b=2, a=1)]
    assert [call.hit for call in calls] == [False, True, True, True, True]


def test_look_alikes_are_different_calls(store):
    @mf.step
    def show(x):
        return repr(x)

    values = [1, True, 1.0, "1", b"1", 0.0, -0.0, None, (1,), [1]]
    assert [show(value) for value in values] == [repr(value) for value in values]
    assert not any(show.call(value).hit is False for value in values)


def test_wrong_arguments_raise_the_functions_own_error(store):
    @mf.step
    def f(a):
        return a

    with pytest.raises(TypeError, match=r"f\(\) missing 1 required positional argument: 'a'"):
        f()


def test_all_kinds_of_parameters_bind(store):
    @mf.step
    def f(a, /, b, *rest, c, d=4, **more):
        return (a, b, rest, c, d, more)

    assert f(1, 2, 3, 4, c=5, z=1, y=2) == (1, 2, (3, 4), 5, 4, {"y": 2, "z": 1})
    assert f.call(1, 2, 3, 4, d=4, c=5, z=1, y=2).hit


def test_the_order_of_collected_keywords_is_seen_as_the_function_sees_it(store):
    @mf.step
    def names(**columns):
        return list(columns)

    assert names(a=1, b=2) == ["a", "b"]
    assert names(b=2, a=1) == ["b", "a"]
    assert names.call(a=1, b=2).hit


def test_a_caller_that_changes_the_result_does_not_change_the_next_one(store):
    @mf.step
    def numbers():
        return [1, 2, 3]

    numbers().append(4)
    second = numbers()
    second.append(5)
    assert numbers() == [1, 2, 3]


def test_a_step_that_changes_its_argument_is_not_cached_and_says_so(store):
    @mf.step
    def grow(items):
        items.append(1)
        return items

    mine = []
    with pytest.warns(mf.UncachedWarning, match="changes its argument 'items'"):
        assert grow(mine) == [1]
    assert mine == [1]
    with pytest.warns(mf.UncachedWarning):
        assert grow(mine) == [1, 1]


def test_a_result_that_is_the_argument_is_stored_as_it_was(store):
    @mf.step
    def same(items):
        return items

    mine = [1]
    assert same(mine) is mine
    mine.append(2)
    assert same([1]) == [1]


def test_an_argument_without_identity_runs_uncached_with_the_reason(store):
    @mf.step
    def use(box):
        return 7

    with pytest.warns(mf.UncachedWarning, match=r"box\[0\]"):
        call = use.call([threading.Lock()])
    assert (call.value, call.hit, call.key) == (7, False, None)
    assert "box[0]" in call.uncached_reason


def test_strict_refuses_what_cannot_be_cached(store):
    @mf.step(strict=True)
    def use(box):
        return 7

    with pytest.raises(mf.UncacheableError, match=r"box"):
        use([threading.Lock()])


def test_a_result_that_cannot_be_stored_is_returned(store):
    @mf.step
    def lock(n):
        return [n, threading.Lock()]

    with pytest.warns(mf.UncachedWarning, match=r"result\[1\]"):
        value = lock(3)
    assert value[0] == 3


def test_exceptions_pass_through_and_are_not_cached(store):
    ran = []

    @mf.step
    def fail(x):
        ran.append(x)
        raise ValueError("password=hunter2")

    for _ in range(2):
        with pytest.raises(ValueError, match="hunter2"):
            fail(1)
    assert ran == [1, 1]
    rows = list(fail.history())
    assert [row["status"] for row in rows] == ["failed", "failed"]
    assert all("hunter2" not in str(row) for row in rows)


def test_generators_become_re_iterable_and_hit(store):
    @mf.step
    def count(n):
        for i in range(n):
            yield i * i

    first = count(5)
    assert (list(first), list(first), len(first)) == ([0, 1, 4, 9, 16], [0, 1, 4, 9, 16], 5)
    again = count.call(5)
    assert again.hit
    assert list(again.value) == [0, 1, 4, 9, 16]
    assert again.output == mf.digest(first)


def test_a_generator_whose_items_cannot_be_stored_gives_them_all(store):
    @mf.step
    def mixed(n):
        yield from range(n)
        yield threading.Lock
        yield threading.Lock()
        yield "last"

    with pytest.warns(mf.UncachedWarning, match=r"result\[6\]"):
        items = list(mixed(5))
    assert (items[:5], items[-1], len(items)) == ([0, 1, 2, 3, 4], "last", 8)


def test_a_generator_that_fails_raises_its_own_error(store):
    @mf.step
    def broken(n):
        yield n
        raise KeyError(n)

    with pytest.raises(KeyError):
        broken(1)
    assert not broken.is_cached(1)


def test_coroutine_functions_are_awaited_once(store):
    ran = []

    @mf.step
    async def fetch(x):
        ran.append(x)
        await asyncio.sleep(0)
        return x * 2

    async def main():
        return [await fetch(2), await fetch(2), *(await fetch.map([2, 3]))]

    assert asyncio.run(main()) == [4, 4, 4, 6]
    assert ran == [2, 3]
    assert asyncio.run(fetch.call(2)).hit


@pytest.mark.parametrize("kind", ["threads", "serial"])
def test_equal_items_of_a_map_are_computed_once_and_each_gets_a_copy(store, kind):
    ran = []

    @mf.step
    def boxed(x):
        ran.append(x)
        if x == 0:
            raise ZeroDivisionError
        return [x]

    with mf.executor(kind, workers=4):
        first, second, third, again = boxed.map([7, 7, 8, 7])
    assert sorted(ran) == [7, 8]
    assert [first, second, third, again] == [[7], [7], [8], [7]]
    first.append("changed")
    assert second == again == [7]
    assert boxed(7) == [7]
    with pytest.raises(mf.StepError) as caught:
        boxed.map([0, 9, 0])
    assert sorted(caught.value.failures) == [0, 2]
    assert sorted(ran) == [0, 7, 8, 9]


def test_equal_items_that_cannot_be_stored_are_computed_for_each(store):
    @mf.step
    def opened(n):
        return threading.Lock()

    with pytest.warns(mf.UncachedWarning):
        first, second = opened.map([1, 1])
    assert first is not second


def test_async_generators_are_stored_as_a_whole(store):
    ran = []

    @mf.step
    async def ticks(n):
        ran.append(n)
        for i in range(n):
            yield i

    async def collected():
        return [item async for item in ticks(3)]

    assert asyncio.run(collected()) == asyncio.run(collected()) == [0, 1, 2]
    assert ran == [3]


class Model:
    def __init__(self, weight):
        self.weight = weight

    @mf.step
    def predict(self, x):
        return self.weight * x

    @staticmethod
    @mf.step
    def plain(x):
        return x + 1

    @mf.step
    @classmethod
    def made(cls, x):
        return cls.__name__ + str(x)


def test_methods_are_keyed_by_their_instance(store):
    model = Model(3)
    assert model.predict(2) == 6
    assert model.predict.call(2).hit
    assert Model(3).predict.call(2).hit
    assert not Model(4).predict.is_cached(2)
    assert model.predict.explain(2).hit
    assert model.predict.map([2, 5]) == [6, 15]
    assert (Model.plain(1), Model.made(1), model.made(1)) == (2, "Model1", "Model1")


def test_a_nested_call_knows_its_parent(store):
    @mf.step
    def inner(x):
        return x + 1

    @mf.step
    def outer(x):
        return inner.call(x).parent

    call = outer.call(1)
    assert call.value == call.key
    rows = {row["key"]: row for row in inner.history()}
    assert [row["parent"] for row in rows.values()] == [call.key]


def test_recursion_computes_each_value_once(store):
    ran = []

    @mf.step(lock=True)
    def fib(n):
        ran.append(n)
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    assert fib(12) == 144
    assert sorted(ran) == list(range(13))


def test_steps_travel_by_pickle():
    assert pickle.loads(pickle.dumps(Model.predict)) is Model.predict


def test_warnings_point_at_the_users_line(store):
    @mf.step
    def use(box):
        return 7

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        use(threading.Lock())
    assert [warning.filename for warning in caught] == [__file__]
