"""What a caller of the catalog relies on, one promise at a time."""

from __future__ import annotations

import datetime
import os
import pickle
import random
import threading
import time

import pytest
from processes_heard import end_fork

from mlflowish.catalog import Catalog, Transaction
from mlflowish.errors import ConflictError, InvalidInputError, NotFoundError, StateError
from mlflowish.storage import Storage


def put(catalog: Catalog, **values: object) -> int:
    catalog.transact(lambda tx: [tx.put(key, value) for key, value in values.items()] and None)
    return catalog.head


def add_one(tx: Transaction) -> int:
    value = tx.get("n", 0) + 1
    tx.put("n", value)
    return value


def test_an_empty_catalog_is_empty_and_nothing_is_written_by_looking(catalog: Catalog, storage: Storage) -> None:
    snapshot = catalog.snapshot()
    assert (catalog.head, snapshot.slot, snapshot.get("a"), list(snapshot.scan()), "a" in snapshot) == (
        -1, -1, None, [], False,
    )  # fmt: skip
    assert list(catalog.log()) == []
    assert list(storage.list("")) == []


def test_what_was_committed_is_there_for_every_handle(catalog: Catalog, other: Catalog) -> None:
    assert catalog.transact(lambda tx: tx.put("a/b", {"x": [1, 2.5, None, True, "ä"]}) or "result") == "result"
    for handle in (catalog, other):
        snapshot = handle.snapshot()
        assert snapshot.get("a/b") == {"x": [1, 2.5, None, True, "ä"]}
        assert snapshot.slot == handle.head == 0


def test_a_value_that_was_read_can_be_changed_without_changing_the_catalog(catalog: Catalog) -> None:
    put(catalog, a=[1])
    catalog.snapshot().get("a").append(2)
    with catalog.transaction() as tx:
        tx.get("a").append(3)
        mine = {"x": 1}
        tx.put("b", mine)
        mine["x"] = 2
        tx.get("b")["x"] = 3
    assert dict(catalog.snapshot().scan()) == {"a": [1], "b": {"x": 1}}


def test_a_transaction_sees_its_own_writes(catalog: Catalog) -> None:
    put(catalog, **{"p/1": 1, "p/2": 2, "q": 9})
    with catalog.transaction() as tx:
        tx.put("p/3", 3)
        tx.put("p/0", 0)
        tx.delete("p/1")
        assert (tx.get("p/3"), tx.get("p/1"), "p/1" in tx, "p/2" in tx) == (3, None, False, True)
        assert list(tx.scan("p/")) == [("p/0", 0), ("p/2", 2), ("p/3", 3)]
    assert list(catalog.snapshot().scan("p/")) == [("p/0", 0), ("p/2", 2), ("p/3", 3)]


def test_a_scan_is_in_key_order_and_takes_any_beginning_of_a_key(catalog: Catalog) -> None:
    put(catalog, **{"b/ä": 1, "b/z": 2, "b": 3, "bb": 4, "a": 5, "b/\U0001f600": 6})
    assert [key for key, _ in catalog.snapshot().scan("b")] == ["b", "b/z", "b/ä", "b/\U0001f600", "bb"]
    assert [key for key, _ in catalog.snapshot().scan("b/")] == ["b/z", "b/ä", "b/\U0001f600"]


def test_nothing_is_committed_when_the_block_raises(catalog: Catalog) -> None:
    called = []
    with pytest.raises(ZeroDivisionError), catalog.transaction() as tx:
        tx.put("a", 1)
        tx.on_commit(lambda: called.append("hook"))
        1 / 0
    assert (catalog.head, catalog.snapshot().get("a"), called) == (-1, None, [])


def test_disjoint_writers_both_commit(catalog: Catalog, other: Catalog) -> None:
    put(catalog, a=1, b=1)
    with catalog.transaction() as mine:
        mine.put("a", mine.get("a") + 1)
        with other.transaction() as theirs:
            theirs.put("b", theirs.get("b") + 1)
    assert dict(catalog.snapshot().scan()) == {"a": 2, "b": 2}
    assert catalog.head == 2


def test_a_read_that_changed_is_a_conflict_that_names_the_key_and_the_winner(catalog: Catalog, other: Catalog) -> None:
    put(catalog, a=1)
    with pytest.raises(ConflictError, match=r"a changed meanwhile, by slot 1 of .* \(theirs\)") as caught:  # noqa: SIM117
        with catalog.transaction() as mine:
            mine.put("b", mine.get("a"))
            other.transact(lambda tx: tx.put("a", 2), comment="theirs")
    assert (caught.value.keys, caught.value.base, caught.value.head) == (["a"], 0, 1)
    assert catalog.snapshot().get("b") is None


