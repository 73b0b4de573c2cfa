"""Handles that know an old state while another machine commits and cleans: right answers, nothing lost, nobody stuck.

What another machine does in the middle of a call is done by a plan of `FaultyStorage`, just before a call of the handle
that "sleeps" there, as a process that was stopped does. A week passes by winding on the clocks that handles go by.
"""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from far_storage import FarStorage

from mlflowish.catalog import Catalog, Transaction, committing, floors, history
from mlflowish.catalog.checkpoints import checkpoint_path
from mlflowish.catalog.cleaning import clean
from mlflowish.catalog.floors import Floor, floor_path
from mlflowish.catalog.record import record_path
from mlflowish.errors import IntegrityError, NotFoundError, StorageError
from mlflowish.storage import LocalStorage, MemoryStorage, Storage
from mlflowish.testing.faults import Call, Fault, FaultyStorage, NoFaults

WEEK_S = 7 * 86_400.0


class Sleeps:
    """A plan: each time before a call of such a sort begins, the next of `meanwhile` happens, each once, in order."""

    def __init__(self, *meanwhile: tuple[str, str, Callable[[], object]]) -> None:
        self.left = list(meanwhile)

    def __call__(self, call: Call) -> Fault | None:
        if self.left and call.operation == self.left[0][0] and call.path.startswith(self.left[0][1]):
            self.left.pop(0)[2]()
        return None


class Sleeper:
    """A handle of a machine that can be put to sleep."""

    def __init__(self, storage: Storage) -> None:
        self._faulty = FaultyStorage(storage, NoFaults())
        self.catalog = Catalog(self._faulty)

    def sleeps(self, *meanwhile: tuple[str, str, Callable[[], object]]) -> Sleeps:
        self._faulty.plan = plan = Sleeps(*meanwhile)
        return plan


@pytest.fixture(params=[MemoryStorage, FarStorage], ids=["near", "far"])
def storage(request: pytest.FixtureRequest) -> Storage:
    return request.param(f"old-{uuid.uuid4().hex}")  # type: ignore[no-any-return]  # one of the two classes


