"""Processes that register and purge the same few models beside collections, all of them killed at random instants."""

from __future__ import annotations

import random
import time

import pytest
from registry_processes import Worker

import mlflowish as mf


@pytest.mark.parametrize(
    ("writers", "collectors", "rounds"),
    [(2, 1, 3), pytest.param(6, 2, 150, marks=[pytest.mark.nightly, pytest.mark.timeout(3000)])],
    ids=["short", "long"],
)
def test_a_model_that_was_registered_is_there_whatever_is_collected_beside_it(tmp_path, writers, collectors, rounds):
    place, chance = (str(tmp_path / "store"), {}), random.Random()
    doing = ["register_and_purge"] * writers + ["collect"] * collectors
    workers, told, deleted = [start(place, what) for what in doing], [], 0
    for worker in workers:
        worker.wait_until_ready()
        worker.go()
    done = 0
    while done < rounds or not deleted:
        which = chance.randrange(len(workers))
        first = workers[which].line()  # it has done something
        time.sleep(chance.random() * 0.5)  # killed at any instant of what it does next
        lines = [first, *workers[which].kill()]
        if doing[which] == "collect":
            deleted += sum(lines)
        else:
            told += lines
        workers[which] = start(place, doing[which])
        workers[which].wait_until_ready()
        workers[which].go()
        done += 1
    for worker, what in zip(workers, doing, strict=True):
        told += worker.kill() if what != "collect" else worker.kill()[:0]
    check(mf.Store(place[0]), told)


def start(place, what):
    return Worker(place, what, *(["churn"] if what != "collect" else []))


def check(store, told):
    """Every version is whole; what was registered, and nobody began to purge, has the value that it was given."""
    report = mf.fsck(store)
    assert report.is_sound, report.to_table()
    given = {version: value for what, version, value in told if what == "registered"}
    purging = {version for what, version, _ in told if what == "purging"}
    found = {version.version: version for version in mf.registry.versions("churn", deleted=True, store=store)}
    assert set(given) <= set(found)
    for number, version in found.items():
        if version.record.is_purged:
            assert number in purging
        elif number in given:
            assert version.load() == given[number]
        else:
            version.load()
    mf.gc(store, dry_run=False, grace=0)
    for number in set(given) - purging:
        assert mf.load_model("churn", version=number, store=mf.Store(store.url)) == given[number]
    assert len(given) > 2
