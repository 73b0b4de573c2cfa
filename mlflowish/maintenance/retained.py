"""What a retention did, or would do."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from mlflowish.store.display import card
from mlflowish.store.table import Table

DELETE, PURGE, DROP_CONSOLE, DROP_HARDWARE, KEEP = "delete", "purge", "drop console", "drop hardware", "keep"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What happens to a run, and why. `keep`: the policy would let it go, and something needs it."""

    run_id: str
    name: str
    experiment: str
    action: str
    why: str
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class RetentionReport:
    """What a retention did; what it would do after a dry run.

    `verdicts`: a row for each run that it touches or has to spare. `removed_records`, `removed_bytes`: of purged runs
    and dropped series, from the journals. `is_complete`: False if living processes hold records that are to go, or if
    they go in a later run (buckets): `mf.gc` or `mf.retain` removes them then.
    """

    store: str
    dry_run: bool
    verdicts: tuple[Verdict, ...] = ()
    removed_records: int = 0
    removed_bytes: int = 0
    is_complete: bool = True

    def count(self, action: str) -> int:
        """How many runs are to be treated so: `delete`, `purge`, `drop console`, `drop hardware`, `keep`."""
        return self.counts.get(action, 0)

    @property
    def counts(self) -> dict[str, int]:
        """How many runs by what happens to them."""
        return dict(Counter(verdict.action for verdict in self.verdicts))

    def to_table(self) -> Table:
        """A row for each verdict."""
        columns = ("run_id", "name", "experiment", "action", "why", "size_bytes")
        return Table(columns, [tuple(asdict(verdict).values()) for verdict in self.verdicts])

    def document(self) -> dict[str, Any]:
        """For programs."""
        return {**asdict(self), "verdicts": [asdict(verdict) for verdict in self.verdicts], "counts": self.counts}

    def __repr__(self) -> str:
        return f"RetentionReport({self})"

    def __str__(self) -> str:
        would = "would " if self.dry_run else ""
        parts = [f"{would}{action} {count:,}" for action, count in sorted(self.counts.items())]
        later = "" if self.is_complete else "; the rest of the records goes later"
        verb = "would remove" if self.dry_run else "removed"
        said = f"{verb} {self.removed_bytes:,} bytes of records{later}"
        return f"{self.store}: {', '.join(parts) or 'nothing to do'} ({said})"

    def _repr_html_(self) -> str:
        rows = [(f"{v.action} {v.name}", f"{v.experiment}: {v.why}") for v in self.verdicts[:20]]
        return card("retain", [("result", str(self)), *rows])