@pytest.fixture
def a_week_passes(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Call it, and a week has passed by the clocks that say whether what was seen is still believed."""
    weeks, real = [0], floors.clocks

    def later() -> tuple[float, float]:
        boot_s, wall_s = real()
        return boot_s + weeks[0] * WEEK_S, wall_s + weeks[0] * WEEK_S

    for module in (floors, history, committing):
        monkeypatch.setattr(module, "clocks", later)
    return lambda: weeks.__setitem__(0, weeks[0] + 1)


def fill(catalog: Catalog, count: int) -> None:
    """That many commits: the value of a key is the slot of its last write."""
    for _ in range(count):
        catalog.transact(lambda tx: tx.put(f"k/{(tx.slot + 1) % 40:02d}", tx.slot + 1))


def fill_unevenly(catalog: Catalog) -> None:
    """128 commits, the first 64 so large that their checkpoint is not merged into the next."""
    for number in range(64):
        catalog.transact(lambda tx, number=number: tx.put(f"large/{number}", "x" * 200))  # type: ignore[misc]  # a lambda with a default
    fill(catalog, 64)


def clean_now(catalog: Catalog, keep_slots: int = 0) -> int:
    return clean(catalog.history, keep_s=-1.0, keep_slots=keep_slots, untouched_s=-1.0).floor


def state(catalog: Catalog) -> dict[str, object]:
    return dict(catalog.snapshot().scan())


def increment(catalog: Catalog, given_id: str | None = None) -> str:
    """One more, by a block that notices nothing that others do to other keys. The id of the transaction."""
    with catalog.transaction(id=given_id) as tx:
        tx.put("mine", tx.get("mine", 0) + 1)
    return tx.id


# -- readers -----------------------------------------------------------------------------------------


def test_the_newest_state_is_read_though_the_checkpoint_below_it_was_cleaned_away(storage: Storage) -> None:
    writer, reader = Catalog(storage), Catalog(storage)
    writer.transact(lambda tx: tx.put("old", 1))
    fill(writer, 69)
    reader.snapshot()  # stands upon the checkpoint of slot 63, and has read nothing of it
    fill(writer, 70)
    with reader.transaction() as open_before:
        assert clean_now(writer) == 127
        assert reader.known().get("old") == 1
        assert open_before.get("old") == 1
        open_before.put("old", 2)
    assert reader.snapshot().get("never") is None
    assert state(reader) == state(writer) == state(Catalog(storage))


def test_what_a_held_state_still_tells_after_a_cleaning_is_right_and_the_rest_is_refused(storage: Storage) -> None:
    writer, reader = Catalog(storage), Catalog(storage)
    writer.transact(lambda tx: [tx.put(f"a/{name}", 0) for name in ("same", "changed", "deleted")])
    fill(writer, 69)
    held, seen = reader.snapshot(), reader.history.view()
    fill(writer, 10)
    writer.transact(lambda tx: [tx.put("a/changed", 1), tx.delete("a/deleted"), tx.put("a/new", 1)])
    fill(writer, 70)
    reader.snapshot()
    assert clean_now(writer) == 127
    assert held.view is seen
    assert held.get("a/same") == 0
    assert held.get("k/69") is None
    for key in ("a/changed", "a/deleted", "a/new"):
        with pytest.raises(NotFoundError, match="cleaned up to slot 127"):
            held.get(key)
    with pytest.raises(NotFoundError, match="cleaned up to slot 127"):
        list(held.scan("a/"))
    assert list(held.scan("a/same")) == [("a/same", 0)]


def test_a_reader_that_opens_while_the_log_is_being_cleaned_sees_the_newest_state(storage: Storage) -> None:
    writer = Catalog(storage)
    fill(writer, 70)
    stale = storage.get("catalog/HINT")
    fill(writer, 130)
    storage.put("catalog/HINT", stale)
    reader = Sleeper(storage)
    reader.sleeps(("get", record_path(66), lambda: clean_now(writer)))
    assert reader.catalog.snapshot().slot == 199
    assert state(reader.catalog) == state(writer)


def test_a_reader_that_opens_between_two_cleanings_speaks_of_no_damage(storage: Storage) -> None:
    writer = Catalog(storage)
    fill(writer, 130)
    clean_now(writer)
    storage.delete("catalog/HINT")

    def clean_again() -> None:
        fill(writer, 70)
        clean_now(writer)

    reader = Sleeper(storage)
    reader.sleeps(("get", checkpoint_path(127), clean_again))
    assert state(reader.catalog) == state(writer)


@pytest.mark.parametrize(
    ("slot", "asleep_at", "keep", "floor"), [(220, 193, 64, 191), (220, 193, 0, 255), (150, 130, 64, 191)]
)
def test_an_earlier_state_is_right_or_said_to_be_cleaned_when_a_cleaning_comes_between(
    storage: Storage, slot: int, asleep_at: int, keep: int, floor: int
) -> None:
    writer = Catalog(storage)
    fill(writer, 300)
    expected = dict(writer.snapshot(slot).scan())
    reader = Sleeper(storage)
    reader.catalog.snapshot()  # stands on the checkpoint of slot 255

    def clean_meanwhile() -> None:
        assert clean_now(writer, keep) == floor

    plan = reader.sleeps(("get", record_path(asleep_at), clean_meanwhile))
    if slot >= floor:
        assert dict(reader.catalog.snapshot(slot).scan()) == expected
    else:
        with pytest.raises(NotFoundError, match=f"cleaned up to slot {floor}"):
            reader.catalog.snapshot(slot)
    assert not plan.left


def test_a_time_is_found_when_a_cleaning_comes_between(storage: Storage) -> None:
    writer = Catalog(storage)
    fill(writer, 400)
    wanted = writer.snapshot(380)
    reader = Sleeper(storage)
    plan = reader.sleeps(("get", record_path(199), lambda: clean_now(writer, 60)))  # where halving begins
    found = reader.catalog.snapshot(at=wanted.time_s)
    assert not plan.left
    assert (found.slot, dict(found.scan())) == (380, dict(wanted.scan()))


def test_the_commits_that_are_kept_are_listed_while_some_are_cleaned(storage: Storage) -> None:
    writer = Catalog(storage)
    fill(writer, 200)
    reader = Sleeper(storage)
    reader.catalog.snapshot()
    reader.sleeps(("get", record_path(0), lambda: clean_now(writer)))
    assert [commit.slot for commit in reader.catalog.log()] == list(range(192, 200))
    with pytest.raises(NotFoundError, match="cleaned up to slot 191"):
        list(reader.catalog.log(since=5))


def test_a_log_of_which_all_that_was_known_is_cleaned_tells_what_came_since(storage: Storage) -> None:
    writer, reader = Catalog(storage), Catalog(storage)
    fill(writer, 100)

    def commit_and_clean() -> None:
        fill(writer, 100)
        clean_now(writer)

    log, bounded = reader.log(), reader.log(until=99)
    commit_and_clean()
    assert [commit.slot for commit in log] == list(range(192, 200))
    assert list(bounded) == []


def test_a_look_for_news_that_failed_is_not_taken_for_one(storage: Storage) -> None:
    """Two threads wait while a third one looks; then one of them fails, and the other must look itself."""
    writer = Catalog(storage)
    fill(writer, 3)
    heads: list[int] = []

    def look() -> None:
        with contextlib.suppress(StorageError):
            heads.append(reader.refresh())

    threads = [threading.Thread(target=look) for _ in range(2)]

    class Plan:
        is_armed, looks = False, 0

        def __call__(self, call: Call) -> Fault | None:
            if not self.is_armed or call.path not in (record_path(3), floor_path(0)):
                return None
            self.looks += 1
            if self.looks == 2:  # the first has seen that slot 3 is empty, and asks for a floor
                fill(writer, 1)
                for thread in threads:
                    thread.start()
                time.sleep(0.3)  # both have called, and wait
            return Fault.FAIL_BEFORE if self.looks == 3 else None

    plan = Plan()
    reader = Catalog(FaultyStorage(storage, plan))
    reader.snapshot()
    reader.history._seen, plan.is_armed = None, True
    assert reader.refresh() == 2
    for thread in threads:
        thread.join()
    assert heads == [3]


# -- writers -----------------------------------------------------------------------------------------


def test_a_function_whose_state_is_cleaned_away_is_called_again(storage: Storage) -> None:
    writer, sleeper = Catalog(storage), Catalog(storage)
    writer.transact(lambda tx: tx.put("mine", 5))
    fill(writer, 63)
    sleeper.snapshot()  # stands on the checkpoint of slot 63, and has read nothing of it
    states = []

    def increment_late(tx: Transaction) -> None:
        states.append(tx.slot)
        if len(states) == 1:
            writer.transact(lambda other: other.put("mine", 6))
            fill(writer, 70)
            clean_now(writer)
        tx.put("mine", tx.get("mine") + 1)

    sleeper.transact(increment_late)
    assert states == [63, 134]
    assert Catalog(storage).snapshot().get("mine") == 7


def test_what_stands_in_for_a_damaged_checkpoint_may_be_cleaned_away_as_well(storage: Storage) -> None:
    writer, sleeper = Catalog(storage), Sleeper(storage)
    fill_unevenly(writer)
    sleeper.catalog.snapshot()
    for info in list(storage.list("catalog/segments")):
        storage.delete(info.path)

    def commit_and_clean() -> None:
        fill(writer, 70)
        writer.clean(keep_s=-1.0, keep_slots=0)

    plan = sleeper.sleeps(
        ("get", "catalog/segments", lambda: None),
        ("get", record_path(64), lambda: None),  # instead of the checkpoint of slot 127: that of 63, and the log
        ("get", "catalog/segments", commit_and_clean),
    )
    sleeper.catalog.transact(lambda tx: tx.put("mine", tx.get("mine", 0) + 1))
    assert not plan.left
    assert state(Catalog(storage)) == {**state(writer), "mine": 1}


def test_an_id_whose_state_is_cleaned_away_is_looked_for_again(storage: Storage) -> None:
    writer, sleeper = Catalog(storage), Sleeper(storage)
    fill(writer, 64)
    sleeper.catalog.snapshot()

    def commit_and_clean() -> None:
        increment(writer, "once")
        fill(writer, 70)
        clean_now(writer)

    plan = sleeper.sleeps(("get", "catalog/segments", commit_and_clean))
    sleeper.catalog.transact(lambda tx: tx.put("mine", 2), id="once")
    assert not plan.left
    assert writer.snapshot().get("mine") == 1


def test_a_block_whose_state_is_cleaned_away_while_it_commits_follows_what_is_there_now(storage: Storage) -> None:
    writer, sleeper = Catalog(storage), Sleeper(storage)
    fill(writer, 64)
    sleeper.catalog.snapshot()  # stands on the checkpoint of slot 63, and has read nothing of it

    def commit_and_clean() -> None:
        fill(writer, 70)
        clean_now(writer)

    with sleeper.catalog.transaction() as tx:
        tx.put("mine", 1)
        plan = sleeper.sleeps(("get", "catalog/segments", commit_and_clean))
    assert not plan.left
    assert Catalog(storage).history.advance().head == 134
    assert state(Catalog(storage)) == state(writer) == state(sleeper.catalog)
    assert writer.known().get("mine") == 1


def test_a_commit_into_a_slot_that_was_cleaned_away_is_taken_back_whatever_was_asked_meanwhile(
    storage: Storage, a_week_passes: Callable[[], None]
) -> None:
    """That the floors were looked at a moment ago says nothing, if the log was read a week ago."""
    writer, sleeper = Catalog(storage), Sleeper(storage)
    fill(writer, 70)
    sleeper.catalog.snapshot()

    def sleep() -> None:
        fill(writer, 200)
        a_week_passes()
        sleeper.catalog.history.floors.look(even_if_fresh=True)
        clean_now(writer)

    plan = sleeper.sleeps(("put_if_absent", "catalog/log", sleep))
    try:
        increment(sleeper.catalog)
    except StorageError as error:  # the client of a bucket may have sent it twice, and the first have been cleaned away
        assert type(storage) is FarStorage
        assert "nobody can tell" in error.message  # noqa: PT017  it need not be raised
        increment(sleeper.catalog)
    assert not plan.left
    assert Catalog(storage).snapshot().get("mine") == 1


def test_a_block_that_was_open_for_a_week_puts_nothing_into_a_cleaned_slot(
    storage: Storage, a_week_passes: Callable[[], None]
) -> None:
    writer, counted = Catalog(storage), FaultyStorage(storage)
    fill(writer, 70)
    with Catalog(counted).transaction() as tx:
        tx.put("mine", 1)
        fill(writer, 200)
        a_week_passes()
        clean_now(writer)
    puts = [call.path for call in counted.calls if call.operation == "put_if_absent" and "/log/" in call.path]
    assert puts == [record_path(270)]
    assert Catalog(storage).snapshot().get("mine") == 1


@pytest.mark.parametrize("is_stray", [False, True], ids=["it belongs to the log", "it does not"])
def test_a_writer_that_slept_beyond_a_cleaning_does_not_guess(
    storage: Storage, a_week_passes: Callable[[], None], is_stray: bool
) -> None:
    """Its record is not there any more, and neither is that of the slot after."""
    writer, sleeper = Catalog(storage), Sleeper(storage)
    fill(writer, 70)
    sleeper.catalog.snapshot()

    def others_go_on() -> None:
        fill(writer, 200)
        a_week_passes()
        clean_now(writer)

    meanwhile = others_go_on if is_stray else a_week_passes
    sleeper.sleeps(("put_if_absent", record_path(70), meanwhile), ("get", "catalog/floors", others_go_on))
    with pytest.raises(StorageError, match="nobody can tell") as caught:
        increment(sleeper.catalog)
    assert caught.value.outcome == "unknown"
    assert Catalog(storage).snapshot().get("mine") == (None if is_stray else 1)
    with pytest.raises(NotFoundError, match="cannot be told any more whether the transaction"):
        increment(sleeper.catalog, caught.value.id)


class Killed(BaseException):
    """What comes after it does not happen."""


def strand(storage: Storage, slot: int, others: Callable[[Catalog], object]) -> str:
    """A record in a slot that was cleaned away: its writer was killed before it could take it back. The id in it."""
    writer, sleeper = Catalog(storage), Sleeper(storage)
    fill(writer, slot)
    sleeper.catalog.snapshot()

    def die() -> None:
        raise Killed

    sleeper.sleeps(("put_if_absent", record_path(slot), lambda: others(writer)), ("get", "catalog/floors", die))
    sleeper.catalog.history._seen = None
    ids = []
    with pytest.raises(Killed), sleeper.catalog.transaction() as tx:
        ids.append(tx.id)
        tx.put("stray", 1)
    assert storage.get(record_path(slot))
    return ids[0]


@pytest.mark.parametrize("slot", [70, 127, 130])
def test_a_record_in_a_cleaned_slot_is_no_history(
    storage: Storage, a_week_passes: Callable[[], None], slot: int
) -> None:
    reader, behind = Catalog(storage), Catalog(storage)

    def others(writer: Catalog) -> None:
        for handle in (reader, behind):
            assert handle.snapshot().slot == slot - 1
        fill(writer, 254 - slot if slot != 127 else 100)
        a_week_passes()
        clean_now(writer, 0)

    id_ = strand(storage, slot, others)
    truth = state(Catalog(storage))
    assert "stray" not in truth
    assert state(reader) == truth
    with pytest.raises(NotFoundError, match="cleaned up to slot"):
        list(behind.log(since=slot - 1, until=slot))
    with pytest.raises(NotFoundError, match="cannot be told any more"):
        behind.transact(lambda tx: tx.put("stray", 2), id=id_)
    fill(behind, 1)
    assert dict(reader.snapshot().scan("stray")) == {}


def test_an_id_that_was_given_anew_is_not_forgotten(storage: Storage) -> None:
    writer, sleeper = Catalog(storage), Sleeper(storage)
    increment(writer, "once")
    fill(writer, 130)

    def forget_and_give_anew() -> None:
        writer.clean(keep_s=-1.0, keep_slots=0)
        increment(writer, "once")

    plan = sleeper.sleeps(("put", "catalog/HINT", lambda: None), ("put_if_absent", "catalog/log", forget_and_give_anew))
    sleeper.catalog.clean(keep_s=-1.0, keep_slots=0)
    assert not plan.left
    assert writer.snapshot().get("mine") == 2
    increment(writer, "once")
    assert writer.snapshot().get("mine") == 2


class Late(FarStorage):
    """A bucket at which the first record of the log arrives when the second one is sent, and not before."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.on_their_way: list[tuple[str, bytes]] = []
        self.is_slow = False

    def put_if_absent(self, path: str, data: bytes) -> bool:  # type: ignore[override]  # bytes only: what the catalog puts
        if self.is_slow and path.startswith("catalog/log"):
            if not self.on_their_way:
                self.on_their_way.append((path, bytes(data)))
                raise KeyboardInterrupt
            for each in self.on_their_way:
                super().put_if_absent(*each)
        return super().put_if_absent(path, data)


def test_what_an_interrupted_leader_had_sent_is_not_committed_again_when_it_arrives() -> None:
    storage = Late(f"late-{uuid.uuid4().hex}")
    catalog = Catalog(storage)
    fill(catalog, 3)
    storage.is_slow = True
    waiting = committing.Waiting(catalog._begin(None, ""))
    waiting.transaction.put("mine", 1)
    committer = catalog._committer
    with pytest.raises(KeyboardInterrupt):
        committer._commit_together([waiting])
    assert not waiting.is_done
    while not waiting.is_done:
        committer._commit_together([waiting])
    assert waiting.error is None
    ids = [change.id for commit in Catalog(storage).log() for change in commit.transactions]
    assert ids.count(waiting.transaction.id) == 1


@pytest.mark.parametrize("goes_on", [False, True], ids=["and nothing since", "and written on"])
def test_nothing_is_committed_behind_a_record_that_is_gone(
    storage: Storage, a_week_passes: Callable[[], None], goes_on: bool
) -> None:
    """A store was restored from a backup, under a process that has read what is not in that."""
    catalog = Catalog(storage)
    fill(catalog, 10)
    for slot in range(6, 10):
        storage.delete(record_path(slot))
    if goes_on:
        fill(Catalog(storage), 4)
    a_week_passes()
    before = state(Catalog(storage))
    with pytest.raises(IntegrityError, match=f"{record_path(9)} in .* is (not there any more|another one now)"):
        increment(catalog)
    assert state(Catalog(storage)) == before
    increment(Catalog(storage))


# -- cleanings that meet ------------------------------------------------------------------------------


def test_a_cleaning_that_was_overtaken_lowers_no_floor(storage: Storage) -> None:
    writer, sleeper = Catalog(storage), Sleeper(storage)
    fill(writer, 130)

    def clean_further() -> None:
        fill(writer, 70)
        clean_now(writer)

    plan = sleeper.sleeps(("get", "catalog/segments", clean_further))
    assert clean_now(sleeper.catalog) == 191
    assert not plan.left
    assert Catalog(storage).history.floors.look() == Floor(0, 191)
    assert state(Catalog(storage)) == state(writer)


def test_a_cleaning_that_was_overtaken_forgets_the_old_ids_and_no_others(storage: Storage) -> None:
    writer, sleeper = Catalog(storage), Sleeper(storage)
    increment(writer, "old")
    fill(writer, 63)
    clean_now(writer)
    sleeper.catalog.snapshot()  # stands on the checkpoint of slot 63, and has read nothing of it

    def commit_and_clean_further() -> None:
        increment(writer, "young")
        fill(writer, 70)
        clean_now(writer)

    plan = sleeper.sleeps(("get", "catalog/segments", commit_and_clean_further))
    sleeper.catalog.clean(keep_s=-1.0, keep_slots=0)
    assert not plan.left
    for given_id, count in (("young", 2), ("old", 3)):
        increment(writer, given_id)
        assert writer.snapshot().get("mine") == count


def test_a_cleaning_that_was_overtaken_removes_no_checkpoint(storage: Storage) -> None:
    writer, sleeper = Catalog(storage), Sleeper(storage)
    fill(writer, 130)
    storage.delete(checkpoint_path(127))
    expected = state(writer)
    sleeper.sleeps(
        ("get", checkpoint_path(127), lambda: None),
        ("delete", checkpoint_path(127), lambda: clean_now(Catalog(storage))),
    )
    clean_now(sleeper.catalog)
    assert state(Catalog(storage)) == expected


def test_a_cleaning_that_was_overtaken_leaves_the_files_of_a_later_floor(storage: Storage) -> None:
    """It has removed records up to its own floor; meanwhile others have gone on, and have cleaned further."""
    writer, sleeper = Catalog(storage), Sleeper(storage)
    fill_unevenly(writer)
    expected: list[dict[str, object]] = []

    def clean_further() -> None:
        fill(writer, 70)
        clean_now(writer)
        expected.append(state(writer))

    plan = sleeper.sleeps(("delete", record_path(100), clean_further))
    clean_now(sleeper.catalog)
    assert not plan.left
    assert state(Catalog(storage)) == expected[0]


@pytest.mark.parametrize("sleeps_long", [False, True], ids=["shortly", "for a week"])
def test_no_floor_stands_on_a_file_that_an_earlier_cleaning_is_about_to_remove(
    a_week_passes: Callable[[], None], sleeps_long: bool
) -> None:
    """One machine makes a checkpoint of a file that another one, which sleeps, has found to be needed by nobody."""
    storage = FarStorage(f"old-{uuid.uuid4().hex}")
    maker, writer, sleeper = Catalog(storage), Catalog(storage), Sleeper(storage)

    def put_many(tx: Transaction) -> None:
        for number in range(64):
            tx.put(f"{tx.slot}/{number}", "x" * 200)

    writer.transact(put_many)
    fill(writer, 63)
    maker.snapshot()  # stands on the checkpoint of slot 63, of one file
    writer.transact(put_many)  # so much that the next checkpoint is of one file again, another one
    fill(writer, 65)
    assert maker.snapshot().slot == 129
    floors_then = []

    def go_on() -> None:
        maker.transact(lambda tx: [tx.delete(f"63/{number}") for number in range(64)])
        fill(maker, 62)
        if sleeps_long:
            a_week_passes()
        floors_then.append(
            clean(writer.history, keep_s=-1.0, keep_slots=0, untouched_s=-1.0 if sleeps_long else 3600.0)
        )

    plan = sleeper.sleeps(("delete", "catalog/checkpoints", go_on))
    clean_now(sleeper.catalog)
    assert not plan.left
    assert [each.floor for each in floors_then] == [191 if sleeps_long else 127]
    assert state(Catalog(storage)) == state(writer)
    fill(writer, 64)
    assert clean_now(writer) == 255
    assert state(Catalog(storage)) == state(writer)


def test_a_machine_whose_clock_is_behind_cleans_what_it_may_and_does_not_fail(storage: Storage) -> None:
    catalog = Catalog(storage)
    fill(catalog, 70)
    assert clean_now(catalog) == 63
    fill(catalog, 70)
    assert catalog.clean(keep_s=5 * 3600.0, keep_slots=0).floor == 63
    assert clean_now(catalog) == 127


def test_a_machine_whose_clock_is_ahead_removes_no_record_that_was_just_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How old a file is, is a matter of the clock that dates it."""
    storage = LocalStorage(tmp_path, fsync="never")
    catalog = Catalog(storage)
    fill(catalog, 70)
    now = time.time
    monkeypatch.setattr("mlflowish.catalog.cleaning.time.time", lambda: now() + 5 * 3600.0)
    assert catalog.clean(keep_s=0.0, keep_slots=0).floor == 63
    assert len(list(storage.list("catalog/log"))) == 70
