"""Registering, finding and describing versions; and what is said when something is not there."""

from __future__ import annotations

import datetime
import math

import pytest

import mlflowish as mf
from mlflowish.models import store_model
from mlflowish.registry import registering

registry = mf.registry


def register(*names, **options):
    return [mf.register_model(name, len, **options) for name in names]


def test_versions_are_numbered_from_one(store):
    assert [version.version for version in register("churn", "churn", "other", "churn")] == [1, 2, 1, 3]


def test_a_version_knows_what_was_said_of_it(store):
    before = datetime.datetime.now(datetime.UTC)
    mf.register_model(
        "churn", len, stage="Staging", alias="champion", description="on June", tags={"n": 3}, metrics={"auc": 0.9}
    )
    found = registry.get("churn", version=1)
    assert (found.name, found.version, found.stage, found.aliases) == ("churn", 1, "staging", ("champion",))
    assert (found.description, found.tags, found.metrics, found.who) == ("on June", {"n": "3"}, {"auc": 0.9}, "ann")
    assert before <= found.created <= datetime.datetime.now(datetime.UTC)


SAID = {"alias": "champion", "description": "on June", "tags": {"n": 3}, "metrics": {"auc": 0.9, "loss": math.inf}}


@pytest.mark.parametrize("stage", [None, "Staging", "production"])
@pytest.mark.parametrize("said", [{}, SAID], ids=["nothing said", "all said"])
def test_what_registering_gives_is_what_is_found_afterwards(store, stage, said):
    register("churn", "churn", alias="champion")
    given = mf.register_model("churn", {"weights": [1]}, stage=stage, **said)
    assert given == registry.get("churn", version=3) == registry.get("churn")
    with mf.transaction(store):
        inside = mf.register_model("churn", {"weights": [2]}, stage=stage, **said)
    found = registry.get("churn", version=4)
    assert (inside.stage, inside.aliases, inside.tags, inside.metrics) == (
        found.stage, found.aliases, found.tags, found.metrics
    )  # fmt: skip
    assert inside.record.value() | {"created_s": 0} == found.record.value() | {"created_s": 0}


def test_whoever_acts_is_the_user_of_now(store, monkeypatch):
    monkeypatch.delenv("MLFLOWISH_USER")
    for name in ("bob", "eve"):
        monkeypatch.setenv("LOGNAME", name)
        assert mf.register_model("churn", len).who == name
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)
    assert mf.register_model("churn", len).who not in ("bob", "eve")


def test_a_version_is_found_by_stage_number_alias_address_and_as_the_newest(store):
    register("churn", "churn", "churn")
    registry.transition("churn", 1, "production")
    registry.set_alias("churn", "champion", 2)
    assert registry.get("churn", stage="Production").version == 1
    assert registry.get("churn", alias="champion").version == 2
    assert registry.get("churn", version=2).version == 2
    assert registry.get("churn").version == 3
    addresses = ["models:/churn/production", "models:/churn@champion", "models:/churn/2", "models:/churn/latest"]
    assert [registry.get(address).version for address in addresses] == [1, 2, 2, 3]


def test_the_newest_of_several_versions_in_a_stage_is_meant(store):
    register("churn", "churn", "churn")
    for number in (3, 1):
        registry.transition("churn", number, "staging")
    assert registry.get("churn", stage="staging").version == 3
    assert [version.version for version in registry.versions("churn", stage="staging")] == [1, 3]


def test_a_version_can_be_loaded_and_what_it_holds_is_what_was_registered(store):
    version = mf.register_model("longest", max)
    assert mf.load_model("longest")([1, 3, 2]) == version.load()([1, 3, 2]) == 3


def test_two_loads_give_two_objects(store):
    mf.register_model("state", {"weights": [1, 2]})
    first, second = mf.load_model("state"), mf.load_model("state")
    first["weights"].append(3)
    assert second == mf.load_model("state") == {"weights": [1, 2]}


