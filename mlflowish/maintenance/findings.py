"""What a check can find: one kind for each code, and one record for each finding. `docs/maintenance.md` lists them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from mlflowish.store.display import card
from mlflowish.store.table import Table

Severity = Literal["error", "warning", "note"]
MOST_FINDINGS = 10_000  # of one code are listed; all are counted


@dataclass(frozen=True, slots=True)
class Kind:
    """How bad one kind of finding is, what it means, and what a repair does ('' if it can do nothing)."""

    severity: Severity
    meaning: str
    repair: str = ""


_ASIDE = "its good records are written anew, the file goes to `quarantine/`"
_COPY = "a good copy takes its place if one is at hand"
KINDS: dict[str, Kind] = {
    "format-missing": Kind("error", "objects or journals without a FORMAT record", "a new one is written"),
    "format-damaged": Kind(
        "error", "FORMAT is not the record of a store", "a new one is written if all else is a store's"
    ),
    "object-damaged": Kind("error", "the bytes are not those of the name", f"moved to `quarantine/`; {_COPY}"),
    "object-misplaced": Kind("warning", "an object in the wrong folder", "moved to its own folder"),
    "object-missing": Kind(
        "error", "an entry names an object that is not there", "the entry is forgotten, so it is computed again"
    ),
    "reference-missing": Kind("error", "the catalog or a run names an object that is not there", _COPY),
    "journal-damaged": Kind("error", "bytes of a journal are no records", _ASIDE),
    "journal-torn": Kind(
        "note", "a writer died while it appended; nothing acknowledged is lost", "merged into a segment"
    ),
    "journal-empty": Kind("note", "a writer died before its first record", "removed"),
    "segment-damaged": Kind("error", "a segment is not what its name says", _ASIDE),
    "segment-malformed": Kind("error", "records or index of a segment are in disorder", _ASIDE),
    "record-unreadable": Kind("warning", "a record makes no sense; readers pass over it", "dropped"),
    "record-unknown": Kind("note", "a record of a kind that this version does not know; it is left alone"),
    "table-damaged": Kind("warning", "a file of the table of runs is damaged", "removed; searches make it anew"),
    "table-wrong": Kind("error", "the table of runs says something else than the records", "removed as a whole"),
    "catalog-damaged": Kind(
        "error",
        "a record of the catalog's log is damaged, missing or out of its chain",
        "a floor that is damaged, or whose checkpoint is, is set to the next sound one with all records after it",
    ),
    "checkpoint-damaged": Kind(
        "warning", "a checkpoint of the catalog is damaged or disagrees with the log", "written anew from the log"
    ),
    "hint-damaged": Kind("warning", "the catalog's hint makes no sense", "removed"),
    "lease-damaged": Kind("warning", "a lease makes no sense", "removed"),
    "lease-stale": Kind("note", "a lease that nobody renewed for a day", "removed"),
    "unreadable": Kind("error", "a part of the store could not be looked at"),
    "link": Kind("error", "a symbolic link, which no store writes and none follows"),
    "stray": Kind("warning", "a file that is no part of a store; it is left alone"),
    "quarantine": Kind("note", "damaged bytes that were put aside; `gc` removes them"),
    "leftover": Kind("note", "an unfinished file that a dead process left", "removed"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as `docs/format.md` says.

    `code` is stable; `path` is relative to the store (of a record: its kind and key); `what` was found; `repair` is
    what `repair=True` does about it, '' for nothing; `is_repaired` says whether it was done, `hindrance` why not.
    """

    code: str
    path: str
    what: str
    is_repaired: bool = False
    hindrance: str = ""

    @property
    def severity(self) -> Severity:
        """`error`: something stored cannot be read. `warning`: out of order, harmless. `note`: ordinary remains."""
        return KINDS[self.code].severity

    @property
    def repair(self) -> str:
        return KINDS[self.code].repair

    def document(self) -> dict[str, object]:
        """For programs."""
        return {
            "code": self.code,
            "severity": self.severity,
            "path": self.path,
            "what": self.what,
            "repair": self.repair,
            "repaired": self.is_repaired,
            "hindrance": self.hindrance,
        }


@dataclass(frozen=True, slots=True)
class FsckReport:
    """What a check of a store found and counted."""

    store: str
    findings: tuple[Finding, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    unlisted: int = 0

    @property
    def is_sound(self) -> bool:
        """Is nothing wrong any more? Notes, and what was repaired, do not count."""
        return not self.unlisted and all(found.is_repaired or found.severity == "note" for found in self.findings)

    def of(self, code: str) -> list[Finding]:
        """The findings of one code."""
        return [found for found in self.findings if found.code == code]

    def to_table(self) -> Table:
        """A row for each finding."""
        columns = ("severity", "code", "path", "what", "repair", "repaired")
        rows = [(f.severity, f.code, f.path, f.what, f.hindrance or f.repair, f.is_repaired) for f in self.findings]
        return Table(columns, rows)

    def document(self) -> dict[str, object]:
        """For programs."""
        return {
            "store": self.store,
            "sound": self.is_sound,
            "counts": self.counts,
            "unlisted": self.unlisted,
            "findings": [found.document() for found in self.findings],
        }

    def __repr__(self) -> str:
        return f"FsckReport({self})"

    def __str__(self) -> str:
        if not self.findings:
            return f"{self.store}: nothing wrong in {_counted(self.counts)}"
        severities = Counter(found.severity for found in self.findings)
        repaired = sum(found.is_repaired for found in self.findings)
        said = ", ".join(f"{count} {severity}s" for severity, count in severities.items())
        return f"{self.store}: {said} ({repaired} repaired) in {_counted(self.counts)}"

    def _repr_html_(self) -> str:
        found = [(finding.code, f"{finding.path}: {finding.what}") for finding in self.findings[:20]]
        return card("fsck", [("result", str(self)), *found])


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items()) or "an empty place"
