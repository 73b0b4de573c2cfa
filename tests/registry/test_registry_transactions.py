"""`mf.transaction()` over several models: all or none, seen by nobody before, and hooks only after the whole."""

from __future__ import annotations

import threading

import pytest

import mlflowish as mf

registry = mf.registry


@pytest.fixture
def two(store):
    for name in ("a", "b"):
        for _ in range(2):
            mf.register_model(name, 1)
    return store


def test_moves_of_several_models_are_one_commit(two):
    before = two.catalog.refresh()
    with mf.transaction():
        registry.transition("a", 1, "production")
        registry.transition("b", 2, "production")
        registry.set_alias("b", "champion", 2)
    assert two.catalog.refresh() == before + 1
    assert (registry.get("a", stage="production").version, registry.get("b", alias="champion").version) == (1, 2)


def test_nothing_is_left_of_a_block_that_raises(two):
    before = two.catalog.refresh()
    with pytest.raises(RuntimeError), mf.transaction():
        registry.transition("a", 1, "production")
        mf.register_model("new", 1)
        raise RuntimeError
    assert two.catalog.refresh() == before
    assert [model.name for model in registry.models()] == ["a", "b"]


def test_the_block_sees_its_own_moves_and_others_do_not(two, tmp_path):
    other = mf.Store(tmp_path / "store", verify="always")  # a handle that is not the same one
    with mf.transaction():
        registry.transition("a", 1, "production")
        registry.transition("a", 2, "production")
        version = mf.register_model("c", 3, stage="staging")
        assert registry.get("a", stage="production").version == 2
        assert (version.version, mf.load_model("c", stage="staging")) == (1, 3)
        assert [model.name for model in registry.models(store=other)] == ["a", "b"]
    assert [model.name for model in registry.models(store=other)] == ["a", "b", "c"]


def test_hooks_hear_after_the_outer_block_and_never_of_one_that_failed(two):
    heard = []
    registry.on_transition(lambda transition: heard.append((transition.name, transition.to_stage)))
    with mf.transaction():
        registry.transition("a", 1, "staging")
        with mf.transaction():
            registry.transition("b", 1, "staging")
        assert heard == []
    assert heard == [("a", "staging"), ("b", "staging")]
    with pytest.raises(RuntimeError), mf.transaction():
        registry.transition("a", 1, "production")
        raise RuntimeError
    assert len(heard) == 2


def test_an_act_that_fails_in_a_block_leaves_the_others_of_the_block(two):
    with mf.transaction():
        registry.transition("a", 1, "staging")
        with pytest.raises(mf.NotFoundError):
            registry.transition("b", 9, "staging")
    assert registry.get("a", version=1).stage == "staging"


def test_a_block_that_another_writer_was_quicker_than_changes_nothing(two, tmp_path):
    other = mf.Store(tmp_path / "store", verify="always")
    with pytest.raises(mf.ConflictError), mf.transaction():
        registry.transition("a", 1, "production")
        registry.transition("a", 2, "production", store=other)
    assert registry.get("a", stage="production").version == 2
    assert registry.get("a", version=1).stage == "none"


def test_changes_inside_a_function_of_transact_are_made_together_or_not_at_all(store):
    for name in ("churn", "fraud"):
        mf.register_model(name, len)

    def both(tx):
        mf.registry.transition("churn", 1, "production")
        mf.registry.transition("fraud", 99, "production")

    with pytest.raises(mf.NotFoundError):
        store.transact(both)
    assert mf.registry.get("churn").stage == "none"


def test_a_function_of_transact_runs_again_when_others_changed_what_it_read(store):
    mf.register_model("churn", len)
    mf.register_model("fraud", len)
    read = []

    def both(tx):
        read.append(mf.registry.get("fraud").stage)
        if len(read) == 1:
            other = threading.Thread(target=lambda: mf.registry.transition("fraud", 1, "staging", store=store))
            other.start()
            other.join()
        mf.registry.transition("fraud", 1, "production")
        mf.registry.transition("churn", 1, "production")

    store.transact(both)
    assert read == ["none", "staging"]
