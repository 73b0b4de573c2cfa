"""A whole collection without grace, at every storage call of what changes a registry: the change is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

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
from mlflowish.testing.faults import Call, Fault, FaultyStorage


@dataclass
class CollectedAt:
    """No fault: before some calls, whole collections."""

    inner: Storage
    numbers: frozenset[int]
    times: int = 1
    met: list[Call] = field(default_factory=list)

    def __call__(self, call: Call) -> Fault | None:
        if call.number in self.numbers:
            self.met.append(call)
            for _ in range(self.times):
                store = open_on(self.inner)
                collect(store)
                store.close()
        return None


def require_made(
    change: Callable[[mf.Store], None], make: Callable[[], Storage], places: Callable[[int], set[int]], times: int = 1
) -> None:
    """The change, once for each of its calls, with collections at `places` of the number of that call."""
    template = make()
    fill(template)
    done = copied(template, make())
    calls, after = calls_of(change, done), state_of(open_on(done))
    for call in calls:
        inner = copied(template, make())
        plan = CollectedAt(inner, frozenset(places(call.number)), times)
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


@pytest.mark.parametrize("apart", [1, 4, 16])
def test_a_version_is_registered_beside_two_collections(apart: int) -> None:
    require_made(register, memory, lambda number: {number, number + apart})
