"""Two handles with open transactions and old views against a dictionary with a history."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

import mlflowish as mf
from mlflowish.catalog import Catalog, Transaction
from mlflowish.catalog import checkpoints as checkpoint_module
from mlflowish.catalog.cleaning import clean
from mlflowish.errors import ConflictError, NotFoundError
from mlflowish.storage import ObjectRef

KEYS = st.sampled_from(["a", "a/1", "a/2", "b", "b/x/1", "b/x/2", "c"])
PREFIXES = st.sampled_from(["", "a", "a/", "b/x", "b/x/", "z"])
HANDLES = st.integers(0, 1)
_serial = itertools.count()


class Open:
    """A `with` block that is not over, and what the model knows of it."""

    def __init__(self, catalog: Catalog, slot: int) -> None:
        self.catalog = catalog
        self.block = catalog.transaction()
        self.tx: Transaction = self.block.__enter__()
        self.slot = slot
        self.base = catalog.history.view().base.slot  # what it reads rests on the checkpoint of this slot
        self.writes: dict[str, Any] = {}
        self.reads: set[str] = set()
        self.prefixes: set[str] = set()


class CatalogMachine(RuleBasedStateMachine):
    """The model: the state after each slot, and the slot of the last write of each key."""

    transactions = Bundle("transactions")

    def __init__(self) -> None:
        super().__init__()
        self.url = f"memory://model-{next(_serial)}"
        self.stores = [mf.Store(self.url), mf.Store(self.url)]
        self.observer = mf.Store(self.url)
        self.storage = self.observer.storage
        self.states: list[dict[str, Any]] = [{}]  # states[slot + 1]
        self.written: list[dict[str, int]] = [{}]
        self.floor = -1
        self.ids: dict[str, Any] = {}
        self.id_slots: dict[str, int] = {}
        self.values = itertools.count()
        self.referred: dict[str, ObjectRef] = {}

    # -- the model ---------------------------------------------------------------------------------

    @property
    def handles(self) -> list[Catalog]:
        return [store.catalog for store in self.stores]

    @property
    def head(self) -> int:
        return len(self.states) - 2

    def commit(self, writes: dict[str, Any]) -> None:
        state, written = dict(self.states[-1]), dict(self.written[-1])
        for key, value in writes.items():
            if value is None:
                state.pop(key, None)
                written.pop(key, None)
            else:
                state[key] = value
                written[key] = self.head + 1
        self.states.append(state)
        self.written.append(written)

    def could_read(self, slot: int, read: Callable[[], Any], expected: Any) -> bool:
        """Whether a state could be read. What rests on a slot below the floor can, as far as a handle has it still, and
        never as another state than it was."""
        try:
            assert read() == expected
        except NotFoundError as error:
            assert "cleaned" in str(error)  # noqa: PT017  whether it is raised depends
            assert slot < self.floor
            return False
        return True

    def is_valid(self, one: Open, slot: int) -> bool:
        """Is what it read the same in the state of a slot?"""
        then, now = self.written[one.slot + 1], self.written[slot + 1]
        same_keys = all(then.get(key) == now.get(key) for key in one.reads)
        return same_keys and all(under(then, prefix) == under(now, prefix) for prefix in one.prefixes)

    # -- open transactions -------------------------------------------------------------------------

    @rule(target=transactions, handle=HANDLES)
    def begin(self, handle: int) -> Open:
        return Open(self.handles[handle], self.head)

    @rule(one=transactions, key=KEYS)
    def get(self, one: Open, key: str) -> None:
        if key in one.writes:
            assert one.tx.get(key) == one.writes[key]
        else:
            written = self.written[one.slot + 1].get(key, -1)
            rests_on = one.base if written <= one.base else self.head  # what was written later is in memory
            if self.could_read(rests_on, lambda: one.tx.get(key), self.states[one.slot + 1].get(key)):
                one.reads.add(key)

    @rule(one=transactions, prefix=PREFIXES)
    def scan(self, one: Open, prefix: str) -> None:
        expected = {**self.states[one.slot + 1], **one.writes}
        found = sorted((key, value) for key, value in expected.items() if value is not None and key.startswith(prefix))
        if self.could_read(one.base, lambda: list(one.tx.scan(prefix)), found):
            one.prefixes.add(prefix)

    @rule(one=transactions, key=KEYS)
    def put(self, one: Open, key: str) -> None:
        one.writes[key] = next(self.values)
        one.tx.put(key, one.writes[key])

    @rule(one=transactions, key=KEYS)
    def delete(self, one: Open, key: str) -> None:
        one.writes[key] = None
        one.tx.delete(key)

    @rule(one=consumes(transactions))
    def end(self, one: Open) -> None:
        is_valid = self.is_valid(one, self.head)
        # What its handle knows comes first: a key that was put and is gone again is a conflict for who only saw it put.
        known = one.catalog.history.known_head()
        assert known is not None
        try:
            one.block.__exit__(None, None, None)
        except ConflictError:
            assert not (is_valid and self.is_valid(one, known))
            return
        if one.writes:
            assert is_valid
            self.commit(one.writes)
        else:
            assert is_valid or not (one.reads or one.prefixes)

    @rule(one=consumes(transactions))
    def abandon(self, one: Open) -> None:
        assert not one.block.__exit__(KeyError, KeyError("abandoned"), None)

    # -- functions ---------------------------------------------------------------------------------

    @rule(handle=HANDLES, key=KEYS, given_id=st.sampled_from([None, None, "one", "two"]))
    def transact(self, handle: int, key: str, given_id: str | None) -> None:
        def function(tx: Transaction) -> Any:
            value = [tx.get(key), number]
            tx.put(key, str(value))
            return value

        number = next(self.values)
        result = self.handles[handle].transact(function, id=given_id)
        if given_id in self.ids:
            assert result == self.ids[given_id]
            return
        assert result == [self.states[-1].get(key), number]
        if given_id is not None:
            self.ids[given_id] = result
            self.id_slots[given_id] = self.head + 1
        self.commit({key: str(result)})

    @rule(handle=HANDLES, content=st.sampled_from([b"x", b"y"]))
    def refer(self, handle: int, content: bytes) -> None:
        ref = self.stores[handle].objects.put(content)
        key = f"o/{content.decode()}"
        try:
            self.handles[handle].transact(lambda tx: tx.put(key, {"refs": [[ref.name, ref.size_bytes]]}))
        except ConflictError as error:
            assert error.doomed == [ref.name]  # noqa: PT017  whether it is raised depends
            assert ref.name not in self.referred
            assert self.handles[handle].snapshot().is_doomed(ref.name)
            return
        self.referred[ref.name] = ref
        self.commit({key: {"refs": [[ref.name, ref.size_bytes]]}})

    @rule(handle=HANDLES, content=st.sampled_from([b"x", b"y"]))
    def drop(self, handle: int, content: bytes) -> None:
        key = f"o/{content.decode()}"
        self.handles[handle].transact(lambda tx: tx.delete(key))
        self.commit({key: None})

    @rule(handle=HANDLES)
    def collect(self, handle: int) -> None:
        snapshot = self.handles[handle].snapshot()
        live = {name for _, value in snapshot.scan("o/") for name, _ in value["refs"]}
        stored = {info.path.rpartition("/")[2] for info in self.storage.list("objects")}
        doomed = self.handles[handle].doom(stored - live, since=snapshot.slot)
        assert not doomed & live
        self.commit({})
        for name in doomed:
            self.storage.delete(ObjectRef(name, 0).path)
            self.referred.pop(name, None)

    @rule(handle=HANDLES)
    def collect_by_gc(self, handle: int) -> None:
        live = {name for value in self.states[-1].values() for name in names_in(value)}
        mf.gc(self.stores[handle], dry_run=False, grace=0)
        for _ in range(self.handles[handle].snapshot().slot - self.head):  # a collection raises the epoch
            self.commit({})
        assert {info.path.rpartition("/")[2] for info in self.storage.list("objects")} == live
        self.referred = {name: ref for name, ref in self.referred.items() if name in live}
        self.ids = {given: result for given, result in self.ids.items() if self.id_slots[given] > self.floor}

    # -- upkeep ------------------------------------------------------------------------------------

    @rule(handle=HANDLES)
    def checkpoint(self, handle: int) -> None:
        self.handles[handle].checkpoint()

    @rule(handle=HANDLES, keep_slots=st.integers(0, 10))
    def clean(self, handle: int, keep_slots: int) -> None:
        floor = clean(self.handles[handle].history, keep_s=-1e6, keep_slots=keep_slots, untouched_s=-1e6).floor
        assert floor == max(self.floor, checkpoint_module.last_boundary(self.head - keep_slots))
        self.floor = floor

    @rule(handle=HANDLES)
    def reopen(self, handle: int) -> None:
        self.stores[handle] = mf.Store(self.url)

    @rule(handle=HANDLES, data=st.data())
    def look_back(self, handle: int, data: st.DataObject) -> None:
        slot = data.draw(st.integers(-1, self.head))
        self.could_read(slot, lambda: dict(self.handles[handle].snapshot(slot).scan()), self.states[slot + 1])

    @rule(handle=HANDLES)
    def look(self, handle: int) -> None:
        """At other times a handle learns nothing: what it knows grows old until it is used."""
        snapshot = self.handles[handle].snapshot()
        assert snapshot.slot == self.head
        assert list(snapshot.scan()) == sorted(self.states[-1].items())

    @invariant()
    def an_observer_sees_the_newest_state(self) -> None:
        snapshot = self.observer.catalog.snapshot()
        assert snapshot.slot == self.head
        assert list(snapshot.scan()) == sorted(self.states[-1].items())

    @invariant()
    def every_committed_reference_names_an_object(self) -> None:
        for _, value in self.observer.catalog.snapshot().scan("o/"):
            for name, size in value["refs"]:
                assert self.storage.size(ObjectRef(name, size).path) == size

    @invariant()
    def the_store_is_sound(self) -> None:
        if not any(True for _ in self.storage.list("")):
            with pytest.raises(NotFoundError, match="nothing was ever stored"):
                mf.fsck(self.observer)
            return
        report = mf.fsck(self.observer)
        assert report.findings == (), report.to_table()


def names_in(value: Any) -> list[str]:
    return [name for name, _ in value["refs"]] if isinstance(value, dict) else []


def under(written: dict[str, int], prefix: str) -> dict[str, int]:
    return {key: slot for key, slot in written.items() if key.startswith(prefix)}


@pytest.fixture(autouse=True)
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint of every 4 slots instead of 64, so that a few steps meet many."""
    for name in ("checkpoints", "history", "cleaning"):
        monkeypatch.setattr(f"mlflowish.catalog.{name}.EVERY", 4)


SLOW = {"suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large], "deadline": None}


def run(examples: int, steps: int) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        CatalogMachine,
        settings=settings(max_examples=examples, database=None, stateful_step_count=steps, **SLOW),  # type: ignore[arg-type]
    )


def test_two_handles_agree_with_a_dictionary() -> None:
    run(25, 30)


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_two_handles_agree_with_a_dictionary_for_long() -> None:
    run(1500, 60)
