"""How rules, requests, events and webhooks show themselves at the prompt and in notebooks."""

from __future__ import annotations

import pytest

import mlflowish as mf

registry = mf.registry
EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture
def asked(store):
    mf.register_model("churn", 1)
    registry.configure("churn", approvals={"production": 2})
    registry.request("churn", 1, "production", comment=EVIL, who="ann")
    registry.approve("churn", 1, who="bob")
    return registry.requests("churn")[0]


def test_rules_read_as_one_line(store):
    assert repr(registry.configure("a", approvals={"production": 2})) == (
        "StageRules(none, staging, production (one version, 2 approvals), archived; any move)"
    )
    moves = {"none": ["live"], "live": ["archived"]}
    rules = registry.configure("b", stages=["live"], moves=moves, exclusive=[])
    assert repr(rules) == "StageRules(none, live, archived; 2 moves)"
    for text in ("goes on to live", "the end"):
        assert text in rules._repr_html_()


def test_a_request_says_who_asked_for_what_and_what_is_missing(asked):
    assert repr(asked) == "Request('churn', 1, into production, by ann, 1 of 2 approvals)"
    html = asked._repr_html_()
    assert ("1 of 2 approvals" in html, "bob" in html, EVIL in html) == (True, True, False)
    assert asked.document()["approved_by"] == ["bob"]


def test_an_event_reads_as_its_line(asked):
    event = registry.history("churn")[0]
    assert repr(event) == f"Transition(1: churn version 1 registered into none by {event.who})"
    assert EVIL not in registry.history("churn")[1]._repr_html_()
    assert "requested" in registry.history("churn")[1]._repr_html_()


def test_a_webhook_says_what_it_hears_of(store):
    hook = registry.on_transition("https://ci.example.org/a?b=<c>", name="churn", to_stage="production")
    assert repr(hook) == f"Hook({hook.id!r}, https://ci.example.org/a?b=<c>, churn: any -> production, 0 pending)"
    assert "<c>" not in hook._repr_html_()
    assert "Deliveries" in registry.deliver()._repr_html_()


def test_what_is_stored_of_a_model_reads_as_one_line(store):
    stored = mf.register_model("churn", {"w": 1}, input_example={"a": [1]}, signature=None).stored
    assert repr(stored).startswith("StoredModel(python, builtins.dict, ")
    assert repr(stored.signature) == "Signature(a: int64)"
    assert repr(stored.manifest).startswith("Manifest(python, builtins.dict, ")
    assert repr(stored.manifest.environment).startswith("Environment(Python 3.")
    assert stored.signature.document() == {
        "inputs": [{"name": "a", "type": "int64", "nullable": False}],
        "outputs": None,
    }


def test_a_deleted_version_does_not_look_like_one_in_a_stage(store):
    for _ in range(3):
        mf.register_model("churn", 1)
    registry.delete("churn", 1)
    registry.delete("churn", 2)
    registry.purge("churn", 1)
    found = registry.versions("churn", deleted=True)
    assert found.texts().column("stage") == ["purged", "deleted", "none"]
    assert [repr(version)[:33] for version in found[:2]] == [
        "ModelVersion('churn', 1, purged, ",
        "ModelVersion('churn', 2, deleted,",
    ]


@pytest.mark.parametrize("act", [mf.fsck, mf.du, mf.gc, mf.retain], ids=lambda act: act.__name__)
def test_reports_of_maintenance_read_as_one_line(store, act):
    mf.register_model("churn", 1)
    report = act(store)
    assert repr(report).startswith(f"{type(report).__name__}({store.url}: ")
    assert "\n" not in repr(report)
