"""What happened to the versions of a model: who did what, when, from where to where, and why."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlflowish.registry.listing import Listing, cell, utc
from mlflowish.registry.records import EventRecord


@dataclass(frozen=True, slots=True)
class Transition:
    """One event in the life of a version.

    `action`: "registered", "moved", "displaced" (another version took its exclusive stage), "requested", "approved",
    "rejected", "withdrawn", "deleted", "restored", "purged", "alias set" or "alias removed". `from_stage` is None for a
    registration, `to_stage` for a deletion; they are equal when the event moved nothing. `sequence` counts the events
    of the model from 1 on, without a gap. `time` is in UTC.
    """

    name: str
    sequence: int
    version: int
    action: str
    from_stage: str | None
    to_stage: str | None
    who: str
    time: datetime.datetime
    comment: str = ""

    @classmethod
    def of(cls, name: str, sequence: int, event: EventRecord) -> Transition:
        return cls(
            name,
            sequence,
            event.version,
            event.action,
            event.from_stage,
            event.to_stage,
            event.who,
            utc(event.time_s),
            event.comment,
        )

    def document(self) -> dict[str, Any]:
        """For programs: plain values, the time as ISO 8601 text."""
        return {
            "model": self.name,
            "sequence": self.sequence,
            "version": self.version,
            "action": self.action,
            "from_stage": self.from_stage,
            "to_stage": self.to_stage,
            "who": self.who,
            "time": self.time.isoformat(timespec="milliseconds"),
            "comment": self.comment,
        }

    def __repr__(self) -> str:
        return f"Transition({self.sequence}: {self})"

    def _repr_html_(self) -> str:
        from mlflowish.store.display import card

        way = self.to_stage if self.from_stage in (None, self.to_stage) else f"{self.from_stage} -> {self.to_stage}"
        rows = [("stage", way or self.from_stage or ""), ("when", f"{cell(self.time)} by {self.who}")]
        rows += [("comment", self.comment)] if self.comment else []
        return card(f"{self.name} version {self.version}: {self.action}", rows)

    def __str__(self) -> str:
        if self.from_stage is None or self.to_stage is None:
            ends = (("from", self.from_stage), ("into", self.to_stage))
            way = "".join(f" {word} {stage}" for word, stage in ends if stage is not None)
        else:
            way = f" {self.from_stage} -> {self.to_stage}" if self.from_stage != self.to_stage else ""
        why = f": {self.comment}" if self.comment else ""
        return f"{self.name} version {self.version} {self.action}{way} by {self.who}{why}"


class Transitions(Listing[Transition]):
    """Events of a model, oldest first: a sequence of `Transition` that shows itself as a table."""

    columns = ("time", "version", "action", "from_stage", "to_stage", "who", "comment")


def wanted(event: Mapping[str, Any] | EventRecord, from_stage: str | None, to_stage: str | None) -> bool:
    """Does an event go from and to the stages that a hook asks for? None asks for any."""
    record = event if isinstance(event, EventRecord) else EventRecord.from_value(event)
    return from_stage in (None, record.from_stage) and to_stage in (None, record.to_stage)
