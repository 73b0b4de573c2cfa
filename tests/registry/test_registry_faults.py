"""Every fault at every storage call of what changes a registry, and of a collection beside it: all of it or nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from registry_changes import (
    OPERATIONS,
    calls_of,
    collect,
    copied,
    far,
    fill,
    memory,
    open_on,
    register,
    require_whole,
    several,
    state_of,
)

import mlflowish as mf
from mlflowish.errors import MlflowishError
from mlflowish.storage import LocalStorage, Storage
from mlflowish.testing.faults import At, Call, Fault, FaultyStorage
from mlflowish.testing.writers import fork

FAULTS = [Fault.FAIL_BEFORE, Fault.FAIL_AFTER, Fault.TORN, Fault.TWICE, Fault.DELAY, Fault.STALE_LIST, Fault.FULL]
KILLS = [Fault.KILL_BEFORE, Fault.KILL_AFTER]
SAMPLE = 15  # of the storage calls, an ordinary run tries one in so many


def matters(fault: Fault, call: Call) -> bool:
    """Does the fault do anything to such a call?"""
    writes = call.operation in ("put", "put_if_absent", "stage.write", "stage.commit", "append.write", "open_append")
    if fault in (Fault.TORN, Fault.FULL):
        return writes
    if fault is Fault.STALE_LIST:
        return call.operation == "list"
    return fault not in (Fault.TWICE, Fault.DELAY, Fault.LATE) or writes or call.operation == "delete"


def chosen(calls: list[Call], fault: Fault, every: int) -> list[Call]:
    return [call for call in calls if matters(fault, call)][_number(fault) % every :: every]


def _number(fault: Fault) -> int:
    return [*FAULTS, *KILLS, Fault.LATE].index(fault)


def require_all_or_nothing(
    operation: Callable[[mf.Store], None],
    inner: Storage,
    error: MlflowishError | None,
    before: dict[str, Any],
    after: dict[str, Any],
    call: Call,
) -> None:
    store = require_whole(inner)
    found = state_of(store)
    if operation is collect:
        assert found == before, call
    elif error is None:
        assert found == after, call
    elif error.data.get("outcome") == "unknown":
        assert found in (before, after), call
    else:
        assert found == before, (call, error)
    if operation is not collect and found == before:
        operation(store)
        assert state_of(store) == after, call
    for _ in range(2):  # in a bucket, what the first one marks the second one deletes
        collect(store)
    named = {name for _, value in store.catalog.snapshot().scan("models/versions/") for name, _ in value["refs"]}
    assert {info.path.rpartition("/")[2] for info in inner.list("objects")} == named, call
    store.close()
    require_whole(inner).close()


def try_faults(
    make: Callable[[], Storage], operation: Callable[[mf.Store], None], fault: Fault, every: int, *, late_by: int = 1
) -> None:
    template = make()
    fill(template)
    before, done = state_of(open_on(template)), copied(template, make())
    calls = calls_of(operation, done)
    after = state_of(open_on(done))
    for call in chosen(calls, fault, every):
        inner = copied(template, make())
        storage = FaultyStorage(inner, At(call.number, fault), delay_s=0.001, late_by=late_by)
        faulty = open_on(storage)
        error: MlflowishError | None = None
        try:
            operation(faulty)
        except MlflowishError as raised:
            error = raised
        storage.arrive()
        require_all_or_nothing(operation, inner, error, before, after, call)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_at_some_calls_leaves_all_of_it_or_nothing(operation: Callable[[mf.Store], None], fault: Fault) -> None:
    try_faults(memory, operation, fault, SAMPLE)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_arrives_late_at_a_bucket_leaves_all_of_it_or_nothing(operation: Callable[[mf.Store], None]) -> None:
    try_faults(far, operation, Fault.LATE, SAMPLE, late_by=2)


@pytest.mark.nightly
@pytest.mark.parametrize("late_by", [1, 2, 4, 8, 1_000])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_whatever_arrives_late_at_a_bucket_leaves_all_of_it_or_nothing(
    operation: Callable[[mf.Store], None], late_by: int
) -> None:
    try_faults(far, operation, Fault.LATE, 1, late_by=late_by)


@pytest.mark.parametrize("passes", [1, 2])
def test_a_deletion_that_arrives_when_the_same_bytes_are_needed_again_takes_nothing(passes: int) -> None:
    """In a bucket the first collection marks, the second one deletes."""
    template = far()
    fill(template)
    for _ in range(passes - 1):
        collect(open_on(template))
    deleted = set()
    for call in calls_of(collect, copied(template, far())):
        if call.operation != "delete":
            continue
        inner = copied(template, far())
        storage = FaultyStorage(inner, At(call.number, Fault.LATE), late_by=10_000)
        with contextlib.suppress(MlflowishError):
            collect(open_on(storage))
        store = open_on(inner)
        ref = store.objects.put(b"of nobody")
        with store.catalog.transaction() as tx:
            tx.put("mine", {"refs": [[ref.name, ref.size_bytes]]})
        storage.arrive()
        assert inner.get(ref.path) == b"of nobody", call
        require_whole(inner).close()
        deleted.add(call.path.split("/")[0])
    assert ("objects" in deleted) == (passes == 2)


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("make", [memory, far])
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_at_any_call_leaves_all_of_it_or_nothing(
    make: Callable[[], Storage], operation: Callable[[mf.Store], None], fault: Fault
) -> None:
    try_faults(make, operation, fault, 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("operation", [register, several, collect])
@pytest.mark.parametrize("every", [25, pytest.param(1, marks=[pytest.mark.nightly, pytest.mark.timeout(1800)])])
@pytest.mark.parametrize("fault", KILLS)
def test_death_at_a_call_leaves_all_of_it_or_nothing(
    tmp_path: Path, operation: Callable[[mf.Store], None], fault: Fault, every: int
) -> None:
    def make() -> LocalStorage:
        return LocalStorage(tmp_path / uuid.uuid4().hex, fsync="never")

    template = memory()
    fill(template)
    before, done = state_of(open_on(template)), copied(template, make())
    calls = calls_of(operation, done)
    after = state_of(open_on(done))
    killed = 0
    for call in chosen(calls, fault, every):
        inner = copied(template, make())
        plan = At(call.number, fault)
        child = fork(lambda inner=inner, plan=plan: operation(open_on(FaultyStorage(inner, plan))))
        status = os.waitpid(child, 0)[1]
        if os.WIFSIGNALED(status):
            assert os.WTERMSIG(status) == signal.SIGKILL, call
            killed += 1
            error = None if state_of(open_on(inner)) == after else mf.StorageError("killed", outcome="unknown")
        else:
            # It ended first: a read of what is not there raises and is not followed by anything, and the last calls are
            # those of the thread that looks for webhooks.
            assert os.WEXITSTATUS(status) in (0, 2), call
            error = None
        require_all_or_nothing(operation, inner, error, before, after, call)
    assert killed > 0
