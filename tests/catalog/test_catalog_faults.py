"""Every fault at every call of a commit, a checkpoint and a cleaning: what was acknowledged is there, exactly once."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from far_storage import FarStorage

from mlflowish.catalog import Catalog, Transaction
from mlflowish.catalog.cleaning import clean
from mlflowish.errors import MlflowishError, StorageError
from mlflowish.storage import LocalStorage, MemoryStorage, Storage
from mlflowish.testing.faults import At, Call, Fault, FaultyStorage, On
from mlflowish.testing.writers import fork

# What is written, and in which order, is the same whatever runs it.
pytestmark = pytest.mark.any_python

FAULTS = [Fault.FAIL_BEFORE, Fault.FAIL_AFTER, Fault.TORN, Fault.TWICE, Fault.DELAY, Fault.STALE_LIST, Fault.FULL]
Operation = Callable[[Catalog], object]


@pytest.fixture(params=[MemoryStorage, FarStorage], ids=["near", "far"])
def make(request: pytest.FixtureRequest) -> Callable[[], Storage]:
    return lambda: request.param(f"faults-{uuid.uuid4().hex}")


def add(key: str, size: int = 0) -> Callable[[Transaction], None]:
    def function(tx: Transaction) -> None:
        tx.put(key, {"n": tx.get(key, {"n": 0})["n"] + 1, "x": "x" * size})

    return function


def filled(storage: Storage, commits: int) -> Catalog:
    catalog = Catalog(storage)
    for number in range(commits):
        catalog.transact(add(f"k/{number % 7}"))
    return catalog


def commit_small(catalog: Catalog) -> None:
    catalog.transact(add("mine"), comment="mine")


def commit_large(catalog: Catalog) -> None:
    catalog.transact(add("mine", 70_000), comment="mine")


def commit_with_id(catalog: Catalog) -> None:
    catalog.transact(add("mine"), id="mine", comment="mine")


def commit_and_clean(catalog: Catalog) -> None:
    commit_small(catalog)
    clean(catalog.history, keep_s=-1.0, keep_slots=0, untouched_s=-1.0)


def commits_of(catalog: Catalog) -> int:
    found = catalog.snapshot().get("mine")
    return 0 if found is None else int(found["n"])


def rest(catalog: Catalog) -> dict[str, object]:
    return dict(catalog.snapshot().scan("k/"))


# (operation, commits before it): the last of a group of slots makes a checkpoint, more than one group can be cleaned.
CASES: dict[str, tuple[Operation, int]] = {
    "the first commit": (commit_small, 0),
    "a commit": (commit_small, 3),
    "a long commit": (commit_large, 3),
    "a commit with an id": (commit_with_id, 3),
    "a commit that makes a checkpoint": (commit_small, 63),
    "a commit upon a checkpoint that makes another": (commit_small, 127),
    "a cleaning": (commit_and_clean, 140),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_at_any_call_leaves_what_was_acknowledged(make: Callable[[], Storage], case: str, fault: Fault) -> None:
    try_faults(make, case, fault)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("late_by", [2, *(pytest.param(by, marks=pytest.mark.nightly) for by in (1, 3, 5, 9))])
def test_what_arrives_late_leaves_what_was_acknowledged(case: str, late_by: int) -> None:
    """Of a local disk nothing does."""
    try_faults(lambda: FarStorage(f"faults-{uuid.uuid4().hex}"), case, Fault.LATE, late_by=late_by)


def try_faults(make: Callable[[], Storage], case: str, fault: Fault, *, late_by: int = 1) -> None:
    operation, before = CASES[case]
    template = make()
    expected = rest(filled(template, before))
    for call in calls_of(operation, copied(template, make())):
        if not matters(fault, call):
            continue
        inner = copied(template, make())
        storage = FaultyStorage(inner, At(call.number, fault), delay_s=0.001, late_by=late_by)
        faulty = Catalog(storage)
        error: MlflowishError | None = None
        try:
            operation(faulty)
        except MlflowishError as raised:
            error = raised
        reader = Catalog(inner)
        found = commits_of(reader)
        if error is None:
            assert found == 1, call
        elif error.data.get("outcome") == "unknown":
            reader.transact(add("mine"), id=error.data["id"])
            assert commits_of(reader) == 1, call
        elif case != "a cleaning":
            assert (found, error.data.get("outcome", "not committed")) == (0, "not committed"), (call, error)
        assert rest(reader) == expected, call
        for handle in (faulty, Catalog(inner)):
            handle.transact(add("after"))
        storage.arrive()
        assert Catalog(inner).snapshot().get("after")["n"] == 2, call


def calls_of(operation: Operation, inner: Storage) -> list[Call]:
    """The calls of the operation; of the reads and deletions in one folder, which are all alike, the first two and the
    last."""
    counted = FaultyStorage(inner)
    operation(Catalog(counted))
    alike: dict[tuple[str, str], list[Call]] = {}
    for call in counted.calls:
        if call.operation in ("get", "delete"):
            alike.setdefault((call.operation, call.path.split("/")[1]), []).append(call)
    skipped = {call.number for calls in alike.values() for call in calls[2:-1]}
    return [call for call in counted.calls if call.number not in skipped]


def matters(fault: Fault, call: Call) -> bool:
    """Does the fault do anything to such a call?"""
    writes = call.operation in ("put", "put_if_absent")
    if fault in (Fault.TORN, Fault.FULL):
        return writes
    if fault is Fault.STALE_LIST:
        return call.operation == "list"
    return fault not in (Fault.TWICE, Fault.DELAY, Fault.LATE) or writes or call.operation == "delete"


def copied(template: Storage, target: Storage) -> Storage:
    for info in template.list(""):
        target.put(info.path, template.get(info.path))
    return target


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(
    "case",
    [
        "a long commit",
        pytest.param("a commit upon a checkpoint that makes another", marks=pytest.mark.nightly),
        pytest.param("a cleaning", marks=pytest.mark.nightly),
    ],
)
@pytest.mark.parametrize("fault", [Fault.KILL_BEFORE, Fault.KILL_AFTER])
def test_death_at_any_call_leaves_what_was_acknowledged(tmp_path: Path, case: str, fault: Fault) -> None:
    operation, before = CASES[case]

    def make() -> LocalStorage:
        return LocalStorage(tmp_path / uuid.uuid4().hex, fsync="never")

    template = MemoryStorage(f"faults-{uuid.uuid4().hex}")
    expected = rest(filled(template, before))
    for call in calls_of(operation, copied(template, make())):
        inner = copied(template, make())
        child = fork(lambda inner=inner, call=call: operation(Catalog(FaultyStorage(inner, At(call.number, fault)))))  # type: ignore[misc]
        # A read of what is not there raises, and is not followed by anything.
        is_alive = fault is Fault.KILL_AFTER and call.operation == "get"
        assert is_alive or os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL, call
        if is_alive:
            os.waitpid(child, 0)
        reader = Catalog(inner)
        assert commits_of(reader) <= 1, call
        assert rest(reader) == expected, call
        reader.transact(add("after"))
        operation(Catalog(inner))
        assert (commits_of(Catalog(inner)) > 0, Catalog(inner).snapshot().get("after")["n"]) == (True, 1), call


def test_a_commit_whose_outcome_stays_unknown_says_so_and_is_not_applied_twice(make: Callable[[], Storage]) -> None:
    inner = make()
    filled(inner, 2)

    def plan(call: Call) -> Fault | None:
        """The record is put, its answer is lost, and then nothing answers any more."""
        if call.operation == "put_if_absent" and call.path.endswith("2"):
            return Fault.FAIL_AFTER
        is_after = any(earlier.operation == "put_if_absent" for earlier in faulty.storage.calls)  # type: ignore[attr-defined]
        return Fault.FAIL_BEFORE if is_after else None

    faulty = Catalog(FaultyStorage(inner, plan))
    with pytest.raises(StorageError, match=r"unknown whether .* Try again with id=") as caught:
        faulty.transact(add("mine"))
    assert caught.value.outcome == "unknown"
    for handle in (Catalog(inner), Catalog(inner)):
        handle.transact(add("mine"), id=caught.value.id)
    assert commits_of(Catalog(inner)) == 1


def test_reading_works_where_writing_does_not(make: Callable[[], Storage]) -> None:
    inner = make()
    expected = rest(filled(inner, 70))
    frozen = Catalog(FaultyStorage(inner, On("put_if_absent", Fault.FULL)))
    assert rest(frozen) == expected
    with pytest.raises(StorageError) as caught:
        frozen.transact(add("mine"))
    assert caught.value.outcome in ("not committed", "unknown")
    assert commits_of(frozen) == 0


def test_a_storage_without_agreement_is_refused_for_writing(make: Callable[[], Storage]) -> None:
    from mlflowish.errors import CapabilityError
    from mlflowish.storage import Capabilities

    class Unsafe(MemoryStorage):
        @property
        def capabilities(self) -> Capabilities:
            return Capabilities(put_if_absent=False, multi_writer=False)

    catalog = Catalog(Unsafe(f"unsafe-{uuid.uuid4().hex}"))
    assert catalog.snapshot().slot == -1
    with pytest.raises(CapabilityError, match="cannot be written"):
        catalog.transact(add("mine"))
    assert catalog.snapshot().slot == -1
