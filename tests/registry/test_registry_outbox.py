"""Deliveries outlive the process that owes them: killed before, ended at once, or gone for long."""

from __future__ import annotations

import time

import pytest
from receiver import Receiver
from registry_processes import Worker

import mlflowish as mf
from mlflowish.registry import outbox

registry = mf.registry


class Movable:
    """A receiver that can be replaced by another at its address: what is under way to the old one stays there."""

    def __init__(self):
        self._server = Receiver()

    def renew(self, answer):
        self._server = Receiver(answer, self._server.give_up_address())

    def __getattr__(self, name):
        return getattr(self._server, name)


@pytest.fixture
def receiver():
    server = Movable()
    yield server
    server.close()


@pytest.fixture
def place(tmp_path):
    return str(tmp_path / "store"), {}


def killed_before_delivery(place, receiver):
    """A transition whose process was killed while the server answered nothing but errors."""
    receiver.renew(503)
    worker = Worker(place, "move_and_hang", "churn", receiver.url)
    worker.wait_until_ready()
    worker.go()
    receiver.wait_for(1)
    assert worker.line() == ["moved"]
    worker.kill()
    receiver.renew(200)


def test_what_a_killed_process_owes_is_delivered_by_the_next_that_changes_something(place, receiver):
    killed_before_delivery(place, receiver)
    with mf.Store(place[0]) as store:
        mf.register_model("other", 1, store=store)
        [got] = receiver.wait_for(1)
    assert (got.document["model"], got.document["to_stage"]) == ("churn", "production")


def test_what_a_killed_process_owes_is_delivered_by_deliver(place, receiver):
    killed_before_delivery(place, receiver)
    with mf.Store(place[0]):
        assert registry.deliver() == outbox.Report(delivered=1)
        assert registry.deliver() == outbox.Report()
    assert len(receiver.received) == 1


def test_only_looking_takes_nothing_over(place, receiver):
    killed_before_delivery(place, receiver)
    with mf.Store(place[0]):
        assert registry.hooks()[0].pending == 1
        registry.get("churn")
        time.sleep(0.2)
    assert receiver.received == []


def test_a_process_that_ends_at_once_delivers_before(place, receiver):
    with mf.Store(place[0]):
        registry.on_transition(receiver.url)
    worker = Worker(place, "move_and_end", "churn", 120.0)
    worker.wait_until_ready()
    worker.go()
    assert worker.lines() == [["moved"]]
    assert [each.document["version"] for each in receiver.received] == [1]


def test_a_process_whose_server_never_answers_ends_all_the_same(place, receiver):
    receiver.renew(lambda handler: time.sleep(600) or 0)
    with mf.Store(place[0]):
        registry.on_transition(receiver.url)
    worker = Worker(place, "move_and_end", "churn")
    worker.wait_until_ready()
    worker.go()
    assert worker.lines(timeout_s=200) == [["moved"]]
    with mf.Store(place[0]):
        assert registry.hooks()[0].pending == 1


def test_deliveries_of_a_living_process_are_left_to_it(place, receiver):
    receiver.renew(503)
    worker = Worker(place, "move_and_hang", "churn", receiver.url)
    worker.wait_until_ready()
    worker.go()
    receiver.wait_for(1)
    with mf.Store(place[0]) as store:
        [(_, value)] = store.catalog.snapshot().scan("models/outbox/")
        assert not outbox._is_left_behind(outbox.DeliveryRecord.from_value(value))
    worker.kill()
    assert outbox._is_left_behind(outbox.DeliveryRecord.from_value(value))


@pytest.mark.parametrize(
    ("owner", "claimed_ago_s", "age_s", "left"),
    [
        ("elsewhere:1:aa", 5, 5, False),
        ("elsewhere:1:aa", outbox.CLAIM_S + 5, 3600, True),
        ("elsewhere:1:aa", outbox.CLAIM_S + 5, outbox.GIVE_UP_S + 5, False),
        (outbox.OWNER.name, outbox.CLAIM_S + 5, 3600, False),
        (f"{outbox.OWNER.host}:{outbox.OWNER.pid}:another", 5, 5, True),
        (f"{outbox.OWNER.host}:1:aa", 5, 5, False),
        ("", 5, 5, False),
        ("nonsense", outbox.CLAIM_S + 5, 3600, True),
    ],
    ids=["fresh", "long ago", "given up", "us", "our number before us", "alive", "nobody", "nonsense"],
)
def test_who_counts_as_gone(owner, claimed_ago_s, age_s, left):
    now = time.time()
    record = outbox.DeliveryRecord("hook", "churn", 1, {}, now - age_s, owner, now - claimed_ago_s)
    assert outbox._is_left_behind(record) is left


def test_one_of_two_that_take_over_wins(place, receiver):
    killed_before_delivery(place, receiver)
    with mf.Store(place[0]) as store:
        first, second = outbox.Courier(store), outbox.Courier(store)
        [left] = list(first._pending())
        assert first._claim(left) is not None
        assert second._claim(left) is None
