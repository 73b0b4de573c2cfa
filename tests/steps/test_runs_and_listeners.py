"""What a run has of steps: its id in their records, and word of every call, hit or miss."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import contextmanager

import pytest

import mlflowish as mf
from mlflowish.store.context import CallNote, active_run_id, on_call


@pytest.fixture(autouse=True)
def store(tmp_path):
    with mf.Store(tmp_path / "store") as opened:
        yield opened


@contextmanager
def _run(run_id):
    heard = []
    tokens = active_run_id.set(run_id), on_call.set(heard.append)
    try:
        yield heard
    finally:
        active_run_id.reset(tokens[0])
        on_call.reset(tokens[1])


def test_a_call_computed_in_a_run_bears_its_id_also_when_it_is_read_back_elsewhere():
    @mf.step
    def f(x):
        return x + 1

    with _run("run-1"):
        assert f.call(1).run_id == "run-1"
    assert f.call(1).run_id == "run-1"
    assert f.call(2).run_id is None
    assert f.history().column("run_id") == ["run-1", None]


def test_failed_and_uncached_calls_bear_the_run_too():
    @mf.step
    def inverse(x):
        return 1 / x

    @mf.step(cache=False)
    def always():
        return 1

    with _run("run-1"):
        with pytest.raises(ZeroDivisionError):
            inverse(0)
        assert always.call().run_id == "run-1"
    assert inverse.history().column("run_id") == always.history().column("run_id") == ["run-1"]


def test_a_listener_hears_of_hits_and_misses():
    @mf.step
    def f(x):
        return x + 1

    before = f.call(1)
    with _run("run-1") as heard:
        f(1)
        computed = f.call(2)
    assert heard == [
        CallNote(before.key, f.name, True, before.duration_s, mf.digest(2)),
        CallNote(computed.key, f.name, False, computed.duration_s, mf.digest(3)),
    ]
    f(3)
    assert len(heard) == 2


def test_a_listener_hears_of_calls_that_failed_or_were_not_cached():
    @mf.step
    def inverse(x):
        return 1 / x

    @mf.step
    def unkeyed(lock):
        return 1

    with _run("run-1") as heard:
        with pytest.raises(ZeroDivisionError):
            inverse(0)
        with pytest.warns(mf.UncachedWarning):
            unkeyed(threading.Lock())
    assert [(note.status, note.hit, note.output) for note in heard] == [
        ("failed", False, None),
        ("uncached", False, None),
    ]
    assert heard[1].key is None


def test_a_listener_hears_of_calls_inside_calls_on_threads_and_of_coroutines_and_generators():
    @mf.step
    def inner(x):
        return x

    @mf.step
    def outer(x):
        return inner(x) + 1

    @mf.step
    async def later(x):
        return x

    @mf.step
    def many(x):
        yield x

    with _run("run-1") as heard:
        outer(1)
        asyncio.run(later(1))
        list(many(1))
        with mf.executor("threads", workers=2):
            inner.map([1, 2, 3])
    names = [note.step.rsplit(".", 1)[1] for note in heard]
    assert names[:4] == ["inner", "outer", "later", "many"]
    assert sorted((note.step, note.hit) for note in heard[4:]) == [(inner.name, False)] * 2 + [(inner.name, True)]
    assert set(inner.history().column("run_id")) == {"run-1"}


def test_a_result_found_while_waiting_for_a_lease_is_a_hit_that_the_listener_hears_of():
    @mf.step(lock=True)
    def f(x):
        return x

    with _run("run-1") as heard:
        identity = f.identifier.identify((1,), {})
        with f._leased(identity) as nothing:
            assert nothing is None
        f(1)
        with f._leased(identity) as found:
            assert found is not None
    assert [note.hit for note in heard] == [False, True]


def test_a_listener_that_raises_is_logged_and_changes_nothing(caplog):
    @mf.step
    def f(x):
        return x + 1

    def broken(note):
        raise RuntimeError("no disk")

    token = on_call.set(broken)
    try:
        with caplog.at_level(logging.ERROR, "mlflowish.steps"):
            assert [f(1), f(1)] == [2, 2]
    finally:
        on_call.reset(token)
    assert [record.name.startswith("mlflowish.steps") for record in caplog.records].count(True) == 2
