"""Rules of stages as values: what they permit, how they are given, and how they change."""

from __future__ import annotations

import pytest

import mlflowish as mf
from mlflowish.registry.rules import StageRules


def test_the_default_stages_permit_every_move_and_one_version_in_production():
    rules = StageRules()
    assert rules.stages == ("none", "staging", "production", "archived")
    assert (rules.exclusive, dict(rules.approvals)) == (("production",), {})
    for source in rules.stages:
        for target in rules.stages:
            rules.require_move("churn", 1, source, target)


def test_every_model_has_none_first_and_archived_last():
    assert StageRules().changed(stages=["Archived", "QA", "Live", "qa"]).stages == ("none", "qa", "live", "archived")


@pytest.mark.parametrize(
    "moves",
    [
        {"none": ["staging"], "staging": "production"},
        [("none", "staging"), ("STAGING", "production")],
        (pair for pair in [["none", "staging"], ["staging", "production"]]),
    ],
    ids=["dict", "pairs", "generator"],
)
def test_moves_are_given_as_a_dict_or_as_pairs(moves):
    rules = StageRules().changed(moves=moves)
    assert rules.moves == (("none", "staging"), ("staging", "production"))


def test_a_forbidden_move_says_which_are_permitted_from_there():
    rules = StageRules().changed(moves={"none": ["staging"], "staging": ["production", "archived"]})
    with pytest.raises(mf.StateError, match="from staging the model's rules permit production, archived") as caught:
        rules.require_move("churn", 3, "staging", "none")
    assert (caught.value.from_stage, caught.value.to_stage) == ("staging", "none")
    with pytest.raises(mf.StateError, match="permit no move"):
        rules.require_move("churn", 3, "archived", "none")


@pytest.mark.parametrize("moves", ["staging", 3, [("a", "b", "c")], ["ab"], [3], {"staging": 3}])
def test_moves_that_cannot_be_meant_are_refused(moves):
    with pytest.raises(mf.InvalidInputError):
        StageRules().changed(moves=moves)


def test_rules_cannot_speak_of_stages_that_the_model_does_not_have():
    for given in ({"exclusive": "live"}, {"approvals": ["live"]}, {"moves": {"none": ["live"]}}):
        with pytest.raises(mf.InvalidInputError, match="live is not among none, staging, production, archived"):
            StageRules().changed(**given)


@pytest.mark.parametrize("given", [{"exclusive": ["none"]}, {"exclusive": "archived"}, {"approvals": ["archived"]}])
def test_none_and_archived_are_always_free(given):
    with pytest.raises(mf.InvalidInputError, match="every model needs it free"):
        StageRules().changed(**given)


@pytest.mark.parametrize("count", [-1, 1.5, "2", True, 101])
def test_the_number_of_approvals_is_a_small_number(count):
    with pytest.raises(mf.InvalidInputError, match="how many people approve"):
        StageRules().changed(approvals={"production": count})


def test_approvals_are_given_as_numbers_or_as_stages():
    assert StageRules().changed(approvals="production").approvals == {"production": 1}
    assert StageRules().changed(approvals={"Production": 2, "staging": 0}).approvals == {"production": 2}
    assert StageRules().changed(approvals=None).approvals == {}


def test_what_was_said_of_a_stage_goes_with_it():
    rules = StageRules().changed(moves={"staging": ["production"], "none": ["production"]}, approvals={"staging": 1})
    fewer = rules.changed(stages=["production"])
    assert (fewer.moves, fewer.exclusive, fewer.approvals) == ((("none", "production"),), ("production",), {})


def test_rules_survive_their_stored_form():
    rules = StageRules().changed(
        stages=["qa", "live"], moves={"none": ["qa"], "qa": ["live"]}, exclusive=["live"], approvals={"live": 2}
    )
    assert StageRules.from_value(rules.value()) == rules
