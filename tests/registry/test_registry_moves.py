"""Moving versions from stage to stage: exclusive stages, permitted moves, approvals, and the history of it all."""

from __future__ import annotations

import datetime

import pytest

import mlflowish as mf

registry = mf.registry


@pytest.fixture
def churn(store):
    """Three versions."""
    for _ in range(3):
        mf.register_model("churn", len)


def stages():
    return [version.stage for version in registry.versions("churn")]


def told():
    return [(each.version, each.action, each.from_stage, each.to_stage) for each in registry.history("churn")]


def test_a_version_goes_where_it_is_sent(churn):
    assert registry.transition("churn", 2, "Staging").stage == "staging"
    assert stages() == ["none", "staging", "none"]


def test_who_holds_an_exclusive_stage_is_archived_in_the_same_transaction(churn):
    registry.transition("churn", 1, "production")
    slot = registry.lookup.reading(None).slot
    registry.transition("churn", 2, "production")
    assert stages() == ["archived", "production", "none"]
    between = mf.active_store().catalog.snapshot(at=slot + 1)
    assert [key for key, _ in between.scan("models/stages/churn/production/")] == [
        "models/stages/churn/production/000000002"
    ]
    assert told()[-2:] == [(1, "displaced", "production", "archived"), (2, "moved", "none", "production")]
    assert registry.history("churn")[-2].comment == "version 2 took its place in production"


def test_a_taken_exclusive_stage_refuses_another_one_when_it_shall_not_be_archived(churn):
    registry.transition("churn", 1, "production")
    with pytest.raises(mf.StateError, match="version 1 is in production, which holds one version") as caught:
        registry.transition("churn", 2, "production", archive_existing=False)
    assert (caught.value.holder, caught.value.stage) == (1, "production")
    assert stages() == ["production", "none", "none"]


def test_a_stage_that_is_not_exclusive_holds_several(churn):
    for number in (1, 2, 3):
        registry.transition("churn", number, "staging")
    assert stages() == ["staging"] * 3


def test_moving_to_where_a_version_is_changes_and_records_nothing(churn):
    registry.transition("churn", 1, "production")
    before = registry.lookup.reading(None).slot
    assert registry.transition("churn", 1, "PRODUCTION").stage == "production"
    assert registry.lookup.reading(None).slot == before


def test_registering_into_production_displaces_too(churn):
    registry.transition("churn", 1, "production")
    assert mf.register_model("churn", len, stage="production", comment="retrained").version == 4
    assert stages() == ["archived", "none", "none", "production"]
    assert told()[-3:] == [
        (4, "registered", None, "none"),
        (1, "displaced", "production", "archived"),
        (4, "moved", "none", "production"),
    ]


# -- a model's own rules -----------------------------------------------------------------------------


def test_a_model_may_have_its_own_stages_and_moves(churn):
    registry.configure(
        "churn",
        stages=["shadow", "canary", "live"],
        moves={"none": ["shadow"], "shadow": ["canary"], "canary": ["live", "archived"], "live": ["archived"]},
        exclusive=["canary", "live"],
    )
    with pytest.raises(mf.StateError, match="from none the model's rules permit shadow"):
        registry.transition("churn", 1, "live")
    with pytest.raises(mf.NotFoundError, match="has no stage 'production'"):
        registry.transition("churn", 1, "production")
    for stage in ("shadow", "canary", "live"):
        registry.transition("churn", 1, stage)
    for stage in ("shadow", "canary", "Live"):
        registry.transition("churn", 2, stage)
    assert stages() == ["archived", "live", "none"]


def test_displacing_needs_no_permission_of_its_own(churn):
    registry.configure("churn", moves={"none": ["production"]})
    registry.transition("churn", 1, "production")
    registry.transition("churn", 2, "production")
    assert stages() == ["archived", "production", "none"]


def test_registering_into_a_stage_follows_the_rules(store):
    registry.configure("churn", moves={"none": ["staging"], "staging": ["production"]})
    with pytest.raises(mf.StateError, match="cannot go from none to production"):
        mf.register_model("churn", len, stage="production")
    assert len(registry.versions("churn")) == 0
    assert len(registry.history("churn")) == 0


