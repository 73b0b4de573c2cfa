"""Two operations on one registry, the one whole before a call of the other: the outcome is that of an order."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from registry_changes import (
    ALL_CHANGES,
    BLOCKS,
    READERS,
    collect,
    collect_what_was_deleted,
    copied,
    far,
    fill_more,
    memory,
    open_on,
    require_whole,
    state_of,
)

import mlflowish as mf
from mlflowish.errors import ConflictError, MlflowishError
from mlflowish.storage import Storage
from mlflowish.testing.faults import Call, FaultyStorage, Meanwhile

Operation = Callable[[mf.Store], Any]
Outcome = tuple[str, Any]
CHANGING = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d|[0-9a-f]{16,}|memory://\S+")  # from run to run: times, ids, places
BLOCK_NAMES = {block.__name__ for block in BLOCKS}


@pytest.fixture(autouse=True)
def nothing_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run finds out about its surroundings in a thread of its own comes at a call that nobody chose."""
    for name in ("SOURCE", "ENVIRONMENT"):
        monkeypatch.setenv(f"MLFLOWISH_{name}", "0")


def outcome_of(operation: Operation, store: mf.Store) -> Outcome:
    """What it gave, or how it failed, without what differs from run to run."""
    try:
        return "made", operation(store)
    except MlflowishError as error:
        return type(error).__name__, CHANGING.sub("*", error.message)


def by_version(state: dict[str, Any]) -> dict[str, Any]:
    """The same, without the order of what happened to different versions of a model."""
    at = {key: (key.rpartition("/")[0], str(value["version"]), key) for key, value in state.items() if is_event(key)}
    rest = {key: value for key, value in state.items() if key not in at}
    return {**rest, "history": [(*key[:2], state[key[2]]) for key in sorted(at.values())]}


def is_event(key: str) -> bool:
    return key.startswith("models/history/")


def without_runs(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_runs(item) for name, item in value.items() if name != "run_id"}
    return value


@dataclass
class Pair:
    """`second` before calls of `first`."""

    template: Storage
    make: Callable[[], Storage]
    first: Operation
    second: Operation
    orders: list[tuple[Outcome, Outcome, Any, list[Outcome], Any]] = field(init=False)  # as `seen` gives them
    conflicted: tuple[Outcome, Any] = field(init=False)  # `second` alone, as `first` was not done
    repeated: Outcome = field(init=False)  # of `second`, done twice without `first` between

    def __post_init__(self) -> None:
        one, other, alone = (copied(self.template, self.make()) for _ in range(3))
        before = outcome_of(self.first, open_on(one))
        forwards = self.seen(one, before, outcome_of(self.second, open_on(one)))
        after = outcome_of(self.second, open_on(other))
        self.orders = [forwards, self.seen(other, outcome_of(self.first, open_on(other)), after)]
        self.conflicted = outcome_of(self.second, open_on(alone)), self.state(alone)
        self.repeated = outcome_of(self.second, open_on(alone))

    def seen(
        self, storage: Storage, first: Outcome, second: Outcome
    ) -> tuple[Outcome, Outcome, Any, list[Outcome], Any]:
        """The outcomes, the state of a store that is whole, and what comes of each when it is done again."""
        state = self.state(storage)
        again = [outcome_of(each, open_on(storage)) for each in (self.first, self.second)]
        return first, second, state, again, self.state(storage)

    def state(self, storage: Storage) -> Any:
        state = without_runs(state_of(require_whole(storage)))
        # It purges what was deleted before it began, and says so later: what is deleted in between stands before it.
        return by_version(state) if collect_what_was_deleted in (self.first, self.second) else state

    def calls(self) -> list[Call]:
        """The calls of the first, of a handle that has looked at the catalog before."""
        counted = FaultyStorage(copied(self.template, self.make()))
        store = open_on(counted)
        store.catalog.snapshot()
        before = len(counted.calls)
        outcome_of(self.first, store)
        return counted.calls[before:]

    def run(self, call: Call, *, also_after: int = 0, is_new: bool = False) -> None:
        """`second`, by a handle that is new or has looked before, at a call, and once more so many calls later."""
        inner = copied(self.template, self.make())
        theirs, outcomes = open_on(inner), []
        theirs.catalog.snapshot()
        meanwhile = Meanwhile(
            {call.number, call.number + also_after},
            lambda: outcomes.append(outcome_of(self.second, open_on(inner) if is_new else theirs)),
        )
        mine = open_on(FaultyStorage(inner, meanwhile))
        mine.catalog.snapshot()
        first = outcome_of(self.first, mine)
        meanwhile.end()
        mine.close()
        told = f"{self.first.__name__}, {self.second.__name__} before {meanwhile.met}: {first}, {outcomes}"
        if not outcomes:  # the call is one of a thread that the operation left behind
            return
        if first[0] == ConflictError.__name__ and self.first.__name__ in BLOCK_NAMES and not also_after:
            assert (outcomes[0], self.state(inner)) == self.conflicted, told
        elif not also_after:
            assert self.seen(inner, first, outcomes[0]) in self.orders, told
        else:
            ends = [each for order in self.orders for each in (*order[:2], *order[3])]
            known = {kind for kind, _ in (*ends, self.repeated)} | {"ConflictError"}
            assert {kind for kind, _ in (first, *outcomes)} <= known, told
            self.state(inner)
        require_collected(inner)


def require_collected(storage: Storage) -> None:
    """Two collections, of which in a bucket the first only marks, leave what is named."""
    for _ in range(2):
        collect(open_on(storage))
    require_whole(storage).close()


def filled() -> Storage:
    template = memory()
    fill_more(template)
    return template


@pytest.mark.parametrize("first", [*ALL_CHANGES, *READERS])
def test_of_two_operations_at_once_the_outcome_is_that_of_an_order(first: Operation) -> None:
    """One call of each, with one other operation: the nightly run takes far more."""
    at = [*ALL_CHANGES, *READERS].index(first)
    pair = Pair(filled(), far if at % 4 == 3 else memory, first, ALL_CHANGES[at * 7 % len(ALL_CHANGES)])
    calls = pair.calls()
    also_after = 1 + at % 5 if at % 4 == 0 else 0
    pair.run(calls[at * 5 % len(calls)], also_after=also_after, is_new=bool(at % 2))


@pytest.mark.nightly
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("make", [memory, far])
@pytest.mark.parametrize("first", [*ALL_CHANGES, *READERS])
def test_of_any_two_operations_at_once_the_outcome_is_that_of_an_order(
    make: Callable[[], Storage], first: Operation
) -> None:
    """By turns one call in three, in a bucket, where most of it is the same, one in six; of two changes, the one
    before calls of the other."""
    template, at = filled(), [*ALL_CHANGES, *READERS].index(first)
    every = 6 if make is far else 3
    for number, second in enumerate(ALL_CHANGES):
        if (number + at + (number > at)) % 2:  # the other way round then
            continue
        pair = Pair(template, make, first, second)
        for place, call in [*enumerate(pair.calls())][number // 2 % every :: every]:
            pair.run(call, is_new=bool((place // every + number // 4) % 2))
            if make is memory and (place + number) % 5 == 0:  # in a bucket, two collections want an hour between
                pair.run(call, also_after=1 + place % 7)