def test_a_version_can_be_registered_under_another_name_without_copying_it(store):
    first = mf.register_model("candidate", max, metrics={"auc": 1})
    second = mf.register_model("churn", first, stage="production")
    assert (second.name, second.version, second.refs, second.digest) == ("churn", 1, first.refs, first.digest)
    with pytest.raises(mf.InvalidInputError, match="leave out flavor"):
        mf.register_model("churn", first, flavor="python")


def test_a_version_of_another_store_is_copied(store, tmp_path):
    with mf.Store(tmp_path / "other") as other:
        version = mf.register_model("churn", max)
    assert version.store is other
    mf.register_model("churn", version)
    with store:
        assert mf.load_model("churn")([1, 2]) == 2


def test_models_are_listed_with_their_versions_and_stages(store):
    register("churn", "churn", "other")
    registry.transition("churn", 1, "production")
    registry.set_alias("churn", "champion", 1)
    found = registry.models()
    assert [(model.name, model.latest, model.versions, model.placed) for model in found] == [
        ("churn", 2, 2, "production: 1"),
        ("other", 1, 1, ""),
    ]
    assert found[0].aliases == {"champion": 1}
    assert registry.model("churn").stages == {"none": (2,), "production": (1,)}


def test_models_whose_names_begin_alike_are_apart(store):
    register("a", "a", "a b", "a.b", "a-b", "ab")
    assert [version.version for version in registry.versions("a")] == [1, 2]
    assert [len(registry.history(model.name)) for model in registry.models()] == [2, 1, 1, 1, 1]


def test_an_empty_store_has_no_models_and_is_not_created_by_looking(store, tmp_path):
    assert len(registry.models()) == 0
    with pytest.raises(mf.NotFoundError, match="There are no models yet"):
        registry.get("churn")
    assert not (tmp_path / "store").exists()


# -- what is not there -------------------------------------------------------------------------------


@pytest.fixture
def churn(store):
    register("churn", "churn", "invoices")
    registry.transition("churn", 1, "staging")
    registry.set_alias("churn", "champion", 1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("chrun", {}), "No model is named 'chrun'. The models there are churn, invoices"),
        (("churn", {"version": 7}), r"churn has no version 7; there is 2, 1 \(newest first\)"),
        (("churn", {"stage": "stagign"}), "churn has no stage 'stagign'; its stages are staging, "),
        (("churn", {"stage": "production"}), "No version of churn is in production; there is version 2 in none, "),
        (("churn", {"alias": "chmpion"}), "churn has no alias 'chmpion'. Its aliases are champion"),
        (("invoices", {"alias": "x"}), "It has no aliases"),
    ],
)
def test_what_is_not_there_is_named_with_what_is_near(churn, arguments, said):
    name, selector = arguments
    for find in (registry.get, mf.load_model):
        with pytest.raises(mf.NotFoundError, match=said):
            find(name, **selector)


@pytest.mark.parametrize(
    "act",
    [
        lambda: registry.versions("nobody"),
        lambda: registry.history("nobody"),
        lambda: registry.model("nobody"),
        lambda: registry.requests("nobody"),
        lambda: registry.transition("nobody", 1, "staging"),
        lambda: registry.set_alias("nobody", "champion", 1),
        lambda: registry.delete_alias("nobody", "champion"),
        lambda: registry.annotate("nobody", description="x"),
        lambda: registry.delete("nobody", 1),
        lambda: registry.restore("nobody", 1),
        lambda: registry.history("churn", version=9),
        lambda: registry.transition("churn", 9, "staging"),
        lambda: registry.transition("churn", 1, "stage"),
        lambda: registry.set_alias("churn", "champion", 9),
        lambda: registry.delete_alias("churn", "challenger"),
        lambda: registry.annotate("churn", 9, description="x"),
        lambda: registry.delete("churn", 9),
        lambda: registry.restore("churn", 9),
        lambda: registry.versions("churn", stage="qa"),
    ],
)
def test_every_act_on_what_is_not_there_is_refused_and_changes_nothing(churn, act):
    before = len(registry.history("churn"))
    with pytest.raises(mf.NotFoundError):
        act()
    assert len(registry.history("churn")) == before
    assert [model.name for model in registry.models()] == ["churn", "invoices"]