def test_rules_can_be_given_before_the_first_version_and_changed_in_part(store):
    registry.configure("churn", exclusive=["staging", "production"])
    rules = registry.configure("churn", approvals={"production": 2})
    assert (rules.exclusive, dict(rules.approvals)) == (("staging", "production"), {"production": 2})
    assert registry.configure("churn") == registry.model("churn").rules == rules


def test_rules_that_the_versions_contradict_are_refused(churn):
    registry.transition("churn", 1, "staging")
    registry.transition("churn", 2, "staging")
    with pytest.raises(mf.StateError, match=r"several versions in staging \(1, 2\)"):
        registry.configure("churn", exclusive=["staging"])
    with pytest.raises(mf.StateError, match=r"versions in staging \(1, 2\), which the new rules do not have"):
        registry.configure("churn", stages=["live"], exclusive=["live"])
    assert registry.model("churn").rules == registry.StageRules()


# -- approvals ---------------------------------------------------------------------------------------


@pytest.fixture
def careful(churn):
    """The same model, where one other person must agree to production."""
    registry.configure("churn", approvals=["production"])


def test_a_move_that_needs_approval_cannot_be_made_without(careful):
    with pytest.raises(mf.StateError, match=r"needs the approval of another person.*registry\.request"):
        registry.transition("churn", 1, "production")
    with pytest.raises(mf.StateError, match="needs the approval"):
        mf.register_model("churn", len, stage="production")
    assert stages() == ["none"] * 3


def test_the_approval_makes_the_move(careful):
    registry.request("churn", 1, "production", comment="ready", who="ann")
    assert stages()[0] == "none"
    assert registry.approve("churn", 1, comment="fine", who="bob").stage == "production"
    assert [(each.action, each.who, each.comment) for each in registry.history("churn")[-3:]] == [
        ("requested", "ann", "into production: ready"),
        ("approved", "bob", "into production: fine"),
        ("moved", "bob", "ready"),
    ]
    assert len(registry.requests()) == 0


def test_who_asks_cannot_approve(careful):
    registry.request("churn", 1, "production", who="ann")
    with pytest.raises(mf.StateError, match=r"ann asked for this move.*another person"):
        registry.approve("churn", 1, who="ann")
    with pytest.raises(mf.StateError, match="ann asked"):
        registry.approve("churn", 1)
    assert stages()[0] == "none"


def test_two_approvals_are_of_two_people(churn):
    registry.configure("churn", approvals={"production": 2})
    registry.request("churn", 1, "production", who="ann")
    assert registry.approve("churn", 1, who="bob").stage == "none"
    with pytest.raises(mf.StateError, match="bob approved this move"):
        registry.approve("churn", 1, who="bob")
    [asked] = registry.requests("churn")
    assert (asked.approved_by, asked.needed, asked.stage) == (("bob",), 2, "production")
    assert registry.approve("churn", 1, who="eve").stage == "production"


def test_a_rejected_request_is_closed_and_can_be_made_again(careful):
    registry.request("churn", 1, "production", who="ann")
    registry.reject("churn", 1, comment="worse on July", who="bob")
    assert len(registry.requests("churn")) == 0
    with pytest.raises(mf.NotFoundError, match="No request is open for a move of churn version 1"):
        registry.approve("churn", 1, who="bob")
    registry.request("churn", 1, "production", who="ann")
    assert told()[-2:] == [(1, "rejected", "none", "none"), (1, "requested", "none", "none")]


def test_who_asks_withdraws_and_others_reject(careful):
    registry.request("churn", 1, "production", who="ann")
    with pytest.raises(mf.StateError, match="withdraw your own request"):
        registry.reject("churn", 1, who="ann")
    with pytest.raises(mf.StateError, match="ann can; you can reject it"):
        registry.withdraw("churn", 1, who="bob")
    registry.withdraw("churn", 1, who="ann")
    assert told()[-1] == (1, "withdrawn", "none", "none")


