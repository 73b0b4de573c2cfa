"""Webhooks against real servers: delivered at least once, signed, repeated, in the background, whatever they do."""

from __future__ import annotations

import json
import logging
import socket
import time

import pytest
from receiver import Receiver, dripping, hanging_up, url_at

import mlflowish as mf
from mlflowish.registry import outbox, posting

registry = mf.registry
SECRET = "MLFLOWISH_HOOK_TEST"


@pytest.fixture
def receivers():
    """Starts servers that end with the test."""
    opened = []

    def start(*arguments, **options):
        opened.append(Receiver(*arguments, **options))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(outbox, "FIRST_PAUSE_S", 0.02)


@pytest.fixture
def unhurried(monkeypatch):
    """What failed waits until somebody asks for it: nothing goes in between two lines of a test."""
    monkeypatch.setattr(outbox, "FIRST_PAUSE_S", 600.0)
    monkeypatch.setattr(outbox, "LONGEST_PAUSE_S", 600.0)


def until_empty(timeout_s=120.0):
    deadline = time.monotonic() + timeout_s
    while sum(hook.pending for hook in registry.hooks()):
        assert time.monotonic() < deadline, registry.hooks()
        time.sleep(0.01)


def test_a_webhook_is_told_what_happened(store, receivers):
    server = receivers()
    registry.on_transition(server.url)
    mf.register_model("churn", len)
    registry.transition("churn", 1, "production", comment="better", who="bob")
    [got] = server.wait_for(1)
    document = got.document
    assert got.headers["Content-Type"] == "application/json"
    assert got.headers["Mlflowish-Delivery"] == document["id"]
    told = {key: document[key] for key in ("event", "model", "version", "from_stage", "to_stage", "who", "comment")}
    assert told == {
        "event": "transition",
        "model": "churn",
        "version": 1,
        "from_stage": "none",
        "to_stage": "production",
        "who": "bob",
        "comment": "better",
    }
    assert (document["sequence"], document["store"]) == (2, store.url)
    until_empty()


def test_a_webhook_is_told_what_it_asked_for_in_order(store, receivers):
    server = receivers()
    registry.on_transition(server.url, name="churn", to_stage="production")
    for name in ("churn", "other", "churn", "churn"):
        mf.register_model(name, len, stage="production")
    until_empty()
    assert [each.document["version"] for each in server.received] == [1, 2, 3]


def test_what_is_signed_can_be_verified_and_not_changed(store, receivers, monkeypatch):
    monkeypatch.setenv(SECRET, "a secret of many letters")
    server = receivers()
    registry.on_transition(server.url, secret=SECRET)
    mf.register_model("churn", len, stage="staging")
    [got] = server.wait_for(1)
    header = got.headers["Mlflowish-Signature"]
    assert registry.verify_delivery(got.body, header, "a secret of many letters") == got.document
    for body, wrong, secret in (
        (got.body + b" ", header, "a secret of many letters"),
        (got.body, header, "another"),
        (got.body, header.replace("t=1", "t=2"), "a secret of many letters"),
        (got.body, "", "a secret of many letters"),
        (got.body, "t=1,v1=00", "a secret of many letters"),
    ):
        with pytest.raises(mf.IntegrityError, match="signature"):
            registry.verify_delivery(body, wrong, secret)


def test_an_old_delivery_cannot_be_played_again():
    header = posting.signature(b"{}", "secret", int(time.time()) - 400)
    with pytest.raises(mf.IntegrityError, match="signed more than 300 seconds ago"):
        registry.verify_delivery(b"{}", header, "secret")
    assert registry.verify_delivery(b"{}", header, "secret", tolerance_s=500) == {}


def test_a_secret_is_nowhere_in_the_store_nor_shown(store, receivers, monkeypatch, tmp_path, caplog):
    monkeypatch.setenv(SECRET, "correct-horse-battery")
    monkeypatch.setenv(f"{SECRET}_URL", f"{receivers(500).url}?token=staple-of-secrets")
    hook = registry.on_transition(f"env:{SECRET}_URL", secret=SECRET)
    with caplog.at_level(logging.DEBUG):
        mf.register_model("churn", len, stage="staging")
        registry.deliver()
    shown = repr(hook) + repr(registry.hooks()) + registry.hooks()._repr_html_() + caplog.text
    stored = b"".join(path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file())
    assert SECRET in shown
    for secret in ("correct-horse", "staple-of-secrets"):
        assert secret not in shown
        assert secret.encode() not in stored


