"""The storage that fails on purpose does what its plan says, and real deaths at each call leave nothing half."""

from __future__ import annotations

import os
import pickle
import signal
from pathlib import Path

import pytest

from mlflowish.errors import StorageError
from mlflowish.storage import LocalStorage, MemoryStorage, ObjectStore, Storage
from mlflowish.testing.faults import At, Fault, FaultyStorage, On, Plan, Seeded
from mlflowish.testing.writers import fork


@pytest.fixture
def inner(tmp_path: Path) -> Storage:
    return LocalStorage(tmp_path / "store", fsync="never")


def test_every_call_is_counted_those_of_stagings_and_appenders_too(inner: Storage) -> None:
    storage = FaultyStorage(inner)
    storage.put("a", b"x")
    storage.get("a")
    storage.size("a")
    assert len([*storage.list("")]) == 1
    staging = storage.stage()
    staging.write(b"y")
    staging.commit("b")
    staging.discard()
    appender = storage.open_append("log")
    appender.write(b"z")
    appender.sync()
    appender.close()
    assert not storage.is_claimed("log")
    storage.delete("a")
    assert [str(call) for call in storage.calls] == [
        "1 put a", "2 get a", "3 size a", "4 list", "5 stage", "6 stage.write", "7 stage.commit b", "8 stage.discard",
        "9 open_append log", "10 append.write log", "11 append.sync log", "12 append.close log", "13 is_claimed log",
        "14 delete a",
    ]  # fmt: skip


@pytest.mark.parametrize(("fault", "is_done"), [
    (Fault.FAIL_BEFORE, False), (Fault.FAIL_AFTER, True), (Fault.TORN, False), (Fault.FULL, False),
])  # fmt: skip
def test_a_failed_write_was_done_or_not(inner: Storage, fault: Fault, is_done: bool) -> None:
    storage = FaultyStorage(inner, At(1, fault))
    with pytest.raises(StorageError, match=fault.value):
        storage.put_if_absent("a", b"content")
    assert bool([*inner.list("")]) is is_done
    assert storage.put_if_absent("a", b"content") is not is_done


def test_what_is_late_is_done_some_calls_after_it_failed(inner: Storage) -> None:
    inner.put("b", b"x")
    storage = FaultyStorage(inner, lambda call: Fault.LATE if call.number <= 3 else None, late_by=3)

    def there() -> list[str]:
        return sorted(info.path for info in inner.list(""))

    for sent in (lambda: storage.put_if_absent("a", b"1"), lambda: storage.delete("b"), lambda: storage.get("b")):
        with pytest.raises(StorageError, match="late"):
            sent()
    assert there() == ["b"]
    storage.put_if_absent("c", b"3")
    assert there() == ["a", "b", "c"]
    storage.arrive()
    assert there() == ["a", "c"]


def test_a_late_write_that_finds_another_one_is_as_any_that_lost(inner: Storage) -> None:
    storage = FaultyStorage(inner, At(1, Fault.LATE), late_by=2)
    with pytest.raises(StorageError):
        storage.put_if_absent("a", b"1")
    storage.put_if_absent("a", b"2")
    storage.size("a")
    assert storage.get("a") == b"2"


def test_a_torn_write_leaves_half_under_a_temporary_name(tmp_path: Path) -> None:
    storage = FaultyStorage(LocalStorage(tmp_path), At(1, Fault.TORN))
    with pytest.raises(StorageError):
        storage.put("a", b"12345678")
    assert [path.read_bytes() for path in (tmp_path / "tmp").iterdir()] == [b"1234"]


def test_a_torn_append_leaves_half(inner: Storage) -> None:
    storage = FaultyStorage(inner, At(2, Fault.TORN))
    appender = storage.open_append("log")
    with pytest.raises(StorageError):
        appender.write(b"12345678")
    assert inner.get("log") == b"1234"
    assert appender.write(b"next") == 4


def test_twice_is_delivered_twice_and_answered_once(inner: Storage) -> None:
    storage = FaultyStorage(inner, Seeded(0, 1.0, (Fault.TWICE,)))
    assert storage.put_if_absent("a", b"x") is True
    appender = storage.open_append("log")
    assert appender.write(b"ab") == 0
    assert inner.get("log") == b"abab"


def test_a_stale_listing_is_that_of_last_time(inner: Storage) -> None:
    storage = FaultyStorage(inner, On("list", Fault.STALE_LIST))
    storage.put("a", b"x")
    assert [*storage.list("")] == []
    storage.put("b", b"x")
    assert [info.path for info in storage.list("")] == ["a"]


def test_a_seed_gives_the_same_faults_again() -> None:
    def failing(seed: int) -> list[int]:
        storage = FaultyStorage(MemoryStorage("seeded"), Seeded(seed, 0.3, (Fault.FAIL_BEFORE,)))
        failed = []
        for number in range(50):
            try:
                storage.put("a", b"x")
            except StorageError:
                failed.append(number)
        return failed

    assert failing(1) == failing(1) != failing(2)
    assert 5 < len(failing(1)) < 30


@pytest.mark.parametrize("plan", [At(1, Fault.DELAY), On("get", Fault.FULL), Seeded(3, 0.5, (Fault.TORN,))])
def test_plans_travel_by_pickle(plan: Plan) -> None:
    other: FaultyStorage = pickle.loads(pickle.dumps(FaultyStorage(MemoryStorage("x"), plan)))
    assert other.plan == plan


@pytest.mark.parametrize("fault", [Fault.KILL_BEFORE, Fault.KILL_AFTER])
@pytest.mark.parametrize("size", [100, 2 << 20])
def test_death_at_any_call_of_a_put_leaves_nothing_half(tmp_path: Path, fault: Fault, size: int) -> None:
    data = os.urandom(size)

    def put(storage: Storage) -> None:
        ObjectStore(storage).put(lambda: iter([data]), size)

    counting = FaultyStorage(LocalStorage(tmp_path / "count", fsync="never"))
    put(counting)
    for call in counting.calls:
        inner = LocalStorage(tmp_path / f"{call.number}", fsync="never")
        child = fork(lambda inner=inner, call=call: put(FaultyStorage(inner, At(call.number, fault))))  # type: ignore[misc]
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL, call
        assert {inner.get(info.path) for info in inner.list("")} <= {data}, call
        put(inner)
        (info,) = inner.list("")
        assert inner.get(info.path) == data
        assert inner.remove_leftovers(older_than_s=-1.0) <= 1
