"""Functions that hear of transitions: after the commit, in order, each what it asked for, and never in the way."""

from __future__ import annotations

import logging

import pytest

import mlflowish as mf

registry = mf.registry


@pytest.fixture
def heard(store):
    """What a listener to everything was told."""
    found = []
    registry.on_transition(found.append)
    return found


def ways(transitions):
    return [(each.version, each.from_stage, each.to_stage) for each in transitions]


def test_a_function_hears_of_a_transition_with_who_and_why(heard):
    mf.register_model("churn", len)
    registry.transition("churn", 1, "staging", comment="try", who="bob")
    [told] = heard
    assert (told.name, told.version, told.from_stage, told.to_stage) == ("churn", 1, "none", "staging")
    assert (told.who, told.comment, told) == ("bob", "try", registry.history("churn")[-1])


def test_who_is_displaced_is_told_before_who_displaces(heard):
    mf.register_model("churn", len, stage="production")
    mf.register_model("churn", len, stage="production")
    assert ways(heard) == [(1, "none", "production"), (1, "production", "archived"), (2, "none", "production")]


def test_what_moves_nothing_is_not_told(heard):
    mf.register_model("churn", len, alias="champion")
    registry.annotate("churn", 1, description="x")
    registry.delete("churn", 1, force=True)
    registry.restore("churn", 1)
    assert heard == []


def test_deleting_out_of_a_stage_is_told(heard):
    mf.register_model("churn", len, stage="production")
    registry.delete("churn", 1, force=True)
    assert ways(heard) == [(1, "none", "production"), (1, "production", None)]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"name": "churn"}, [("churn", "staging"), ("churn", "production")]),
        ({"to_stage": "Production"}, [("churn", "production"), ("other", "production")]),
        ({"from_stage": "staging"}, [("churn", "production")]),
        ({"name": "other", "from_stage": "none", "to_stage": "production"}, [("other", "production")]),
        ({"name": "nobody"}, []),
    ],
)
def test_a_function_hears_what_it_asked_for(store, filters, expected):
    found = []
    registry.on_transition(found.append, **filters)
    mf.register_model("churn", len, stage="staging")
    registry.transition("churn", 1, "production")
    mf.register_model("other", len, stage="production")
    assert [(each.name, each.to_stage) for each in found] == expected


def test_it_is_a_decorator_with_and_without_arguments(store):
    told = []

    @registry.on_transition
    def everything(transition):
        told.append("everything")

    @registry.on_transition(name="churn")
    def of_churn(transition):
        told.append("churn")

    mf.register_model("churn", len, stage="staging")
    mf.register_model("other", len, stage="staging")
    assert told == ["everything", "churn", "everything"]
    registry.remove_hook(everything)
    registry.transition("churn", 1, "none")
    assert told[3:] == ["churn"]
    with pytest.raises(mf.NotFoundError, match="does not listen"):
        registry.remove_hook(everything)


def test_a_function_that_fails_undoes_nothing_and_stops_nobody(store, caplog):
    def broken(transition):
        raise RuntimeError("no")

    found = []
    registry.on_transition(broken)
    registry.on_transition(found.append)
    with caplog.at_level(logging.ERROR, "mlflowish.registry"):
        mf.register_model("churn", len, stage="staging")
    assert registry.get("churn").stage == "staging"
    assert len(found) == 1
    assert "churn version 1 moved none -> staging" in caplog.text
    assert "RuntimeError: no" in caplog.text


def test_a_function_may_look_at_the_registry_and_change_it(store):
    @registry.on_transition(name="churn", to_stage="production")
    def follow(transition):
        assert registry.get("churn", stage="production").version == transition.version
        registry.set_alias("churn", "champion", transition.version)

    mf.register_model("churn", len, stage="production")
    assert registry.get("churn", alias="champion").version == 1


def test_a_function_of_one_store_does_not_hear_of_another(store, tmp_path):
    found = []
    registry.on_transition(found.append, store=store)
    with mf.Store(tmp_path / "other"):
        mf.register_model("churn", len, stage="staging")
    assert found == []
    mf.register_model("churn", len, stage="staging")
    assert len(found) == 1


def test_a_transition_that_fails_is_not_told(heard):
    mf.register_model("churn", len)
    with pytest.raises(mf.NotFoundError):
        registry.transition("churn", 1, "live")
    assert heard == []


@pytest.mark.parametrize("target", [3, [], object()])
def test_what_is_neither_a_function_nor_a_url_is_refused(store, target):
    with pytest.raises(mf.InvalidInputError, match="a function or the URL"):
        registry.on_transition(target)
