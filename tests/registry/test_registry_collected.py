"""A whole collection without grace, at every storage call of what changes a registry: the change is made."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from registry_changes import (
    CHANGES,
    calls_of,
    collect,
    copied,
    far,
    fill,
    memory,
    open_on,
    register,
    require_whole,
    state_of,
)

import mlflowish as mf
from mlflowish.storage import Storage
from mlflowish.testing.faults import FaultyStorage, Meanwhile


def collect_by_another(inner: Storage) -> None:
    store = open_on(inner)
    collect(store)
    store.close()


def require_made(
    change: Callable[[mf.Store], None], make: Callable[[], Storage], places: Callable[[int], set[int]]
) -> None:
    """The change, once for each of its calls, with collections at `places` of the number of that call."""
    template = make()
    fill(template)
    done = copied(template, make())
    calls, after = calls_of(change, done), state_of(open_on(done))
    for call in calls:
        inner = copied(template, make())
        plan = Meanwhile(places(call.number), lambda inner=inner: collect_by_another(inner))  # type: ignore[misc]  # a lambda with a default
        change(open_on(FaultyStorage(inner, plan)))
        assert state_of(require_whole(inner)) == after, plan.met


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_made_whatever_is_collected_at_any_of_its_calls(change: Callable[[mf.Store], None]) -> None:
    require_made(change, memory, lambda number: {number})


@pytest.mark.parametrize("change", CHANGES)
def test_in_a_bucket_a_change_is_made_whatever_is_marked_meanwhile(
    change: Callable[[mf.Store], None],
) -> None:
    require_made(change, far, lambda number: {number})


@pytest.mark.parametrize(("make", "apart"), [(memory, 1), (memory, 4), (memory, 16), (far, 1)])
def test_a_version_is_registered_beside_two_collections(make: Callable[[], Storage], apart: int) -> None:
    """Of which in a bucket the second deletes what the writer has just stored and asked about already."""
    require_made(register, make, lambda number: {number, number + apart})
