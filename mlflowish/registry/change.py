"""One change to one model in a transaction: its events are numbered, recorded, and told to hooks after the commit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from mlflowish.errors import StateError
from mlflowish.registry import records, telling
from mlflowish.registry.names import model_name
from mlflowish.registry.records import EventRecord, Head, VersionRecord, numbered
from mlflowish.registry.rules import ARCHIVED, StageRules
from mlflowish.registry.shelf import Shelf, request_key
from mlflowish.registry.who import acting

if TYPE_CHECKING:
    from mlflowish.store import Store

Result = TypeVar("Result")


def changed(
    name: object, apply: Callable[[Change], Result], *, who: str | None, store: Any, creates: bool = False
) -> Result:
    """Make a change to one model, all of it or nothing, and give what `apply` returns.

    `apply` runs again after a conflict with another writer. Inside `mf.transaction()` the change is part of that.
    """
    from mlflowish.store import as_store

    model, by, opened = model_name(name), acting(who), as_store(store)

    def run(tx: Any) -> Result:
        change = Change(tx, opened, model, by, creates=creates)
        result = apply(change)
        change.finish()
        return result

    result: Result = opened.transact(run)
    return result


class Change:
    """Writes to one model. Nothing counts before `finish`, nor before the transaction commits."""

    def __init__(self, tx: Any, store: Store, name: str, who: str, *, creates: bool = False) -> None:
        self.tx, self.store, self.name, self.who = tx, store, name, who
        self.shelf = Shelf(tx, name)
        self._before = self.shelf.find_head() if creates else self.shelf.head()
        self.head = self._before if self._before is not None else Head(created_s=tx.now_s, who=who)
        self._events: list[tuple[int, EventRecord]] = []
        self._new_versions = self._new_events = 0  # that the head does not count yet

    @property
    def rules(self) -> StageRules:
        """The stages of the model and what is permitted."""
        return self.head.stage_rules

    def move(self, number: int, target: str, *, archive_existing: bool, comment: str, action: str = "moved") -> None:
        """Put a version into a stage, and whoever holds it, if it is exclusive, into `archived`.

        A version that is there already stays, and nothing is recorded.
        """
        record, rules = self.shelf.version(number), self.rules
        rules.require_stage(target, self.name)
        if record.stage == target:
            return
        rules.require_move(self.name, number, record.stage, target)
        if target in rules.exclusive:
            self._make_room(target, number, archive_existing=archive_existing)
        self.place(number, record, target, action, comment)

    def add(self, record: VersionRecord, comment: str) -> int:
        """A new version, with the next number."""
        self._new_versions += 1
        number = self.head.versions + self._new_versions
        self.bring_in(number, record)
        self.note(number, "registered", None, record.stage, comment)
        return number

    def place(self, number: int, record: VersionRecord, target: str, action: str, comment: str) -> None:
        """Write where a version is from now on, with its event."""
        self.tx.delete(self._index_key(record.stage, number))
        self.tx.put(self._index_key(target, number), {"since_s": self.tx.now_s})
        self.put(number, replace(record, stage=target))
        if self.shelf.find_request(number, target) is not None:
            self.tx.delete(request_key(self.name, number, target))
        self.note(number, action, record.stage, target, comment)

    def bring_in(self, number: int, record: VersionRecord) -> None:
        """Write a version, and that it is in its stage."""
        self.put(number, record)
        self.tx.put(self._index_key(record.stage, number), {"since_s": self.tx.now_s})

    def take_out(self, number: int, record: VersionRecord) -> None:
        """Write that no stage, no alias and no request has the version any more."""
        self.tx.delete(self._index_key(record.stage, number))
        for alias in self.shelf.aliases_of(number):
            self.tx.delete(f"{records.ALIASES}/{self.name}/{alias}")
        for request in list(self.shelf.requests()):
            if request.version == number:
                self.tx.delete(request_key(self.name, number, request.stage))

    def put(self, number: int, record: VersionRecord) -> None:
        """Write the record of a version."""
        self.tx.put(f"{records.VERSIONS}/{self.name}/{numbered(number)}", record.value())

    def note(self, number: int, action: str, source: str | None, target: str | None, comment: str) -> None:
        """Record an event, under the next number of the model's history."""
        self._new_events += 1
        sequence = self.head.events + self._new_events
        event = EventRecord(number, action, source, target, self.tx.now_s, self.who, comment)
        self.tx.put(f"{records.HISTORY}/{self.name}/{numbered(sequence)}", event.value())
        self._events.append((sequence, event))

    def save_head(self) -> None:
        """Write what all versions share, if it changed."""
        if self._new_versions or self._new_events:
            versions, events = self.head.versions + self._new_versions, self.head.events + self._new_events
            self.head = replace(self.head, versions=versions, events=events)
            self._new_versions = self._new_events = 0
        if self.head != self._before:
            self.tx.put(f"{records.NAMES}/{self.name}", self.head.value())
            self._before = self.head

    def finish(self) -> None:
        """Write what all versions share, and let hooks hear of it once it is committed."""
        self.save_head()
        events, store, name = self._events, self.store, self.name
        deliveries = telling.enqueue(self.tx, name, events)
        self.tx.on_commit(lambda: telling.tell(store, name, events, deliveries))

    def _make_room(self, stage: str, number: int, *, archive_existing: bool) -> None:
        for other in self.shelf.in_stage(stage):
            if not archive_existing:
                what = (
                    f"{self.name} version {other} is in {stage}, which holds one version, so version {number} cannot "
                    "join it"
                )
                raise StateError(
                    f"{what}. Use archive_existing=True to archive version {other}, or move that first",
                    refused="taken",
                    what=what,
                    model=self.name,
                    stage=stage,
                    version=number,
                    holder=other,
                )
            comment = f"version {number} took its place in {stage}"
            self.place(other, self.shelf.version(other), ARCHIVED, "displaced", comment)

    def _index_key(self, stage: str, number: int) -> str:
        return f"{records.STAGES}/{self.name}/{stage}/{numbered(number)}"
