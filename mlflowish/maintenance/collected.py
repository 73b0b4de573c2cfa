"""What a collection did, or would do."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

from mlflowish.store.display import card
from mlflowish.store.table import Table


@dataclass(frozen=True, slots=True)
class Pile:
    """So many things of so many bytes."""

    count: int = 0
    size_bytes: int = 0

    @classmethod
    def of(cls, sizes: dict[str, int]) -> Pile:
        return cls(len(sizes), sum(sizes.values()))


@dataclass(frozen=True, slots=True)
class GcReport:
    """What a collection did; what it would do after a dry run.

    `evicted`: results that the policy let go, and their records. `purged`: deleted versions of models whose files were
    given up, and the bytes of those (what others use too is kept). `objects`: deleted. `waiting`: objects that nothing
    reaches, marked now and deleted by a run that comes at least the grace later. `remains`: old damaged and unfinished
    files and leases. `log`: files of the catalog's log that cleaning removed, and `records`: what merging the journals
    saved (both unknown before they are done).
    """

    store: str
    dry_run: bool
    evicted: Pile = Pile()
    purged: Pile = Pile()
    objects: Pile = Pile()
    waiting: Pile = Pile()
    remains: Pile = Pile()
    log: Pile = Pile()
    records: Pile = Pile()

    @property
    def freed_bytes(self) -> int:
        """How much smaller the store is, or would be."""
        return sum(pile.size_bytes for pile in (self.objects, self.remains, self.log, self.records))

    def to_table(self) -> Table:
        """A row for each sort of things."""
        piles = [(f.name, getattr(self, f.name)) for f in fields(self) if isinstance(getattr(self, f.name), Pile)]
        return Table(("what", "count", "bytes"), [(name, pile.count, pile.size_bytes) for name, pile in piles])

    def document(self) -> dict[str, object]:
        """For programs."""
        return {**asdict(self), "freed_bytes": self.freed_bytes}

    def __repr__(self) -> str:
        return f"GcReport({self})"

    def __str__(self) -> str:
        verb = "would free" if self.dry_run else "freed"
        purged = f"{self.purged.count:,} deleted model versions purged, " if self.purged.count else ""
        waiting = f"; {self.waiting.count:,} objects wait for a later run" if self.waiting.count else ""
        return (
            f"{self.store}: {verb} {self.freed_bytes:,} bytes ({self.evicted.count:,} results let go, {purged}"
            f"{self.objects.count:,} objects){waiting}"
        )

    def _repr_html_(self) -> str:
        rows = [(row["what"], f"{row['count']:,}, {row['bytes']:,} bytes") for row in self.to_table()]
        return card("gc", [("result", str(self)), *rows])