def test_one_request_for_a_move_is_open_at_a_time(careful):
    registry.request("churn", 1, "production", who="ann")
    with pytest.raises(mf.AlreadyExistsError, match="ann has asked already"):
        registry.request("churn", 1, "production", who="bob")


def test_several_requests_for_one_version_want_the_stage(churn):
    registry.configure("churn", approvals=["staging", "production"])
    for stage in ("staging", "production"):
        registry.request("churn", 1, stage, who="ann")
    with pytest.raises(mf.StateError, match="say which stage is meant"):
        registry.approve("churn", 1, who="bob")
    assert registry.approve("churn", 1, "staging", who="bob").stage == "staging"


def test_what_needs_no_approval_or_cannot_be_is_not_requested(careful):
    with pytest.raises(mf.StateError, match="needs no approval"):
        registry.request("churn", 1, "staging")
    registry.configure("churn", moves={"none": ["staging"], "staging": ["production"]})
    with pytest.raises(mf.StateError, match="cannot go from none to production"):
        registry.request("churn", 1, "production")


def test_an_approval_of_a_move_that_is_not_possible_any_more_changes_nothing(careful):
    registry.request("churn", 1, "production", archive_existing=False, who="ann")
    registry.request("churn", 2, "production", who="ann")
    registry.approve("churn", 2, who="bob")
    before = told()
    with pytest.raises(mf.StateError, match="version 2 is in production"):
        registry.approve("churn", 1, who="bob")
    assert told() == before
    assert len(registry.requests("churn")) == 1


def test_deleting_a_version_closes_its_requests(careful):
    registry.request("churn", 1, "production", who="ann")
    registry.delete("churn", 1)
    assert len(registry.requests("churn")) == 0


# -- history -----------------------------------------------------------------------------------------


def test_the_history_says_who_did_what_when_and_why(churn):
    before = datetime.datetime.now(datetime.UTC)
    registry.transition("churn", 2, "production", comment="better on June", who="bob")
    last = registry.history("churn")[-1]
    assert (last.name, last.version, last.from_stage, last.to_stage) == ("churn", 2, "none", "production")
    assert (last.who, last.comment) == ("bob", "better on June")
    assert before <= last.time <= datetime.datetime.now(datetime.UTC)


def test_the_history_is_complete_dense_and_oldest_first(careful):
    registry.transition("churn", 1, "staging")
    registry.request("churn", 1, "production", who="ann")
    registry.approve("churn", 1, who="bob")
    registry.set_alias("churn", "champion", 1)
    registry.delete_alias("churn", "champion")
    registry.delete("churn", 2)
    registry.restore("churn", 2)
    found = registry.history("churn")
    assert [each.action for each in found] == [
        *["registered"] * 3,
        *("moved", "requested", "approved", "moved", "alias set", "alias removed", "deleted", "restored"),
    ]
    assert [each.sequence for each in found] == list(range(1, 12))
    assert [each.time for each in found] == sorted(each.time for each in found)


def test_a_version_has_the_history_of_its_own(churn):
    registry.transition("churn", 2, "production")
    registry.transition("churn", 3, "production")
    found = registry.get("churn", version=2).history()
    assert [each.action for each in found] == ["registered", "moved", "displaced"]
    assert found == registry.history("churn", version=2)


def test_who_is_the_user_of_the_environment_unless_somebody_is_named(churn, monkeypatch):
    monkeypatch.delenv("MLFLOWISH_USER")
    registry.transition("churn", 1, "staging")
    monkeypatch.setenv("MLFLOWISH_USER", "service")
    registry.transition("churn", 1, "production")
    registry.transition("churn", 1, "archived", who="bob")
    people = [each.who for each in registry.history("churn")[-3:]]
    assert people[0].strip()
    assert people[1:] == ["service", "bob"]


def test_a_history_is_a_table_too(churn):
    found = registry.history("churn").to_pandas()
    assert list(found["action"]) == ["registered"] * 3
    assert "time" in repr(registry.history("churn")).splitlines()[0]
