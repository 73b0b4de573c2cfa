"""Many processes at one registry: one winner at each instant, dense numbers, a complete history, nothing half."""

from __future__ import annotations

import random
import time
import uuid

import pytest
from registry_processes import Worker, together

import mlflowish as mf

registry = mf.registry


@pytest.fixture(
    params=[
        "local",
        pytest.param("seaweed", marks=pytest.mark.nightly),
        pytest.param("moto", marks=pytest.mark.any_python),
    ]
)
def place(request, tmp_path):
    """(location, options) of an empty store."""
    if request.param == "local":
        return str(tmp_path / "store"), {}
    return apart(request.getfixturevalue(f"{request.param}_url"))


def apart(place):
    """An empty place beside others of the same server."""
    return f"{place[0]}/{uuid.uuid4().hex}", place[1]


def is_local(place):
    return "://" not in place[0]


def states(store, prefix):
    """The keys below a prefix after each commit, from the log alone."""
    now = set()
    for commit in store.catalog.log():
        for transaction in commit.transactions:
            now |= {key for key in transaction.puts if key.startswith(prefix)}
            now -= set(transaction.deletes)
        yield commit, set(now)


def check(store, name):
    """What docs/format-registry.md says must hold, in the newest state and in the history."""
    found = registry.versions(name, deleted=True, store=store)
    assert [version.version for version in found] == list(range(1, len(found) + 1))
    history = registry.history(name, store=store)
    assert [event.sequence for event in history] == list(range(1, len(history) + 1))
    assert [event.time for event in history] == sorted(event.time for event in history)
    where = {}
    for event in history:
        assert where.get(event.version) == event.from_stage, event
        where[event.version] = event.to_stage
    assert where == {version.version: version.stage for version in found}


def promotions(place, processes, count):
    store = mf.Store(place[0], **place[1])
    first = mf.register_model("churn", 1, store=store)
    for _ in range(count - 1):
        mf.register_model("churn", first, store=store)
    shares = [list(range(1 + each, count + 1, processes)) for each in range(processes)]
    told = together([Worker(place, "promote", "churn", share) for share in shares])
    return store, [line for lines in told for line in lines]


@pytest.mark.parametrize("count", [100])
def test_a_hundred_promotions_at_once_have_one_winner_at_each_instant(tmp_path, count):
    store, told = promotions((str(tmp_path / "store"), {}), 8, count)
    check_promotions(store, told, count)


@pytest.mark.any_python
@pytest.mark.parametrize("count", [8, pytest.param(100, marks=pytest.mark.nightly)])
@pytest.mark.parametrize("server", ["moto_url", pytest.param("seaweed_url", marks=pytest.mark.nightly)])
def test_promotions_at_once_in_a_bucket_have_one_winner_at_each_instant(request, server, count):
    store, told = promotions(apart(request.getfixturevalue(server)), 4 if count < 100 else 8, count)
    check_promotions(store, told, count)


def check_promotions(store, told, count):
    check(store, "churn")
    holders = [sorted(keys) for _, keys in states(store, "models/stages/churn/production/")]
    assert max(map(len, holders)) == 1
    history = [event for event in registry.history("churn", store=store) if event.action != "registered"]
    moved = [event for event in history if event.action == "moved"]
    displaced = [event for event in history if event.action == "displaced"]
    assert sorted(event.version for event in moved) == list(range(1, count + 1))
    assert [event.version for event in displaced] == [event.version for event in moved[:-1]]
    assert registry.get("churn", stage="production", store=store).version == moved[-1].version
    # The order of the history is one that the clocks of the callers allow: whoever was told first came first.
    place_of = {event.version: place for place, event in enumerate(moved)}
    for version, _, end in told:
        for other, begin, _ in told:
            if end < begin:
                assert place_of[version] < place_of[other]


def test_taking_a_free_stage_without_archiving_is_won_by_one(tmp_path):
    place = (str(tmp_path / "store"), {})
    store = mf.Store(place[0])
    for _ in range(4):
        mf.register_model("churn", 1, store=store)
    told = together([Worker(place, "promote_unless_taken", "churn", each + 1, 3) for each in range(4)])
    won = sum(map(len, told))
    assert won == 4 * 3
    check(store, "churn")
    assert max(len(keys) for _, keys in states(store, "models/stages/churn/production/")) == 1
    actions = [event.to_stage for event in registry.history("churn", store=store)][4:]
    assert actions == ["production", "archived"] * won


@pytest.mark.parametrize("count", [3, pytest.param(50, marks=pytest.mark.nightly)])
def test_processes_that_register_at_once_get_dense_unique_numbers(place, count):
    workers = 8 if is_local(place) else 3
    told = [
        line
        for lines in together([Worker(place, "register", "churn", count) for _ in range(workers)])
        for line in lines
    ]
    assert sorted(version for version, _, _ in told) == list(range(1, workers * count + 1))
    store = mf.Store(place[0], **place[1])
    check(store, "churn")
    for version, pid, number in told:
        assert mf.load_model("churn", version=version, store=store) == {"pid": pid, "number": number}


def test_threads_that_register_at_once_get_dense_unique_numbers(store):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: mf.register_model("churn", {"n": n}, store=store).version, range(40)))
    assert sorted(found) == list(range(1, 41))
    check(store, "churn")


@pytest.mark.parametrize("rounds", [3, pytest.param(100, marks=[pytest.mark.nightly, pytest.mark.timeout(1800)])])
def test_a_death_in_the_middle_of_registering_and_promoting_leaves_nothing_half(tmp_path, rounds):
    place, generator, acknowledged = (str(tmp_path / "store"), {}), random.Random(7), []
    for _ in range(rounds):
        workers = [Worker(place, "work_until_killed", "churn") for _ in range(2)]
        for worker in workers:
            worker.wait_until_ready()
            worker.go()
        acknowledged += [worker.line() for worker in workers]
        time.sleep(generator.random() * 0.4)
        acknowledged += [line for worker in workers for line in worker.kill()]
    store = mf.Store(place[0])
    check(store, "churn")
    assert len(acknowledged) > rounds
    assert len({version for version, _, _ in acknowledged}) == len(acknowledged)
    for version, pid, number in acknowledged:
        assert mf.load_model("churn", version=version, store=store) == {"pid": pid, "number": number}
    for version in registry.versions("churn", store=store):
        version.load()
    last = registry.get("churn", store=store)
    assert (last.stage, last.aliases) == ("production", ("champion",))
    assert max(len(keys) for _, keys in states(store, "models/stages/churn/production/")) == 1


def test_moves_of_two_models_in_one_transaction_are_never_apart(tmp_path):
    place = (str(tmp_path / "store"), {})
    store = mf.Store(place[0])
    for name in ("a", "b"):
        for _ in range(2):
            mf.register_model(name, 1, store=store)
    together([Worker(place, "swap", "a", "b", 8) for _ in range(4)])
    for name in ("a", "b"):
        check(store, name)
    for commit, keys in states(store, "models/stages/"):
        held = {key.split("/")[2]: key.split("/")[4] for key in keys if key.split("/")[3] == "production"}
        assert held.get("a") == held.get("b"), commit.slot
