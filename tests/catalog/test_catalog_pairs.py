"""Two operations on one catalog, the one whole before a call of the other: nothing else comes of it than what one after
the other gives, also if the other is killed right then.
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from far_storage import FarStorage

import mlflowish as mf
from mlflowish.catalog import Catalog, committing
from mlflowish.catalog.checkpoints import checkpoint_path, load_checkpoint
from mlflowish.catalog.cleaning import clean
from mlflowish.catalog.segments import Files
from mlflowish.errors import NotFoundError
from mlflowish.maintenance.catalog_check import check_catalog
from mlflowish.maintenance.checking import Check
from mlflowish.storage import MemoryStorage, Storage
from mlflowish.store.layout import create_layout
from mlflowish.testing.faults import Call, Fault, FaultyStorage, Meanwhile

LAST = 127  # the newest slot of these logs that can have a checkpoint
READS = {"get", "size", "list"}
Operation = Callable[[mf.Store], object]


# -- operations --------------------------------------------------------------------------------------


def clean_now(store: mf.Store) -> None:
    clean(store.catalog.history, keep_s=-1.0, keep_slots=0, untouched_s=-1.0)


def clean_what_is_old(store: mf.Store) -> None:
    store.catalog.clean(keep_s=-1.0, keep_slots=0)  # all was written just now: a floor, and nothing is removed


def repair(store: mf.Store) -> None:
    report = mf.fsck(store, repair=True)
    assert {found.code for found in report.findings} <= {"checkpoint-damaged"}, report.to_table()


def repair_and_clean(store: mf.Store) -> None:
    repair(store)
    clean_now(store)


def commit(store: mf.Store) -> None:
    store.catalog.transact(lambda tx: tx.put("mine", tx.get("mine", 0) + 1), id=f"{uuid.uuid4()}")


def commit_two_together(store: mf.Store) -> None:
    catalog, waiting = store.catalog, []
    for key in ("first", "second"):
        waiting.append(committing.Waiting(catalog._begin(None, "")))
        waiting[-1].transaction.put(f"together/{key}", 1)
    while not all(one.is_done for one in waiting):
        catalog._committer._commit_together([one for one in waiting if not one.is_done])
    assert [one.error for one in waiting] == [None, None]


def commit_many_and_clean(store: mf.Store) -> None:
    fill(store.catalog, 70)
    clean_what_is_old(store)


def commit_many_and_keep_nothing(store: mf.Store) -> None:
    fill(store.catalog, 70)
    clean_now(store)


def check(store: mf.Store) -> None:
    assert mf.fsck(store).findings == ()


def collect(store: mf.Store) -> None:
    mf.gc(store, dry_run=False, older_than="1d", purge_deleted="1d", grace=0.0)


def checkpoint(store: mf.Store) -> None:
    store.catalog.checkpoint()


def read(store: mf.Store) -> dict[str, Any]:
    """The newest state; that of a damaged checkpoint may be gone, as a snapshot says, if its log was cleaned away."""
    return store.catalog.read_newest(lambda snapshot: dict(snapshot.scan()))


def read_earlier(store: mf.Store) -> dict[str, Any] | None:
    """The state of an earlier slot; None if it was cleaned."""
    try:
        return dict(store.catalog.snapshot(100).scan())
    except NotFoundError as error:
        return None if "cleaned up to slot" in error.message else {"wrong": error.message}


def read_the_log(store: mf.Store) -> list[int]:
    """The later slots; who is told that the next commit is gone, since it was cleaned after the first was given, begins
    again."""
    while True:
        try:
            return [commit.slot for commit in store.catalog.log() if commit.slot > LAST]
        except NotFoundError as error:
            if "cleaned up to slot" not in error.message:
                raise


UPKEEP = [clean_now, repair, repair_and_clean]
CHANGES = [*UPKEEP, clean_what_is_old, commit, commit_two_together, checkpoint]
OPERATIONS = [*CHANGES, read, read_earlier, read_the_log]
MEANWHILE = [*CHANGES, commit_many_and_clean]


# -- stores ------------------------------------------------------------------------------------------


def fill(catalog: Catalog, count: int) -> None:
    for _ in range(count):
        catalog.transact(lambda tx: tx.put(f"k/{(tx.slot + 1) % 40:02d}", tx.slot + 1))


def nothing(storage: Storage) -> None:
    """Sound."""


def manifest_damaged(storage: Storage) -> None:
    flip(storage, checkpoint_path(LAST))


def manifest_missing(storage: Storage) -> None:
    storage.delete(checkpoint_path(LAST))


def file_damaged(storage: Storage) -> None:
    flip(storage, files_of(storage)[0])


def file_missing(storage: Storage) -> None:
    storage.delete(files_of(storage)[0])


def shared_file_damaged(storage: Storage) -> None:
    """One that an earlier checkpoint names as well."""
    flip(storage, files_of(storage)[-1])


def damaged_file_of_no_manifest(storage: Storage) -> None:
    file_damaged(storage)
    manifest_missing(storage)


def files_of(storage: Storage) -> list[str]:
    found = load_checkpoint(storage, Files(storage), LAST)
    assert found is not None
    return [ref.path for run in found.runs for ref in run]


def flip(storage: Storage, path: str) -> None:
    data = bytearray(storage.get(path))
    data[20] ^= 1
    storage.put(path, bytes(data))


DAMAGES = [
    nothing,
    manifest_damaged,
    manifest_missing,
    file_damaged,
    file_missing,
    shared_file_damaged,
    damaged_file_of_no_manifest,
]


@functools.cache
def made(kind: type[MemoryStorage], damage: Callable[[Storage], None]) -> Storage:
    """To be copied: a log of 140 commits, the first 64 so large that the second checkpoint shares their file."""
    storage = kind(f"pairs-{uuid.uuid4().hex}")
    create_layout(storage)
    catalog = Catalog(storage)
    for number in range(64):
        catalog.transact(lambda tx, number=number: tx.put(f"large/{number}", "x" * 200))  # type: ignore[misc]  # a lambda with a default
    fill(catalog, 76)
    damage(storage)
    return storage


def copied(template: Storage) -> Storage:
    target = type(template)(f"pairs-{uuid.uuid4().hex}")  # type: ignore[call-arg]  # of the two kinds here
    for info in template.list(""):
        target.put(info.path, template.get(info.path))
    return target


def open_on(storage: Storage, *, is_open: bool = False) -> mf.Store:
    """A store whose every storage call goes through this one; `is_open`: it has looked at the catalog already."""
    store = mf.Store(f"memory://{uuid.uuid4().hex}")
    store.storage = storage
    if is_open:
        store.catalog.snapshot()
    return store


def state(storage: Storage) -> dict[str, Any]:
    return dict(Catalog(storage).snapshot().scan())


# -- what is tried -----------------------------------------------------------------------------------


class Killed(BaseException):
    """What comes after it does not happen."""


class ThenKilled(Meanwhile):
    """The call before which the others came is the last one."""

    def __call__(self, call: Call) -> Fault | None:
        if self.met:
            raise Killed
        return super().__call__(call)


def _may_differ(path: str) -> bool:
    return not path or path.startswith("catalog")


@dataclass
class Pair:
    """`second` before calls of `first`, in a log that is damaged in one way."""

    template: Storage
    first: Operation
    second: Operation
    states: list[dict[str, Any]] = field(init=False)
    results: list[object] = field(init=False)

    def __post_init__(self) -> None:
        """What there is after the second alone, and after both, in one order and in the other; what the first gives."""
        one, other = copied(self.template), copied(self.template)
        self.results = [self.first(open_on(one))]
        self.second(open_on(one))
        self.second(open_on(other))
        self.states = [state(other)]
        self.results.append(self.first(open_on(other)))
        self.states += [state(one), state(other)]

    def calls(self, *, is_open: bool) -> list[Call]:
        """The calls of the first, but for reads of what is not of the catalog, and so is the same before and after; of
        the reads and removals of records of the log, which are all alike, the first two and the last."""
        counted = FaultyStorage(copied(self.template))
        store = open_on(counted, is_open=is_open)
        before = len(counted.calls)
        self.first(store)
        calls = [call for call in counted.calls[before:] if call.operation not in READS or _may_differ(call.path)]
        for what in ("get", "delete"):
            alike = [call for call in calls if call.operation == what and call.path.startswith("catalog/log/")]
            calls = [call for call in calls if call not in alike[2:-1]]
        return calls

    def run(self, call: Call, plan: type[Meanwhile], *, is_open: bool) -> None:
        inner = copied(self.template)
        theirs = open_on(inner, is_open=is_open)
        meanwhile = plan({call.number}, lambda: self.second(theirs))
        mine = open_on(FaultyStorage(inner, meanwhile), is_open=is_open)
        told = f"{self.first.__name__}, {self.second.__name__} before {call}, {plan.__name__}, {is_open=}"
        try:
            result = self.first(mine)
        except Killed:
            assert state(inner) in self.states, told
        else:
            meanwhile.end()
            assert result in self.results, told
            assert state(inner) in self.states[1:], told
        require_sound(inner, [theirs, *([mine] if plan is Meanwhile else [])], told)


def tries(pair: Pair) -> list[tuple[Call, type[Meanwhile], bool]]:
    """Every call, to go on, and every one that writes, to be killed there (at a read it leaves what it leaves at the
    write after it), of handles that are new and of such as have looked before."""
    return [
        (call, plan, is_open)
        for is_open in (False, True)
        for call in pair.calls(is_open=is_open)
        for plan in (Meanwhile, ThenKilled)
        if plan is Meanwhile or call.operation not in READS
    ]


def require_sound(storage: Storage, handles: list[mf.Store], told: str) -> None:
    """Every handle goes on with what is there, and it can be repaired and cleaned."""
    for handle in handles:
        assert dict(handle.catalog.snapshot().scan()) == state(storage), told
        commit(handle)
    before = state(storage)
    assert found_in_catalog(storage, repair=True) <= {"checkpoint-damaged"}, told
    clean_now(open_on(storage))
    assert state(storage) == before, told
    assert found_in_catalog(storage, repair=False) == set(), told


def found_in_catalog(storage: Storage, *, repair: bool) -> set[str]:
    """The codes of what `fsck` finds in the only part of these stores that is written to."""
    looked = Check(open_on(storage), repair=repair, quick=False, watch=None)
    check_catalog(looked)
    return {finding.code for finding in looked.report().findings}


@pytest.mark.parametrize(
    ("first", "damage"),
    [
        (clean_now, manifest_damaged),
        (clean_now, file_damaged),
        (repair, manifest_damaged),
        (repair, file_damaged),
        (repair, shared_file_damaged),  # the earlier one has made it good already, and the other finds nothing to do
    ],
)
def test_a_damaged_checkpoint_is_made_good_by_two_at_once(first: Operation, damage: Any) -> None:
    """One of them is about to put it right, and the other has done so and has cleaned the log below it."""
    pair = Pair(made(MemoryStorage, damage), first, repair_and_clean)
    found = [each for each in tries(pair) if f"{LAST:020d}" in each[0].path and each[0].operation != "get"]
    assert found
    for call, plan, is_open in found:
        pair.run(call, plan, is_open=is_open)


@pytest.mark.parametrize("first", OPERATIONS)
def test_what_two_do_at_once_is_what_one_does_after_the_other(first: Operation) -> None:
    at = OPERATIONS.index(first)
    for damage in (nothing, DAMAGES[1 + at % 6]):
        pair = Pair(made(MemoryStorage, damage), first, MEANWHILE[at * 3 % len(MEANWHILE)])
        for call, plan, is_open in tries(pair)[at % 7 :: 37]:
            pair.run(call, plan, is_open=is_open)


@pytest.mark.parametrize("first", [check, collect])
def test_who_reads_the_newest_state_begins_again_if_it_is_cleaned_away_meanwhile(first: Operation) -> None:
    pair = Pair(made(MemoryStorage, nothing), first, commit_many_and_keep_nothing)
    found = [call for call in pair.calls(is_open=True) if call.path.startswith("catalog/segments")]
    assert found
    for call in found:
        pair.run(call, Meanwhile, is_open=True)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", [MemoryStorage, FarStorage])
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("first", OPERATIONS)
def test_whatever_two_do_at_once_is_what_one_does_after_the_other(kind: Any, damage: Any, first: Operation) -> None:
    """Every fourth try, by turns for each other operation; in a bucket, where most of it is the same, one in ten."""
    template = made(kind, damage)
    for number, second in enumerate(MEANWHILE):
        pair, every = Pair(template, first, second), 10 if kind is FarStorage else 4
        for call, plan, is_open in tries(pair)[(number + DAMAGES.index(damage)) % every :: every]:
            pair.run(call, plan, is_open=is_open)
