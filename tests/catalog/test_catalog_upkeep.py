"""Checkpoints, opening, cleaning: what makes a long log cheap, and what happens when any of it is missing."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from mlflowish.catalog import Catalog
from mlflowish.catalog.checkpoints import checkpoint_path
from mlflowish.catalog.cleaning import clean
from mlflowish.catalog.record import record_path
from mlflowish.errors import IntegrityError, NotFoundError, StorageError
from mlflowish.storage import LocalStorage, MemoryStorage, Storage
from mlflowish.testing.faults import FaultyStorage


def fill(catalog: Catalog, count: int, *, seed: int = 0) -> list[dict[str, object]]:
    """That many commits at random; the state after each."""
    chance = random.Random(seed)
    state: dict[str, object] = dict(catalog.snapshot().scan())
    states = []
    for number in range(count):
        with catalog.transaction() as tx:
            for _ in range(chance.randint(1, 3)):
                key = f"k/{chance.randrange(40):02d}"
                if chance.random() < 0.25:
                    tx.delete(key)
                    state.pop(key, None)
                else:
                    tx.put(key, [number, "x" * chance.randrange(50)])
                    state[key] = tx.get(key)
        states.append(dict(sorted(state.items())))
    return states


def fill_unevenly(catalog: Catalog) -> None:
    """127 commits, the first 64 so large that their checkpoint is not merged into the next."""
    for number in range(64):
        catalog.transact(lambda tx, number=number: tx.put(f"k/{number}", "x" * 200))
    for _ in range(63):
        catalog.transact(lambda tx: tx.put("small", 1))


def clean_now(catalog: Catalog, keep_slots: int = 0) -> int:
    return clean(catalog.history, keep_s=-1.0, keep_slots=keep_slots, untouched_s=-1.0).floor


def paths(storage: Storage, folder: str) -> list[str]:
    return sorted(info.path for info in storage.list(f"catalog/{folder}"))


def all_states(catalog: Catalog, first: int, last: int) -> list[dict[str, object]]:
    return [dict(catalog.snapshot(slot).scan()) for slot in range(first, last + 1)]


def test_every_64_slots_have_a_checkpoint_and_a_reader_begins_there(catalog: Catalog, storage: Storage) -> None:
    states = fill(catalog, 200)
    assert paths(storage, "checkpoints") == [checkpoint_path(slot) for slot in (63, 127, 191)]
    counted = FaultyStorage(storage)
    reader = Catalog(counted)
    assert dict(reader.snapshot().scan()) == states[-1]
    read = [call.path for call in counted.calls if call.path.startswith("catalog/log")]
    behind = [record_path(slot) for slot in range(201, 205)] if storage.capabilities.local_paths else []
    assert read == [record_path(slot) for slot in range(192, 201)] + behind
    assert not any(call.operation == "list" for call in counted.calls)


def test_every_state_is_there_whatever_it_is_built_from(catalog: Catalog, other: Catalog) -> None:
    states = fill(catalog, 150)
    for handle in (catalog, other):
        assert all_states(handle, 0, 149) == states
        assert [handle.snapshot(slot).get("k/07") for slot in range(150)] == [state.get("k/07") for state in states]


@pytest.mark.parametrize("lost", [["HINT"], ["checkpoints"], ["segments"], ["HINT", "checkpoints", "segments"]])
def test_lost_checkpoints_cost_time_and_nothing_else(catalog: Catalog, storage: Storage, lost: list[str]) -> None:
    states = fill(catalog, 150)
    for info in [*storage.list("catalog")]:
        if info.path.split("/")[1] in lost:
            storage.delete(info.path)
    reader = Catalog(storage)
    assert dict(reader.snapshot().scan()) == states[-1]
    assert dict(reader.snapshot(100).scan()) == states[100]
    more = fill(reader, 60, seed=1)
    assert dict(Catalog(storage).snapshot().scan()) == more[-1]


def test_without_a_hint_a_reader_gallops_to_the_newest_checkpoint(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path, fsync="never")
    states = fill(Catalog(storage), 64 * 11 + 3)
    storage.delete("catalog/HINT")
    counted = FaultyStorage(storage)
    assert dict(Catalog(counted).snapshot().scan()) == states[-1]
    assert len(counted.calls) < 30
    assert not any(call.operation == "list" for call in counted.calls)


def test_a_handle_that_fell_far_behind_jumps_to_a_checkpoint(catalog: Catalog, storage: Storage) -> None:
    counted = FaultyStorage(storage)
    behind = Catalog(counted)
    fill(catalog, 3)
    behind.refresh()
    states = fill(catalog, 64 * 12)
    before = len(counted.calls)
    assert dict(behind.snapshot().scan()) == states[-1]
    assert len(counted.calls) - before < 64 * 3


def test_checkpoints_of_the_same_history_are_the_same(tmp_path: Path) -> None:
    def made(again: bool) -> dict[str, bytes]:
        storage = MemoryStorage(f"same-{tmp_path.name}-{again}")
        for info in source.list("catalog/log"):
            storage.put_if_absent(info.path, source.get(info.path))
        for slot in (63, 127):
            Catalog(storage).history.checkpoint(slot)
        return {path: storage.get(path) for path in paths(storage, "checkpoints") + paths(storage, "segments")}

    source = MemoryStorage(f"same-{tmp_path.name}")
    fill(Catalog(source), 130)
    assert made(False) == made(True)


def test_a_transaction_that_began_before_a_checkpoint_still_conflicts_or_commits(
    catalog: Catalog, other: Catalog
) -> None:
    fill(catalog, 60)
    with catalog.transaction() as tx:
        tx.put("mine", tx.get("untouched", 0))
        fill(other, 80, seed=2)
    assert catalog.snapshot().get("mine") == 0
    other.refresh()
    with pytest.raises(Exception, match="changed meanwhile, by slot"), catalog.transaction() as tx:
        tx.put("mine", len([*tx.scan("k/")]))
        fill(other, 70, seed=3)


def test_deleted_keys_leave_the_checkpoints(tmp_path: Path) -> None:
    storage = MemoryStorage(f"deleted-{tmp_path.name}")
    catalog = Catalog(storage)
    for number in range(128):
        catalog.transact(lambda tx, n=number: tx.put(f"key/{n:03d}", n) if n < 64 else tx.delete(f"key/{n - 64:03d}"))
    assert list(Catalog(storage).snapshot().scan()) == []
    catalog.history.view()
    kept = [ref for run in catalog.history.view().base.runs for ref in run]  # type: ignore[attr-defined]
    assert kept == []


def test_a_large_checkpoint_is_read_in_small_pieces(tmp_path: Path) -> None:
    storage = MemoryStorage(f"large-{tmp_path.name}")
    catalog = Catalog(storage)

    def put_many(start: int) -> None:
        with catalog.transaction() as tx:
            for number in range(start, start + 1000):
                tx.put(f"many/{number:06d}", {"number": number, "text": "x" * 100})

    for start in range(0, 64_000, 1000):
        put_many(start)
    counted = FaultyStorage(storage)
    snapshot = Catalog(counted).snapshot()
    assert snapshot.get("many/031234") == {"number": 31234, "text": "x" * 100}
    assert snapshot.get("many/999999") is None
    assert [key for key, _ in snapshot.scan("many/0000")] == [f"many/{number:06d}" for number in range(100)]
    assert len(counted.calls) < 20
    assert sum(1 for _ in snapshot.scan("many/")) == 64_000


# -- long transactions -------------------------------------------------------------------------------


def test_a_long_body_rests_beside_the_log(catalog: Catalog, other: Catalog, storage: Storage) -> None:
    value = "x" * 100_000
    catalog.transact(lambda tx: tx.put("long", value))
    assert storage.size(record_path(0)) < 1000
    [body] = paths(storage, "bodies")
    assert other.snapshot().get("long") == value
    storage.delete(body)
    with pytest.raises(IntegrityError, match="is gone, and a record of the log needs it"):
        Catalog(storage).snapshot()


def test_the_body_of_an_attempt_that_lost_is_removed(catalog: Catalog, other: Catalog, storage: Storage) -> None:
    with catalog.transaction() as tx:
        tx.put("long", "x" * 100_000)
        other.transact(lambda t: t.put("long", "y" * 100_000))
    assert other.snapshot().get("long") == "x" * 100_000
    assert len(paths(storage, "bodies")) == 2


# -- cleaning ----------------------------------------------------------------------------------------


def test_cleaning_keeps_the_newest_state_and_what_was_asked_for(catalog: Catalog, storage: Storage) -> None:
    states = fill(catalog, 64 * 5 + 10)
    last = len(states) - 1
    assert clean_now(catalog, keep_slots=100) == 191
    for handle in (catalog, Catalog(storage)):
        assert all_states(handle, 191, last) == states[191:]
        with pytest.raises(NotFoundError, match="cleaned up to slot 191, which is the oldest that can be read"):
            handle.snapshot(190)
        with pytest.raises(NotFoundError, match="cleaned"):
            handle.snapshot(0.0)
        with pytest.raises(NotFoundError, match="cleaned"):
            list(handle.log(since=5))
        assert [commit.slot for commit in handle.log()] == list(range(192, last + 1))
    assert paths(storage, "log")[0] == record_path(192)
    assert paths(storage, "checkpoints")[0] == checkpoint_path(191)


def test_cleaning_keeps_a_week_by_default(catalog: Catalog, storage: Storage) -> None:
    fill(catalog, 300)
    assert catalog.clean(keep_slots=0).floor == -1
    assert len(paths(storage, "log")) == 300


def test_cleaning_again_and_again_leaves_few_files(catalog: Catalog, storage: Storage) -> None:
    for seed in range(6):
        states = fill(catalog, 100, seed=seed)
        catalog.transact(lambda tx: tx.put("long", "x" * 70_000))
        clean_now(catalog)
    assert dict(Catalog(storage).snapshot().scan()) == {**states[-1], "long": "x" * 70_000}
    assert len(list(storage.list("catalog"))) < 100
    assert len(paths(storage, "bodies")) <= 1


def test_a_handle_that_slept_through_a_cleaning_wakes_up_right(catalog: Catalog, other: Catalog) -> None:
    fill(catalog, 3)
    other.refresh()
    states = fill(catalog, 200)
    clean_now(catalog)
    assert dict(other.snapshot().scan()) == states[-1]


def test_a_slow_writer_cannot_win_a_slot_that_was_cleaned_away(catalog: Catalog, storage: Storage) -> None:
    sleeping = Catalog(storage)
    fill(catalog, 3)
    with sleeping.transaction() as tx:
        tx.put("late", 1)
        states = fill(catalog, 200)
        clean_now(catalog)
    assert dict(Catalog(storage).snapshot().scan()) == {**states[-1], "late": 1}
    assert paths(storage, "log")[0] == record_path(192)
    assert sum(change.id == tx.id for commit in catalog.log() for change in commit.transactions) == 1


def test_a_stale_hint_does_not_lead_below_the_floor(catalog: Catalog, storage: Storage) -> None:
    fill(catalog, 70)
    stale = storage.get("catalog/HINT")
    states = fill(catalog, 200)
    clean_now(catalog)
    storage.put("catalog/HINT", stale)
    reader = Catalog(storage)
    assert dict(reader.snapshot().scan()) == states[-1]
    reader.transact(lambda tx: tx.put("next", 1))
    assert reader.head == 270


def test_ids_are_forgotten_with_their_records(catalog: Catalog) -> None:
    catalog.transact(lambda tx: tx.put("n", 1), id="old")
    fill(catalog, 100)
    catalog.transact(lambda tx: tx.put("n", 2), id="new")
    clean_now(catalog, keep_slots=20)
    catalog._forget_ids(63)
    catalog.transact(lambda tx: tx.put("n", 3), id="new")
    assert catalog.snapshot().get("n") == 2
    catalog.transact(lambda tx: tx.put("n", 4), id="old")
    assert catalog.snapshot().get("n") == 4


def test_a_damaged_checkpoint_is_made_anew_before_the_log_below_it_is_cleaned(
    catalog: Catalog, storage: Storage
) -> None:
    states = fill(catalog, 130)
    for path in paths(storage, "segments"):
        data = bytearray(storage.get(path))
        data[5] ^= 1
        storage.put(path, bytes(data))
    assert clean_now(Catalog(storage)) == 127
    assert dict(Catalog(storage).snapshot().scan()) == states[-1]


def test_a_store_that_cannot_be_read_says_so(catalog: Catalog, storage: Storage) -> None:
    from mlflowish.testing.faults import Fault, On

    fill(catalog, 3)
    broken = Catalog(FaultyStorage(storage, On("get", Fault.FAIL_BEFORE, "catalog/log")))
    with pytest.raises(StorageError):
        broken.snapshot()


def test_a_snapshot_that_outlived_a_cleaning_says_so_and_does_not_speak_of_damage(
    catalog: Catalog, other: Catalog, storage: Storage
) -> None:
    fill(catalog, 70)
    snapshot = other.snapshot()  # stands upon a checkpoint, of which it has read nothing yet
    fill(catalog, 70)
    assert clean_now(catalog) == 127
    with pytest.raises(NotFoundError, match="cleaned up to slot 127"):
        dict(snapshot.scan())
    assert dict(other.snapshot().scan()) == dict(catalog.snapshot().scan())


def test_a_reader_that_never_commits_reads_on_after_a_cleaning(
    catalog: Catalog, other: Catalog, storage: Storage
) -> None:
    fill(catalog, 70)
    assert other.snapshot().slot == 69  # stands upon the checkpoint of slot 63
    for _ in range(3):
        states = fill(catalog, 70)
        other.snapshot()  # it has read every record, and none of the checkpoints
        clean_now(catalog)
        assert dict(other.snapshot().scan()) == states[-1]
        assert other.snapshot().get("k/never") is None


@pytest.mark.parametrize("asks", ["before", "after"])
def test_a_handle_whose_checkpoint_came_second_survives_a_cleaning(
    catalog: Catalog, other: Catalog, storage: Storage, asks: str
) -> None:
    """The checkpoint that was stored is built upon another one, of other files, and a cleaning keeps only those."""
    other.snapshot()  # stands on the empty state from here on
    fill_unevenly(catalog)
    with other.transaction() as tx:  # the last of its group: makes the checkpoint, of all keys
        tx.put("last", 1)
    expected = dict(Catalog(storage).snapshot().scan())
    assert catalog.checkpoint() == 127
    if asks == "before":
        assert dict(catalog.snapshot().scan()) == expected
    with catalog.transaction() as open_before:
        assert clean_now(other) == 127
        assert dict(open_before.scan()) == expected
    assert dict(catalog.snapshot().scan()) == expected
    assert not [path for path in paths(storage, "segments") if f"{127:020d}." not in path]


def test_a_handle_on_a_checkpoint_that_was_made_anew_reads_the_new_one(
    catalog: Catalog, other: Catalog, storage: Storage
) -> None:
    fill_unevenly(catalog)
    catalog.transact(lambda tx: tx.put("last", 1))
    expected = dict(catalog.snapshot().scan())
    reader = Catalog(storage)
    assert reader.snapshot().slot == 127  # and no file of the checkpoint was read
    lost = paths(storage, "segments")
    assert len(lost) == 2
    for path in [checkpoint_path(63), *lost]:
        storage.delete(path)
    assert clean_now(Catalog(storage)) == 127  # of one file now
    assert not set(paths(storage, "segments")) & set(lost)
    assert dict(reader.snapshot().scan()) == expected
