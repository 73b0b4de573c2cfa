"""Generator steps: what they return is read as often as one likes, and with `next()` as the generator itself."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading

import pytest

import mlflowish as mf


@pytest.fixture(autouse=True)
def store(tmp_path):
    with mf.Store(tmp_path / "store") as opened:
        yield opened


def plain(n, lock=None):
    yield from range(n)
    return f"{n} items"


rows = mf.step(plain)


def computed(n):
    call = rows.call(n)
    assert not call.hit
    return call.value


def read_back(n):
    rows(n)
    call = rows.call(n)
    assert call.hit
    return call.value


def uncached(n):
    with pytest.warns(mf.UncachedWarning, match="lock"):
        return rows(n, threading.Lock())


@pytest.fixture(params=[computed, read_back, uncached])
def made(request):
    return request.param


def test_next_gives_one_item_after_the_other_and_then_the_end(made):
    items = made(2)
    assert [next(items), next(items), next(items, "none"), next(items, "none")] == [0, 1, "none", "none"]


def test_a_loop_after_next_goes_on_where_next_stopped_as_in_a_generator(made):
    for items in (plain(4), made(4)):
        assert next(items) == 0
        assert list(items) == [1, 2, 3]


def test_batches_are_taken_from_an_iterator_of_the_items(made):
    for items in (iter(plain(5)), iter(made(5))):
        batches = list(iter(lambda left=items: list(itertools.islice(left, 2)), []))
        assert batches == [[0, 1], [2, 3], [4]]


def test_loops_over_one_result_nest_and_repeat(made):
    items = made(3)
    assert [(a, b) for a in items for b in items] == list(itertools.product(range(3), repeat=2))
    assert list(items) == list(items) == [0, 1, 2]


def test_all_items_are_there_again_after_the_reading_by_next_has_ended(made):
    items = made(3)
    next(items)
    assert list(items) == [1, 2]
    assert list(items) == [0, 1, 2]
    assert next(items, None) is None


def test_close_ends_the_reading(made):
    with contextlib.closing(made(3)) as items:
        assert next(items) == 0
    assert next(items, "none") == "none"
    assert list(items) == [0, 1, 2]


def test_send_of_none_is_next_and_of_anything_else_is_refused(made):
    items = made(3)
    assert items.send(None) == 0
    with pytest.raises(mf.InvalidInputError, match="argument of the step"):
        items.send("x")


def test_throw_ends_the_reading_and_raises(made):
    items = made(3)
    next(items)
    with pytest.raises(KeyError):
        items.throw(KeyError("k"))
    assert next(items, "none") == "none"


def test_what_the_generator_returned_is_the_value_of_yield_from(made):
    def around(items):
        got = yield from items
        yield got

    assert list(around(made(2))) == list(around(plain(2))) == [0, 1, "2 items"]


def test_generators_that_differ_only_in_what_they_return_have_different_digests():
    @mf.step
    def ending(with_what):
        yield 1
        return with_what

    assert len({ending.call(what).output for what in (None, 1, 2)}) == 3
    assert mf.digest(ending(1)) == ending.call(1).output


def test_items_are_an_argument_of_another_step_with_their_content_as_identity(made):
    @mf.step
    def total(items):
        return sum(items)

    items = made(4)
    assert [total(items), total(items)] == [6, 6]
    assert total.is_cached(items)


def test_what_is_left_after_next_is_never_taken_for_the_whole(made):
    @mf.step
    def total(items):
        return sum(items)

    items = made(4)
    assert total(items) == 6
    next(items), next(items)
    with pytest.warns(mf.UncachedWarning, match=r"iter\(items\)"):
        assert total(items) == 5


def test_a_step_that_returns_what_is_left_is_not_stored_as_the_whole():
    @mf.step
    def headless(n):
        items = rows(n)
        next(items)
        return items

    with pytest.warns(mf.UncachedWarning, match="next"):
        assert list(headless(3)) == [1, 2]
    with pytest.warns(mf.UncachedWarning, match="next"):
        assert list(headless(3)) == [1, 2]


def test_a_step_that_uses_next_on_its_argument_is_not_cached_for_it_changes_it():
    @mf.step
    def header(items):
        return next(items)

    with pytest.warns(mf.UncachedWarning, match="changes its argument 'items'"):
        assert header(rows(3)) == 0

    @mf.step
    def careful(items):
        return next(iter(items))

    assert [careful(rows(3)), careful.call(rows(3)).hit] == [0, True]


def test_a_large_returned_value_is_a_part_of_its_own():
    np = pytest.importorskip("numpy")

    @mf.step
    def big():
        yield 1
        return np.arange(100_000)

    def ending(items):
        got.append((yield from items))

    got = []
    for _ in range(2):
        assert list(ending(big())) == [1]
    assert all((array == np.arange(100_000)).all() for array in got)
    assert len(got) == 2


def test_a_seed_is_about_the_body_of_a_generator():
    import random

    @mf.step(seed=True)
    def throws(n):
        for _ in range(n):
            yield random.random()

    first = list(throws(3))
    assert throws.forget(3) == 1
    assert list(throws(3)) == first


def test_a_timeout_is_about_the_body_of_a_generator():
    @mf.step(timeout=0.2)
    def stuck():
        yield 1
        threading.Event().wait(200)

    with pytest.raises(mf.StepTimeoutError):
        stuck()


def test_retries_are_about_the_body_of_a_generator():
    attempts = []

    @mf.step(retries=2)
    def flaky():
        attempts.append(1)
        yield len(attempts)
        if len(attempts) < 3:
            raise OSError("not yet")

    assert list(flaky()) == [3]
    assert len(attempts) == 3


CHUNK = b"x" * (1 << 20)


def objects_in(store):
    return sum(1 for found in (store / "objects").rglob("*") if found.is_file())


def test_an_async_generator_is_stored_as_it_comes(tmp_path):
    seen = []

    @mf.step(ignore=("look",))
    async def slabs(n, look):
        for i in range(n):
            look()
            yield CHUNK + bytes([i])

    async def read():
        return [item[-1] async for item in slabs(4, lambda: seen.append(objects_in(tmp_path / "store")))]

    assert asyncio.run(read()) == asyncio.run(read()) == [0, 1, 2, 3]
    assert len(seen) == 4
    assert seen[0] == 0
    assert seen[-1] >= 2


def test_what_an_async_generator_gave_is_not_lost_when_an_item_cannot_be_stored():
    @mf.step
    async def mixed(n):
        yield 1
        yield threading.Lock()
        yield 3

    async def read():
        return [type(item).__name__ async for item in mixed(0)]

    with pytest.warns(mf.UncachedWarning, match=r"result\[1\]"):
        assert asyncio.run(read()) == ["int", "lock", "int"]


def test_what_an_async_generator_raises_is_tried_again_from_its_first_item():
    tries = []

    @mf.step(retries=1, ignore=("count",))
    async def failing(n, count):
        yield 1
        if count() < 2:
            raise ZeroDivisionError

    def count():
        tries.append(1)
        return len(tries)

    async def read():
        return [item async for item in failing(0, count)]

    assert asyncio.run(read()) == asyncio.run(read()) == [1]
    assert len(tries) == 2