def test_without_its_secret_nothing_is_sent(store, receivers, unhurried, monkeypatch):
    monkeypatch.delenv(SECRET, raising=False)
    server = receivers()
    registry.on_transition(server.url, secret=SECRET)
    mf.register_model("churn", len, stage="staging")
    report = registry.deliver()
    assert (report.delivered, report.failed, report.errors) == (0, 1, (f"${SECRET} is not set in this process",))
    assert server.received == []
    monkeypatch.setenv(SECRET, "now it is")
    assert registry.deliver().delivered == 1


@pytest.mark.parametrize("secret", ["hunter2", "AWS_SECRET_ACCESS_KEY", "MLFLOWISH_HOOK_", "MLFLOWISH_HOOK_a", 3, ""])
def test_a_secret_is_named_never_given_and_the_message_does_not_show_it(store, secret):
    with pytest.raises(mf.InvalidInputError, match="the name of an environment variable") as caught:
        registry.on_transition("https://example.org", secret=secret)
    assert not secret or len(str(secret)) < 5 or secret == "MLFLOWISH_HOOK_" or str(secret) not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["ftp://example.org", "file:///etc/passwd", "example.org/hook", "http://", "https://exa mple.org", "http://a:b@c/",
     "http://example.org:0/", "http://example.org:99999/", "env:HOME", "env:", "", "https://ex\u00e4mple.org",
     "http://example.org/\r\nX: y", "gopher://example.org", "http://" + "a" * 3000],
)  # fmt: skip
def test_only_http_urls_without_credentials_are_taken(store, url):
    with pytest.raises(mf.InvalidInputError):
        registry.on_transition(url)
    assert len(registry.hooks()) == 0


def test_credentials_in_a_url_are_not_shown_by_the_refusal(store):
    with pytest.raises(mf.InvalidInputError) as caught:
        registry.on_transition("https://user:hunter2@example.org/x")
    assert "hunter2" not in str(caught.value)
    assert "example.org" in str(caught.value)


@pytest.mark.parametrize(
    "failure", [500, 503, 404, 429, 302, 307, hanging_up], ids=lambda each: getattr(each, "__name__", each)
)
def test_a_delivery_that_fails_is_repeated_with_the_same_id_until_it_arrives(store, receivers, failure):
    answers = [failure, failure, 200]

    def answer(handler):
        now = answers.pop(0)
        return now if isinstance(now, int) else now(handler)

    server = receivers(answer)
    registry.on_transition(server.url)
    mf.register_model("churn", len, stage="staging")
    got = server.wait_for(3)
    until_empty()
    assert len({each.document["id"] for each in got}) == 1
    assert [each.path for each in server.received] == ["/hook"] * 3  # a redirect is not followed


def test_a_server_that_is_not_there_yet_gets_it_when_it_is(store, receivers):
    bound = socket.socket()  # as long as nobody listens there, whoever calls is refused
    bound.bind(("127.0.0.1", 0))
    registry.on_transition(url_at(bound))
    mf.register_model("churn", len, stage="staging")
    report = registry.deliver()
    assert report.failed == 1
    assert "no answer from 127.0.0.1" in report.errors[0]
    later = receivers(bound=bound)
    registry.deliver()
    until_empty()
    assert later.received[0].document["version"] == 1


def test_a_server_may_take_longer_to_answer_than_to_be_reached(store, receivers, monkeypatch):
    monkeypatch.setattr(posting, "_CONNECT_S", 0.2)
    server = receivers(lambda handler: time.sleep(0.5) or 200)  # it answers late: that is what is tested
    registry.on_transition(server.url)
    mf.register_model("churn", len, stage="staging")
    assert server.wait_for(1)
    until_empty()
    assert len(server.received) == 1


@pytest.mark.parametrize("kind", ["silent", "dripping"])
def test_a_server_that_never_finishes_is_given_up_in_time(store, receivers, monkeypatch, kind):
    monkeypatch.setattr(posting, "_WHOLE_S", 1.0)
    # It says nothing for longer than the limit: that is what is tested.
    answers = [dripping if kind == "dripping" else lambda handler: time.sleep(2) or 0]
    # On a busy machine an answer may be too late that was given at once: it comes again then.
    server = receivers(lambda handler: answers.pop(0)(handler) if answers else 200)
    registry.on_transition(server.url)
    mf.register_model("churn", len, stage="staging")
    server.wait_for(2)
    until_empty()