def test_a_key_that_appears_in_a_scanned_prefix_is_a_conflict(catalog: Catalog, other: Catalog) -> None:
    with pytest.raises(ConflictError) as caught, catalog.transaction() as mine:
        mine.put("count", len(list(mine.scan("p/"))))
        other.transact(lambda tx: tx.put("p/1", 1))
    assert caught.value.keys == ["p/"]


def test_write_skew_is_impossible(catalog: Catalog, other: Catalog) -> None:
    put(catalog, x=1, y=1)
    with pytest.raises(ConflictError), catalog.transaction() as mine:
        mine.put("x", -mine.get("y"))
        with other.transaction() as theirs:
            theirs.put("y", -theirs.get("x"))
    assert dict(catalog.snapshot().scan()) == {"x": 1, "y": -1}


def test_a_read_only_transaction_that_saw_an_old_state_is_a_conflict(catalog: Catalog, other: Catalog) -> None:
    put(catalog, a=1)
    with pytest.raises(ConflictError), catalog.transaction() as mine:
        mine.get("a")
        put(other, a=2)


def test_the_function_runs_again_after_a_conflict(catalog: Catalog, other: Catalog) -> None:
    seen, state = [], random.getstate()

    def function(tx: Transaction) -> int:
        seen.append(tx.get("n", 0))
        if len(seen) == 1:
            other.transact(add_one)
        return add_one(tx)

    assert catalog.transact(function) == 2
    assert (seen, catalog.snapshot().get("n")) == ([0, 1], 2)
    assert random.getstate() == state  # how long it waits in between is not drawn from the program's numbers


def test_a_conflict_that_the_function_itself_raises_is_the_callers(catalog: Catalog) -> None:
    calls = []

    def function(tx: Transaction) -> None:
        calls.append(1)
        raise ConflictError("mine")

    with pytest.raises(ConflictError, match="mine"):
        catalog.transact(function)
    assert calls == [1]


def test_hooks_run_after_the_commit_and_their_errors_are_logged(
    catalog: Catalog, caplog: pytest.LogCaptureFixture
) -> None:
    seen = []

    def function(tx: Transaction) -> None:
        tx.put("a", 1)
        tx.on_commit(lambda: seen.append(catalog.snapshot().get("a")))
        tx.on_commit(lambda: 1 / 0)
        tx.on_commit(lambda: seen.append("last"))

    catalog.transact(function)
    assert seen == [1, "last"]
    assert "the commit stands" in caplog.text


def test_an_id_is_applied_once_and_its_result_is_remembered(catalog: Catalog, other: Catalog) -> None:
    assert catalog.transact(add_one, id="order 1") == 1
    assert other.transact(add_one, id="order 1") == 1
    with other.transaction(id="order 1") as tx:
        tx.put("n", 99)
    assert catalog.transact(add_one, id="order 2") == 2
    assert catalog.snapshot().get("n") == 2
    assert [change.id for commit in catalog.log() for change in commit.transactions] == ["order 1", "order 2"]


def test_a_generated_id_is_found_in_the_log(catalog: Catalog, other: Catalog) -> None:
    with catalog.transaction() as tx:
        tx.put("n", 1)
    other.transact(add_one, id=tx.id)
    assert catalog.snapshot().get("n") == 1


def test_earlier_states_are_there_by_slot_and_by_time(catalog: Catalog, other: Catalog) -> None:
    times = [time.time() - 1]
    for value in range(5):
        put(catalog, n=value)
        times.append(catalog.snapshot().time_s)
        time.sleep(0.002)
    for handle in (catalog, other):
        assert [handle.snapshot(slot).get("n") for slot in range(-1, 5)] == [None, 0, 1, 2, 3, 4]
        assert [handle.snapshot(time_s).get("n") for time_s in times] == [None, 0, 1, 2, 3, 4]
        moment = datetime.datetime.fromtimestamp(times[2] + 0.001, datetime.UTC)
        assert handle.snapshot(moment).slot == 1
        assert handle.snapshot(4).time_s == times[5]
    with pytest.raises(NotFoundError, match="no slot 5 yet: the newest is 4"):
        catalog.snapshot(5)