def test_a_stage_that_the_model_does_not_have_is_refused_before_anything_is_registered(churn):
    with pytest.raises(mf.NotFoundError, match="churn has no stage 'live'"):
        mf.register_model("churn", len, stage="live")
    assert len(registry.versions("churn")) == 2


@pytest.mark.parametrize(
    "options",
    [{"stage": "a/b"}, {"alias": "v3"}, {"tags": ["x"]}, {"metrics": {"a": "b"}}, {"description": 3}, {"who": " "}],
)
def test_bad_input_registers_nothing(store, options):
    with pytest.raises(mf.InvalidInputError):
        mf.register_model("churn", len, **options)
    assert len(registry.models()) == 0


# -- annotations and aliases ------------------------------------------------------------------------


def test_annotations_are_added_replaced_and_removed(store):
    mf.register_model("churn", len, tags={"a": 1, "b": 2}, metrics={"auc": 0.5, "loss": 1.0}, description="first")
    found = registry.annotate("churn", 1, tags={"a": None, "c": "x"}, metrics={"loss": None, "auc": 0.75})
    assert (found.tags, found.metrics, found.description) == ({"b": "2", "c": "x"}, {"auc": 0.75}, "first")
    assert registry.annotate("churn", 1, description="").description == ""


def test_a_metric_may_be_no_number_or_infinite(store):
    mf.register_model("churn", len, metrics={"nan": math.nan, "inf": math.inf, "minus": -math.inf})
    metrics = registry.get("churn").metrics
    assert math.isnan(metrics["nan"])
    assert (metrics["inf"], metrics["minus"]) == (math.inf, -math.inf)


def test_a_model_as_a_whole_can_be_described(store):
    register("churn")
    found = registry.annotate("churn", description="who leaves", tags={"team": "growth"})
    assert (found.description, found.tags) == ("who leaves", {"team": "growth"})
    assert registry.model("churn") == found
    with pytest.raises(mf.InvalidInputError, match="Metrics belong to a version"):
        registry.annotate("churn", metrics={"auc": 1})


def test_an_alias_names_one_version_and_is_moved_by_setting_it_again(store):
    register("churn", "churn")
    registry.set_alias("churn", "champion", 1)
    registry.set_alias("churn", "champion", 2, comment="better")
    assert [version.aliases for version in registry.versions("churn")] == [(), ("champion",)]
    told = [(each.action, each.version, each.comment) for each in registry.history("churn")[-2:]]
    assert told == [("alias set", 1, "champion"), ("alias set", 2, "champion, before version 1: better")]


def test_setting_an_alias_to_where_it_points_records_nothing(store):
    register("churn", alias="champion")
    before = len(registry.history("churn"))
    registry.set_alias("churn", "champion", 1)
    assert len(registry.history("churn")) == before


def test_a_removed_alias_is_gone_and_its_version_stays(store):
    register("churn", alias="champion")
    registry.delete_alias("churn", "champion")
    with pytest.raises(mf.NotFoundError, match="has no aliases"):
        registry.get("churn", alias="champion")
    assert registry.get("churn").version == 1


# -- deletion ---------------------------------------------------------------------------------------


def test_a_deleted_version_is_gone_keeps_its_number_and_can_be_restored(store):
    register("churn", "churn")
    registry.delete("churn", 2, comment="wrong month", who="bob")
    with pytest.raises(mf.NotFoundError, match=r"deleted on .* by bob \(wrong month\).*restore\('churn', 2\)"):
        registry.get("churn", version=2)
    assert registry.get("churn").version == 1
    assert mf.register_model("churn", len).version == 3
    assert [version.version for version in registry.versions("churn")] == [1, 3]
    assert [version.deleted for version in registry.versions("churn", deleted=True)] == [False, True, False]
    assert registry.restore("churn", 2).stage == "none"
    assert registry.get("churn", version=2).load()([1]) == 1


