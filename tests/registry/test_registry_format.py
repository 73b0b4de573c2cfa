"""The tables of docs/format-registry.md against the code, and the invariants that the page states, on a real store."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

import mlflowish as mf
from mlflowish.registry import records

PAGE = (Path(__file__).parents[2] / "docs" / "format-registry.md").read_text(encoding="utf-8")
KINDS = {
    "model": records.Head,
    "version": records.VersionRecord,
    "event": records.EventRecord,
    "alias": records.AliasRecord,
    "request": records.RequestRecord,
    "webhook": records.HookRecord,
    "delivery": records.DeliveryRecord,
}


def rows(heading):
    section = PAGE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)


@pytest.mark.parametrize("heading", KINDS)
def test_the_fields_of_a_record_are_those_of_the_page(heading):
    assert rows(heading) == [field.name for field in fields(KINDS[heading])]


def test_the_page_names_the_version_that_is_written():
    assert PAGE.startswith(f"# Format of the registry, version {records.RECORD_VERSION}\n")


def test_every_key_is_on_the_page(store):
    use_everything()
    listed = re.findall(r"^\| `(models/[^`]+)` \|", PAGE, re.MULTILINE)
    patterns = [re.sub(r"<[a-z]+>", "[^/]+", path.replace("<number>", "[0-9]{9}")) for path in listed]
    keys = [key for key, _ in store.catalog.snapshot().scan("models/")]
    assert [key for key in keys if not any(re.fullmatch(pattern, key) for pattern in patterns)] == []
    assert {key.split("/")[1] for key in keys} == {path.split("/")[1] for path in listed}


def test_every_action_is_on_the_page(store):
    use_everything()
    listed = re.search(r"^\| `action` \| (.*) \|$", PAGE, re.MULTILINE)[1]
    assert {each.action for each in mf.registry.history("churn")} == set(re.findall("`([^`]+)`", listed))


def test_a_record_of_a_newer_form_is_refused(store):
    mf.register_model("churn", len)
    key = "models/versions/churn/000000001"
    store.catalog.transact(lambda tx: tx.put(key, {**tx.get(key), "v": records.RECORD_VERSION + 1}))
    with pytest.raises(mf.FormatVersionError, match="Upgrade"):
        mf.registry.get("churn")


def test_fields_of_a_later_version_are_passed_over(store):
    mf.register_model("churn", len)
    key = "models/versions/churn/000000001"
    store.catalog.transact(lambda tx: tx.put(key, {**tx.get(key), "colour": "red"}))
    assert mf.registry.get("churn").version == 1


@pytest.mark.parametrize("value", [None, 3, "x", {}, {"v": "1"}, {"v": 1}, {"v": 1, "stage": 3}])
def test_a_record_that_makes_no_sense_is_an_integrity_error(value):
    with pytest.raises(mf.IntegrityError, match="cannot be read"):
        records.VersionRecord.from_value(value)


def use_everything():
    """Every kind of record and of event, once."""
    registry = mf.registry
    registry.on_transition("http://127.0.0.1:9/nobody")
    for _ in range(4):
        mf.register_model("churn", len)
    registry.configure("churn", approvals=["staging"])
    registry.transition("churn", 1, "production")
    registry.transition("churn", 2, "production")
    registry.set_alias("churn", "champion", 2)
    registry.set_alias("churn", "challenger", 1)
    registry.delete_alias("churn", "challenger")
    for close, who in ((registry.approve, "bob"), (registry.reject, "bob"), (registry.withdraw, "ann")):
        registry.request("churn", 3, "staging", who="ann")
        close("churn", 3, who=who)
        registry.transition("churn", 3, "none")
    registry.request("churn", 4, "staging", who="ann")
    registry.delete("churn", 3)
    registry.restore("churn", 3)
    registry.delete("churn", 3)
    registry.purge("churn", 3)
