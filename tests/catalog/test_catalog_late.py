"""Records that reach a bucket long after their writer was told that they had not: none counts twice."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest

from mlflowish.catalog import Catalog, Transaction
from mlflowish.errors import ConflictError, StorageError
from mlflowish.storage import Capabilities, MemoryStorage
from mlflowish.storage.base import Buffer

pytestmark = pytest.mark.any_python


class LateStorage(MemoryStorage):
    """A bucket to which records of the log are sent, and not answered, while `is_lossy`: they `arrive` at a later call
    of choice."""

    is_lossy = False
    calls = 0
    arrives_at: int | None = None
    sent: tuple[str, bytes] | None = None

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(append=False)

    def put_if_absent(self, path: str, data: Buffer) -> bool:
        self._count()
        if self.is_lossy and path.startswith("catalog/log/"):
            self.sent = path, bytes(data)
            raise StorageError(f"No answer to {path}", path=path)
        return super().put_if_absent(path, data)

    def get(self, path: str, start: int = 0, end: int | None = None) -> bytes:
        self._count()
        return super().get(path, start, end)

    def _count(self) -> None:
        self.calls += 1
        if self.calls == self.arrives_at:
            self.arrive()

    def arrive(self) -> bool:
        assert self.sent is not None
        return super().put_if_absent(*self.sent)


def note(tx: Transaction) -> str:
    """Reads nothing that anybody writes."""
    tx.put(f"note/{uuid.uuid4().hex}", 1)
    return "noted"


def lost(storage: LateStorage, write: Callable[[Catalog], object]) -> str:
    """The id of a transaction of which nobody knows what became."""
    storage.is_lossy = True
    with pytest.raises(StorageError) as caught:
        write(Catalog(storage))
    storage.is_lossy = False
    assert caught.value.outcome == "unknown"
    return str(caught.value.id)


def write_block(catalog: Catalog) -> None:
    with catalog.transaction() as tx:
        note(tx)


def try_again(catalog: Catalog, given_id: str) -> None:
    catalog.transact(note, id=given_id)


WRITES = {
    "its own id": lambda catalog: catalog.transact(note),
    "a given id": lambda catalog: catalog.transact(note, id="mine"),
    "a block": write_block,
}


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six tries in vain take a second otherwise, for each call of the other try."""
    monkeypatch.setattr("mlflowish.catalog.committing._FAR_PAUSE_S", 1e-6)


@pytest.mark.parametrize(("written", "before"), [*((written, 3) for written in WRITES), ("its own id", 63)])
def test_a_record_that_arrives_at_any_call_of_another_try_is_applied_once(written: str, before: int) -> None:
    template = MemoryStorage(f"late-{uuid.uuid4().hex}")
    for _ in range(before):
        Catalog(template).transact(lambda tx: tx.put("other", 1))
    outcomes = set()
    for arrives_at in range(1, 1000):
        storage = LateStorage(f"late-{uuid.uuid4().hex}")
        for info in template.list(""):
            storage.put(info.path, template.get(info.path))
        given_id = lost(storage, WRITES[written])
        storage.calls, storage.arrives_at = 0, arrives_at
        try_again(Catalog(storage), given_id)
        has_arrived = storage.calls >= arrives_at
        if not has_arrived:
            storage.arrive()
        reader = Catalog(storage)
        changes = [change for commit in reader.log() for change in commit.transactions if change.id == given_id]
        assert len(changes) == 1, f"arrived at call {arrives_at}"
        assert len([*reader.snapshot().scan("note/")]) == 1
        outcomes.add(has_arrived)
        if not has_arrived:
            break
    assert outcomes == {True, False}


def test_who_can_no_longer_tell_what_came_between_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlflowish.catalog.view._RECENT", 0)
    storage = LateStorage(f"late-{uuid.uuid4().hex}")
    given_id = lost(storage, WRITES["its own id"])
    handle = Catalog(storage)
    with pytest.raises(ConflictError, match="no longer at hand"), handle.transaction(id=given_id) as tx:
        note(tx)
        assert storage.arrive()
        for number in range(130):
            handle.transact(lambda other, number=number: other.put("other", number))  # type: ignore[misc]  # a lambda with a default
    assert handle.transact(note, id=given_id) is None
    assert len([*handle.snapshot().scan("note/")]) == 1