def test_the_files_of_a_deleted_version_outlive_collections(store):
    mf.register_model("churn", bytes(100_000))
    registry.delete("churn", 1)
    mf.gc(store, dry_run=False, grace=0)
    mf.gc(store, dry_run=False, grace=0)
    assert registry.restore("churn", 1).load() == bytes(100_000)


def test_deleting_every_version_leaves_the_model_and_its_history(store):
    register("churn")
    registry.delete("churn", 1)
    with pytest.raises(mf.NotFoundError, match="churn has no version yet"):
        registry.get("churn")
    assert [each.action for each in registry.history("churn")] == ["registered", "deleted"]
    assert registry.model("churn").versions == 0


def test_a_version_in_production_is_deleted_only_by_force(store):
    register("churn", stage="production")
    with pytest.raises(mf.StateError, match=r"is in production.*force=True"):
        registry.delete("churn", 1)
    registry.delete("churn", 1, force=True)
    with pytest.raises(mf.NotFoundError, match="No version of churn is in production"):
        registry.get("churn", stage="production")
    last = registry.history("churn")[-1]
    assert (last.action, last.from_stage, last.to_stage) == ("deleted", "production", None)


def test_a_version_that_an_alias_names_is_deleted_only_by_force_and_the_alias_goes_with_it(store):
    register("churn", alias="champion")
    with pytest.raises(mf.StateError, match="named by the alias champion"):
        registry.delete("churn", 1)
    registry.delete("churn", 1, force=True)
    assert registry.model("churn").aliases == {}
    assert registry.restore("churn", 1).aliases == ()


def test_what_is_not_deleted_cannot_be_restored_nor_deleted_twice(store):
    register("churn")
    with pytest.raises(mf.StateError, match="is not deleted"):
        registry.restore("churn", 1)
    registry.delete("churn", 1)
    with pytest.raises(mf.NotFoundError, match="was deleted"):
        registry.delete("churn", 1)


def test_nothing_can_be_done_to_a_deleted_version(store):
    register("churn", "churn")
    registry.delete("churn", 1)
    for act in (
        lambda: registry.transition("churn", 1, "staging"),
        lambda: registry.set_alias("churn", "champion", 1),
        lambda: registry.annotate("churn", 1, description="x"),
        lambda: mf.load_model("churn", version=1),
    ):
        with pytest.raises(mf.NotFoundError, match="was deleted"):
            act()


def test_a_model_whose_objects_a_collection_gave_up_meanwhile_is_stored_again(store, monkeypatch):
    given_up = [ref.name for ref in store_model(store, {"n": 2}).refs][1:]
    monkeypatch.setattr(registering, "run_of", lambda source: store.dooms.announce(given_up))  # after it was stored
    version = mf.register_model("churn", {"n": 2})
    assert version.load() == {"n": 2}
    assert {ref.name for ref in version.refs}.isdisjoint(given_up)


def test_whatever_is_said_of_a_version_its_display_stays_ours(store):
    hostile = "<img src=x onerror=alert(1)>&\"'"
    version = mf.register_model(
        "churn", 1, stage="production", description=hostile, tags={hostile: hostile}, who=hostile
    )
    shown = [version, registry.versions("churn"), registry.history("churn"), registry.models()]
    for each in shown:
        assert "<img" not in each._repr_html_()
        assert "&lt;img" in each._repr_html_()
        assert " object at 0x" not in repr(each)


def test_a_model_shows_itself(store):
    for number in range(2):
        mf.register_model("churn", number, stage="staging", alias=f"a{number}", tags={"t": "<img src=x>"})
    registry.annotate("churn", description="<img src=x>", tags={"team": "growth"})
    model = registry.model("churn")
    assert repr(model) == "RegisteredModel('churn', 2 versions, staging: 1, 2)"
    shown = model._repr_html_()
    assert "<img" not in shown
    assert all(text in shown for text in ("&lt;img", "1, 2", "@a0", "growth", "2 versions"))
