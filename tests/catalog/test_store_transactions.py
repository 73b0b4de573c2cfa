"""`store.catalog`, `store.transact` and `mf.transaction()`."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import pytest

import mlflowish as mf
from mlflowish.catalog import Catalog


@pytest.fixture
def store(tmp_path: Path) -> mf.Store:
    return mf.Store(tmp_path / "store")


def value(store: mf.Store, key: str) -> object:
    return mf.Store(store.url).catalog.snapshot().get(key)


def test_the_catalog_is_created_by_the_first_commit(store: mf.Store, tmp_path: Path) -> None:
    assert store.catalog.snapshot().get("a") is None
    assert not (tmp_path / "store").exists()
    store.transact(lambda tx: tx.put("a", 1))
    assert (tmp_path / "store" / "FORMAT").exists()
    assert value(store, "a") == 1
    assert store.catalog is store.catalog


def test_a_block_commits_everything_in_it_together(store: mf.Store) -> None:
    with mf.transaction(store):
        store.transact(lambda tx: tx.put("a", 1))
        assert value(store, "a") is None
        with mf.transaction(store) as inner:
            inner.put("b", inner.get("a"))
    assert (value(store, "a"), value(store, "b"), store.catalog.head) == (1, 1, 0)


def test_the_active_store_is_the_default(store: mf.Store) -> None:
    with store, mf.transaction() as tx:
        tx.put("a", 1)
    assert value(store, "a") == 1


def test_an_exception_rolls_everything_back(store: mf.Store) -> None:
    with pytest.raises(ZeroDivisionError), mf.transaction(store):
        store.transact(lambda tx: tx.put("a", 1))
        with mf.transaction(store) as inner:
            inner.put("b", 1)
            1 / 0
    assert store.catalog.head == -1


def test_an_inner_part_that_failed_and_was_caught_leaves_nothing(store: mf.Store) -> None:
    called = []

    def failing(tx):
        tx.put("a", 2)
        tx.put("b", 2)
        tx.on_commit(lambda: called.append(1))
        raise KeyError("x")

    with mf.transaction(store) as tx:
        tx.put("a", 1)
        with pytest.raises(KeyError):
            store.transact(failing)
    assert (value(store, "a"), value(store, "b"), called) == (1, None, [])


def test_hooks_of_a_part_wait_for_the_whole(store: mf.Store) -> None:
    seen = []
    with mf.transaction(store):
        store.transact(lambda tx: (tx.put("a", 1), tx.on_commit(lambda: seen.append(value(store, "a"))))[0])
        assert seen == []
    assert seen == [1]


def test_another_store_has_a_transaction_of_its_own(store: mf.Store, tmp_path: Path) -> None:
    second = mf.Store(tmp_path / "second")
    with mf.transaction(store) as tx:
        tx.put("a", 1)
        second.transact(lambda t: t.put("a", 2))
        assert value(second, "a") == 2
        assert value(store, "a") is None


def test_the_time_of_the_commit_may_be_what_an_id_stands_for(store: mf.Store) -> None:
    with mf.transaction(store) as outer:
        first = store.transact(lambda tx: [tx.now_s], id="when")
        assert store.transact(lambda tx: [0], id="when") == first == [outer.now_s]
    assert store.transact(lambda tx: [0], id="when") == [outer.committed_s]


def test_another_thread_does_not_join(store: mf.Store) -> None:
    with mf.transaction(store) as tx:
        tx.put("a", 1)
        thread = threading.Thread(target=lambda: store.transact(lambda t: t.put("b", 2)))
        thread.start()
        thread.join()
        assert value(store, "b") == 2
    assert value(store, "a") == 1


def test_a_conflict_in_a_block_is_the_callers(store: mf.Store) -> None:
    with pytest.raises(mf.ConflictError, match="a changed meanwhile"), mf.transaction(store) as tx:
        tx.put("b", tx.get("a"))
        Catalog(store.storage).transact(lambda t: t.put("a", 1))
    assert value(store, "b") is None


def test_what_has_an_id_is_done_once_also_inside_another_block(store: mf.Store) -> None:
    for number in (1, 2):
        with mf.transaction(store) as outer:
            outer.put("outer", number)
            with mf.transaction(store, id="inner") as inner:
                inner.put("inner", number)
            assert store.transact(lambda tx, n=number: (tx.put("called", n), n)[1], id="called") == 1
    with mf.transaction(store, id="inner") as alone:
        alone.put("inner", 3)
    assert [value(store, key) for key in ("outer", "inner", "called")] == [2, 1, 1]
    with mf.transaction(store) as outer:
        for number in (1, 2):
            with mf.transaction(store, id="twice in one block") as inner:
                inner.put("twice", number)
    assert value(store, "twice") == 1


def test_the_id_of_a_part_that_failed_is_free_again(store: mf.Store) -> None:
    with mf.transaction(store) as outer:
        with contextlib.suppress(ZeroDivisionError), mf.transaction(store, id="inner"):
            1 / 0
        with pytest.raises(mf.InvalidInputError, match="1 to 200"), mf.transaction(store, id=""):
            pass
        outer.put("outer", 1)
    with mf.transaction(store, id="inner") as inner:
        inner.put("inner", 1)
    assert (value(store, "outer"), value(store, "inner")) == (1, 1)
