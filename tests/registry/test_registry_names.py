"""Names: which are right, which are refused and how the message says so; and every way to name a version."""

from __future__ import annotations

import numpy as np
import pytest

import mlflowish as mf
from mlflowish.registry.names import Selector, alias_name, metrics_of, model_name, stage_name, tags_of, target

NAMES = ["churn", "c", "7", "Churn-2.0", "team_churn v2", "résiliation", "解約", "कुल", "a" * 128]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_letters_in_any_script_is_right(name):
    assert model_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", " ", "a/b", "a\\b", "a:b", "a@b", "a\nb", "a\x00b", "a\tb", " a", "a ", "a.", ".a", "..", "-a", "_a", "a  b",
     "a" * 129, "a\u200db", "a\u202eb", "\ud800", "🙂", "a%2Fb", None, 3, b"churn"],
)  # fmt: skip
def test_a_name_that_no_model_can_have_is_refused_with_the_rule(name):
    with pytest.raises(mf.InvalidInputError, match="letters and digits of any script"):
        model_name(name)


def test_a_name_is_the_same_however_its_accents_are_encoded():
    assert model_name("re\u0301siliation") == model_name("r\u00e9siliation")


def test_stages_are_the_same_in_capitals_and_small_letters():
    assert {stage_name(stage) for stage in ("Production", "PRODUCTION", "production")} == {"production"}


@pytest.mark.parametrize("stage", ["", "3", "a/b", "latest", "Latest", "a b", "-x", "a" * 65, None, 3])
def test_a_stage_that_cannot_be_is_refused(stage):
    with pytest.raises(mf.InvalidInputError, match="No stage can be named"):
        stage_name(stage)


def test_aliases_keep_their_capitals():
    assert alias_name("Champion") != alias_name("champion")


@pytest.mark.parametrize("alias", ["", "3", "v3", "V12", "latest", "LATEST", "a/b", "a@b", "a b", None])
def test_an_alias_that_could_mean_something_else_is_refused(alias):
    with pytest.raises(mf.InvalidInputError, match="No alias can be named"):
        alias_name(alias)


@pytest.mark.parametrize(
    ("address", "selector"),
    [
        ("models:/churn/production", Selector("stage", "production")),
        ("models:/churn/Production", Selector("stage", "production")),
        ("models:/churn/3", Selector("version", "3")),
        ("models:/churn/latest", Selector("latest")),
        ("models:/churn/Latest", Selector("latest")),
        ("models:/churn@champion", Selector("alias", "champion")),
    ],
)
def test_an_address_names_a_version(address, selector):
    assert target(address) == ("churn", selector)


@pytest.mark.parametrize(
    "address",
    ["models:/", "models:/churn", "models:/churn/", "models:/churn/3/4", "models:/churn/a/b", "models:/@x",
     "models:/churn@", "models:/churn/3@x", "models://churn/3", "models:/churn/0", "models:/churn/-1"],
)  # fmt: skip
def test_an_address_that_names_nothing_is_refused(address):
    with pytest.raises(mf.InvalidInputError):
        target(address)


def test_an_address_and_a_selector_together_are_refused():
    with pytest.raises(mf.InvalidInputError, match="leave out stage"):
        target("models:/churn/3", stage="production")


def test_two_selectors_together_are_refused():
    with pytest.raises(mf.InvalidInputError, match="stage and version"):
        target("churn", stage="production", version=3)


@pytest.mark.parametrize("version", [0, -1, 1.0, True, "x", "", "1e3", [], 10**9])
def test_a_version_that_is_no_number_from_one_on_is_refused(version):
    with pytest.raises(mf.InvalidInputError, match="A version is a number from 1 on"):
        target("churn", version=version)


def test_a_version_may_be_given_by_its_digits_and_nothing_means_the_newest():
    assert target("churn", version="12") == ("churn", Selector("version", "12"))
    assert target("churn") == target("churn", version="latest") == ("churn", Selector("latest"))


def test_metrics_become_floats_whatever_number_they_came_as():
    found = metrics_of({"a": 1, "b": np.float32(0.5), "c": np.int64(3), "d": True, "e": float("inf"), "gone": None})
    assert found == {"a": 1.0, "b": 0.5, "c": 3.0, "d": 1.0, "e": float("inf"), "gone": None}
    assert {type(value) for value in found.values()} == {float, type(None)}


@pytest.mark.parametrize("value", ["0.9", object(), [1.0], b"1"])
def test_a_metric_that_is_no_number_is_refused_by_name(value):
    with pytest.raises(mf.InvalidInputError, match="'auc' is a number"):
        metrics_of({"auc": value})


@pytest.mark.parametrize("tags", [["a"], "a", 3])
def test_tags_are_a_dict(tags):
    with pytest.raises(mf.InvalidInputError, match="a dict from name to value"):
        tags_of(tags)


@pytest.mark.parametrize("key", ["", " ", 3, "a\nb", "k" * 251, None])
def test_the_name_of_a_tag_is_printable_text(key):
    with pytest.raises(mf.InvalidInputError, match="printable text"):
        tags_of({key: "x"})


def test_a_metric_that_no_float_can_hold_is_refused_by_name():
    with pytest.raises(mf.InvalidInputError, match="The metric 'rows' is a number"):
        metrics_of({"rows": 10**400})


def test_a_tag_that_is_too_long_is_refused_by_name_and_size():
    with pytest.raises(mf.InvalidInputError, match=r"The tag 'log' is text of at most 20,000 characters.* of 20,001"):
        tags_of({"log": "x" * 20_001})