def test_a_slow_server_delays_neither_transitions_nor_other_webhooks(store, receivers, monkeypatch):
    import threading

    monkeypatch.setattr(posting, "_WHOLE_S", 600.0)  # it is not asked again, however long all else takes here
    free = threading.Event()
    slow, quick = receivers(lambda handler: free.wait(600) and 200), receivers()
    registry.on_transition(slow.url)
    registry.on_transition(quick.url)
    for _ in range(5):
        mf.register_model("churn", len, stage="staging")
    assert [each.document["version"] for each in quick.wait_for(5)] == [1, 2, 3, 4, 5]
    assert len(slow.received) == 1
    free.set()
    until_empty()
    assert [each.document["version"] for each in slow.received] == [1, 2, 3, 4, 5]


def test_one_delivery_that_is_refused_does_not_keep_the_others_back(store, receivers):
    refused = []

    def answer(handler):
        if server.received[-1].document["version"] == 1 and len(refused) < 3:
            refused.append(1)
            return 400
        return 200

    server = receivers(answer)
    registry.on_transition(server.url)
    for _ in range(3):
        mf.register_model("churn", len, stage="staging")
    until_empty()
    assert {each.document["version"] for each in server.received} == {1, 2, 3}
    assert len(server.received) == 6


def test_the_same_webhook_added_again_is_one(store, receivers):
    server = receivers()
    hooks = [registry.on_transition(server.url, name="churn") for _ in range(3)]
    assert hooks[0] == hooks[1] == hooks[2]
    registry.on_transition(server.url, name="churn", to_stage="production")
    assert len(registry.hooks()) == 2


def test_a_removed_webhook_gets_nothing_more(store, receivers):
    server = receivers(500)
    hook = registry.on_transition(server.url)
    mf.register_model("churn", len, stage="staging")
    server.wait_for(1)
    registry.remove_hook(hook)
    registry.deliver()  # what was under way has ended
    before = len(server.received)
    mf.register_model("churn", len, stage="staging")
    assert registry.deliver() == outbox.Report()
    assert len(server.received) == before
    with pytest.raises(mf.NotFoundError, match=f"No webhook has the id '{hook.id}'. There are none"):
        registry.remove_hook(hook.id)


def test_what_is_pending_is_seen(store, receivers, unhurried):
    server = receivers(500)
    hook = registry.on_transition(server.url, name="churn")
    mf.register_model("churn", len, stage="production")
    mf.register_model("churn", len, stage="production")
    [shown] = registry.hooks()
    assert (shown.id, shown.url, shown.model, shown.pending) == (hook.id, server.url, "churn", 3)
    registry.deliver()
    server.answer = 200
    assert registry.deliver().delivered == 3
    assert registry.hooks()[0].pending == 0


def test_a_delivery_that_failed_is_logged_once_with_its_reason(store, receivers, caplog):
    server = receivers(500)
    hook = registry.on_transition(server.url)
    with caplog.at_level(logging.WARNING, "mlflowish.registry"):
        mf.register_model("churn", len, stage="staging")
        server.wait_for(3)
        server.answer = 200
        until_empty()
    told = [record.getMessage() for record in caplog.records if hook.id in record.getMessage()]
    assert len(told) == 1
    assert "the server answered 500; it will be tried again" in told[0]


def test_secrets_of_the_machine_cannot_be_sent_by_who_can_write_to_the_store(store, receivers, monkeypatch):
    """A hook is data of the store: a record that names any other variable, by whoever wrote it, sends nothing."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    server = receivers()
    hook = registry.on_transition(server.url)

    def forge(tx):
        value = dict(tx.get(f"models/hooks/{hook.id}"))
        tx.put(f"models/hooks/{hook.id}", {**value, "secret": "AWS_SECRET_ACCESS_KEY"})

    store.catalog.transact(forge)
    mf.register_model("churn", len, stage="staging")
    assert registry.deliver().failed >= 1
    assert server.received == []


def test_the_body_is_canonical_json(store, receivers):
    server = receivers()
    registry.on_transition(server.url)
    mf.register_model("résiliation", len, stage="staging")
    [got] = server.wait_for(1)
    assert got.body == json.dumps(got.document, sort_keys=True, ensure_ascii=False).encode()
    assert got.document["model"] == "résiliation"
