"""A healthy store with something of everything, and the steps that filled it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

import mlflowish as mf


@mf.step
def ramp(n: int) -> Any:
    return np.arange(n, dtype=np.float64)


@mf.step
def shared(name: str, n: int) -> Any:
    return np.ones(n)


@mf.step
def small(n: int) -> int:
    return n * n


@mf.step
def fails(n: int) -> None:
    raise ValueError(n)


LARGE = 50_000  # an array of 400 kB is an object of its own, even in a bucket asked for first


@contextmanager
def healthy(url: Any, **options: Any) -> Iterator[mf.Store]:
    """A store with entries in a segment and in a journal, shared objects, a failure, and something forgotten."""
    with mf.Store(url, **options) as store:
        fill(store)
        yield store


def fill(store: mf.Store) -> None:
    for n in range(3):
        ramp(LARGE + n)
        small(n)
    small.forget(0)
    store.compact()
    ramp(LARGE + 3)
    for name in "ab":
        shared(name, LARGE)
    for n in range(3, 6):
        small(n)
    try:
        fails(1)
    except ValueError:
        pass
    store.flush()


def check_values(store: mf.Store) -> None:
    """Every call returns what it should, stored or not."""
    with store:
        for n in range(4):
            assert (ramp(LARGE + n) == np.arange(LARGE + n)).all()
        for name in "ab":
            assert shared(name, LARGE).sum() == LARGE
        assert [small(n) for n in range(6)] == [n * n for n in range(6)]


def kept(store: mf.Store) -> int:
    """How many of its calls are read back."""
    with store:
        calls = [ramp.is_cached(LARGE + n) for n in range(4)]
        calls += [shared.is_cached(name, LARGE) for name in "ab"]
        return sum(calls + [small.is_cached(n) for n in range(6)])


ALL = 11  # what `kept` says of a healthy store: one of the twelve was forgotten
