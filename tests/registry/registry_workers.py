"""What the processes of the tests do. Each line that one prints is acknowledged: it must be true for ever."""

from __future__ import annotations

import itertools
import json
import os
import random
import time

import mlflowish as mf
from mlflowish.registry import outbox


def say(*what):
    print(json.dumps(what), flush=True)


def register(store, name, count):
    """Registers, one after the other."""
    for number in range(count):
        version = mf.register_model(name, {"pid": os.getpid(), "number": number}, store=store)
        say(version.version, os.getpid(), number)


def promote(store, name, versions):
    """Moves each of its versions into production."""
    for version in versions:
        before = time.time()
        mf.registry.transition(name, version, "production", comment=str(version), store=store)
        say(version, before, time.time())


def promote_unless_taken(store, name, version, times):
    """Takes production so many times when it is free, and frees it again."""
    for _ in range(times):
        while True:
            try:
                mf.registry.transition(name, version, "production", archive_existing=False, store=store)
            except mf.StateError:
                continue
            break
        say(version)
        mf.registry.transition(name, version, "archived", store=store)


def work_until_killed(store, name):
    """Registers into production for ever: each acknowledged version is printed."""
    for number in itertools.count():
        value = {"pid": os.getpid(), "number": number}
        version = mf.register_model(name, value, stage="production", alias="champion", store=store)
        say(version.version, os.getpid(), number)


def register_and_purge(store, name):
    """Registers one of a few values, and purges half of its versions, for ever: their bytes go and come again."""
    chance = random.Random(os.urandom(8))
    while True:
        value = {"number": chance.randrange(3)}
        try:
            version = mf.register_model(name, value, store=store).version
        except mf.ConflictError as error:  # several collections without any grace took what was stored each time
            if not error.doomed:
                raise
            continue
        say("registered", version, value)
        if chance.random() < 0.5:
            say("purging", version, value)
            mf.registry.delete(name, version, store=store)
            mf.registry.purge(name, version, store=store)


def collect(store):
    """Collects without any grace, for ever: how many objects each time."""
    while True:
        print(mf.gc(store, dry_run=False, grace=0).objects.count, flush=True)


def move_and_hang(store, name, url):
    """Moves a version, of which a webhook is to hear, and lives on."""
    mf.registry.on_transition(url, store=store)
    mf.register_model(name, 1, stage="production", store=store)
    say("moved")
    time.sleep(600)


def move_and_end(store, name, exit_s=outbox.EXIT_S):
    """Moves a version and ends at once, but for so long as it has for deliveries."""
    outbox.EXIT_S = exit_s
    mf.register_model(name, 1, stage="production", store=store)
    say("moved")


def swap(store, first, second, rounds):
    """Moves two models in one transaction, so that the same version of both is in production."""
    for round_number in range(rounds):
        version = 1 + (round_number + os.getpid()) % 2
        for _ in range(200):
            try:
                with mf.transaction(store=store):
                    mf.registry.transition(first, version, "production", store=store)
                    mf.registry.transition(second, version, "production", store=store)
            except mf.ConflictError:
                continue
            break
        else:
            raise AssertionError("200 conflicts in a row")
        say(version)