@pytest.mark.parametrize("at", [True, "now", -2, [1], float("nan"), datetime.datetime.min], ids=repr)
def test_a_moment_that_is_none_is_refused(catalog: Catalog, at: object) -> None:
    with pytest.raises(InvalidInputError):
        catalog.snapshot(at)  # type: ignore[arg-type]


def test_a_snapshot_never_changes(catalog: Catalog) -> None:
    put(catalog, a=1, b=1)
    snapshot = catalog.snapshot()
    catalog.transact(lambda tx: (tx.put("a", 2), tx.delete("b"), tx.put("c", 3))[0])
    assert dict(snapshot.scan()) == {"a": 1, "b": 1}
    assert ("b" in snapshot, "c" in snapshot) == (True, False)


def test_the_log_tells_what_happened_in_order(catalog: Catalog, other: Catalog) -> None:
    put(catalog, a=1)
    other.transact(lambda tx: (tx.put("b", tx.get("a")), tx.delete("a"))[0], comment="moved")
    first, second = catalog.log()
    assert ([first.slot, second.slot], first.time_s <= second.time_s) == ([0, 1], True)
    assert (first.writer, second.writer) == (catalog.writer, other.writer)
    [change] = second.transactions
    assert (change.puts, change.deletes, change.comment, change.reads) == ({"b": 1}, ("a",), "moved", {"a": 0})
    assert [commit.slot for commit in catalog.log(since=0)] == [1]
    assert [commit.slot for commit in catalog.log(until=0)] == [0]


def test_the_time_of_a_commit_is_the_one_that_is_stored(catalog: Catalog, other: Catalog) -> None:
    with catalog.transaction() as tx:
        tx.put("mine", {"at": [tx.now_s]})
        time.sleep(0.002)
        other.transact(lambda t: t.put("theirs", t.now_s))
    snapshot = catalog.snapshot()
    assert snapshot.get("theirs") <= snapshot.get("mine")["at"][0] == snapshot.time_s
    assert type(snapshot.get("theirs")) is float
    assert tx.committed_s == snapshot.time_s


def test_the_time_of_the_commit_can_be_read_and_put_again_before_it_is_known(catalog: Catalog) -> None:
    with catalog.transaction() as tx:
        tx.put("at", {"b": tx.now_s, "a": 1})
        seen = tx.get("at")
        assert list(seen) == ["a", "b"]
        assert seen["b"] == dict(tx.scan())["at"]["b"] == tx.now_s
        tx.put("again", seen)
        assert tx.committed_s is None
    snapshot = catalog.snapshot()
    assert snapshot.get("again") == snapshot.get("at") == {"a": 1, "b": snapshot.time_s}


