"""What may go of a run for good, as records say it: pure. A purge names every record of a run, a drop some of them.

A purge counts only as long as it names all batches that are known: whoever resumes or restores a run meanwhile, or
ships late what was logged elsewhere, adds one that it does not name, and the run is there as before. Compactions
remove what is named, and nothing else; what arrives after that is a run once more, by what the purge knew of its
beginning.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from mlflowish.tracking.records import Batch, Event

PURGE, DROP = "purge", "drop"
BOOKKEEPING = (PURGE, DROP)
NOT_SPOOLED = 0xFFFF_FFFE  # the number of a batch that says what may go: no spool file made it
Name = tuple[bytes, int]
Stretch = tuple[bytes, int, int]


class Names:
    """A set of names of records, kept as stretches: `name in names`."""

    def __init__(self, *listed: Iterable[Stretch]) -> None:
        self._ranges: dict[bytes, list[range]] = {}
        for stretch in listed:
            for writer, first, last in stretch:
                self._ranges.setdefault(writer, []).append(range(first, last + 1))

    def __contains__(self, name: Name) -> bool:
        return any(name[1] in numbers for numbers in self._ranges.get(name[0], ()))

    def __bool__(self) -> bool:
        return bool(self._ranges)

    def __iter__(self) -> Iterator[range]:
        """The numbers, stretch by stretch, whoever wrote them."""
        return (numbers for ranges in self._ranges.values() for numbers in ranges)


class Burial(NamedTuple):
    """One purge or drop: the names of records by kind of journal. `only`: of points, just series that begin so."""

    time_us: int
    is_whole: bool
    names: Mapping[str, tuple[Stretch, ...]]
    only: str = ""


def stretches(names: Iterable[Name]) -> list[Stretch]:
    """The names as (writer, first number, last number): those of a writer mostly follow each other."""
    found: list[Stretch] = []
    for writer, number in sorted(set(names)):
        if found and found[-1][0] == writer and found[-1][2] == number - 1:
            found[-1] = (writer, found[-1][1], number)
        else:
            found.append((writer, number, number))
    return found


def burial_body(names: Mapping[str, Iterable[Name]], **more: Any) -> dict[str, Any]:
    """The body of an event that says that these records may go."""
    return {"records": {kind: tuple(stretches(named)) for kind, named in names.items() if named}, **more}


def burials(batches: Iterable[Batch]) -> list[Burial]:
    """Every purge and drop that these batches tell of; what makes no sense is passed over."""
    found = []
    for batch in batches:
        for event in batch.events:
            if event.kind in BOOKKEEPING and (names := _names(event)) is not None:
                only = str(event.body.get("only", ""))
                found.append(Burial(event.time_us, event.kind == PURGE, names, only))
    return found


def living(batches: Iterable[Batch]) -> list[Batch]:
    """The batches that say something of the run itself."""
    return [batch for batch in batches if batch.lasts or not all(event.kind in BOOKKEEPING for event in batch.events)]


def is_buried(batches: Sequence[Batch]) -> bool:
    """Is there a purge, and do purges name everything else that is known?"""
    purges = [burial for burial in burials(batches) if burial.is_whole]
    if not purges:
        return False
    named = Names(*(purge.names.get("runs", ()) for purge in purges))
    return all((batch.writer, batch.number) in named for batch in living(batches))


def _names(event: Event) -> dict[str, tuple[Stretch, ...]] | None:
    try:
        return {
            str(kind): tuple((bytes(memoryview(writer)), int(first), int(last)) for writer, first, last in listed)
            for kind, listed in event.body["records"].items()
        }
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None