def test_time_never_falls_from_slot_to_slot(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    put(catalog, a=1)
    later = catalog.snapshot().time_s
    monkeypatch.setattr("time.time", lambda: later - 3600)
    catalog.transact(lambda tx: tx.put("a", tx.now_s))
    assert catalog.snapshot().get("a") == later


def test_threads_commit_together(catalog: Catalog) -> None:
    def work(name: int) -> None:
        for _ in range(10):
            catalog.transact(lambda tx: tx.put(f"own/{name}", tx.get(f"own/{name}", 0) + 1))
            catalog.transact(add_one)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert catalog.snapshot().get("n") == 80
    assert [value for _, value in catalog.snapshot().scan("own/")] == [10] * 8
    assert sum(len(commit.transactions) for commit in catalog.log()) == 160


def test_an_ended_transaction_cannot_be_used(catalog: Catalog) -> None:
    with catalog.transaction() as tx:
        tx.put("a", 1)
    for use in (lambda: tx.get("a"), lambda: tx.put("a", 2), lambda: tx.delete("a"), lambda: tx.scan("a")):
        with pytest.raises(StateError, match="has ended"):
            use()


def test_a_handle_travels_by_pickle(catalog: Catalog) -> None:
    put(catalog, a=1)
    assert pickle.loads(pickle.dumps(catalog)).snapshot().get("a") == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_commits_while_a_thread_of_its_parent_does(tmp_path, storage: Storage) -> None:
    from mlflowish.storage import LocalStorage

    catalog = Catalog(LocalStorage(tmp_path / "forked", fsync="never"))
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            catalog.transact(add_one)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(5):
            pid = os.fork()
            if pid == 0:
                end_fork(lambda: catalog.transact(lambda tx: tx.put(f"child/{os.getpid()}", 1)) is None)
            assert os.waitpid(pid, 0)[1] == 0
    finally:
        stop.set()
        thread.join()
    assert len(list(catalog.snapshot().scan("child/"))) == 5


BAD_KEYS = ["", "/a", "a/", "a//b", "~dead/x", "a\nb", "a\0", "\ud800", "x" * 513, 3, None, b"a", "a\U0010ffff"]


@pytest.mark.parametrize("key", BAD_KEYS)
def test_a_bad_key_is_refused_everywhere(catalog: Catalog, key: object) -> None:
    with catalog.transaction() as tx:
        for use in (tx.get, tx.delete, catalog.snapshot().get, lambda bad: tx.put(bad, 1)):
            with pytest.raises(InvalidInputError):
                use(key)  # type: ignore[arg-type]


def nested(depth: int) -> list[object]:
    value: list[object] = []
    for _ in range(depth):
        value = [value]
    return value


BAD_VALUES = {
    "nan": (float("nan"), "is nan"),
    "infinity": ({"x": [float("inf")]}, r"\['x'\]\[0\] is inf"),
    "bytes": ({"a": b"x"}, r"\['a'\] is of type builtins.bytes"),
    "tuple": ((1, 2), "of type builtins.tuple"),
    "set": ({"a": {1}}, "of type builtins.set"),
    "number as a key": ({1: 2}, "has the key 1 of type int"),
    "deep": (nested(70), "deeper than 64"),
    "large integer": (1 << 64, "beyond 64 bits"),
    "too large": ("x" * (17 << 20), "at most 16777216"),
    "object": (object(), "of type builtins.object"),
    "refs": ({"refs": [["nonsense", 3]]}, "not of the form"),
}


@pytest.mark.parametrize(("value", "message"), BAD_VALUES.values(), ids=BAD_VALUES.keys())
def test_a_value_that_is_not_plain_is_refused_with_its_place(catalog: Catalog, value: object, message: str) -> None:
    with catalog.transaction() as tx, pytest.raises(InvalidInputError, match=message):
        tx.put("a", value)
    assert catalog.head == -1


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    "value",
    [None, True, 0, -0.0, 1.0, 1 << 63, -(1 << 63), 5e-324, 1.7976931348623157e308, "", "\ud800\0\n", [], {},
     nested(60), {"": {"a": [{}]}}, Text("x")],
)  # fmt: skip
def test_every_plain_value_comes_back_as_it_was(catalog: Catalog, other: Catalog, value: object) -> None:
    put(catalog, a=value)
    found = other.snapshot().get("a")
    assert (found, repr(found)) == (value, repr(value))


@pytest.mark.parametrize("given", ["", 3, "x" * 201])
def test_a_bad_id_is_refused(catalog: Catalog, given: object) -> None:
    with pytest.raises(InvalidInputError, match="id of a transaction"):
        catalog.transact(add_one, id=given)  # type: ignore[arg-type]


def test_what_another_thread_learns_while_a_record_is_made_is_checked_as_well(storage: Storage) -> None:
    """The record followed what the handle knew by then, of which the transaction was never checked: a lost update."""

    def add(tx: Transaction) -> None:
        tx.put("n", tx.get("n", 0) + 1)

    def others_commit_and_are_noticed() -> None:
        Catalog(storage).transact(add)
        thread = threading.Thread(target=catalog.refresh)
        thread.start()
        thread.join()

    catalog = Catalog(storage, prepare=others_commit_and_are_noticed)  # called when the transaction has been checked
    catalog.transact(add)
    assert catalog.snapshot().get("n") == 2
    assert [commit.transactions[0].reads for commit in catalog.log()] == [{"n": -1}, {"n": 0}]


def test_another_thread_may_learn_of_later_records_while_the_last_one_is_looked_for(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its record was taken for another one, as in a store that was restored from a backup."""
    catalog = Catalog(storage)
    catalog.transact(lambda tx: tx.put("n", 1))
    read, has_met = catalog.history.log.raw, []

    def raw(slot: int) -> bytes | None:
        found = read(slot)
        if slot == 0 and not has_met:
            has_met.append(slot)
            Catalog(storage).transact(lambda tx: tx.put("m", 1))
            thread = threading.Thread(target=catalog.refresh)
            thread.start()
            thread.join()
        return found

    monkeypatch.setattr(catalog.history.log, "raw", raw)
    catalog.transact(lambda tx: tx.put("k", 1))
    assert has_met or not catalog.history.log.is_near
    assert dict(catalog.snapshot().scan()) == {"k": 1, "m": 1, "n": 1}
