"""One line of what a fingerprint depends on, and how two lists of them differ."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["function", "class", "value", "package", "module", "opaque", "file", "env"]
Recorded = tuple[str, str, str, str]


def _nothing() -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Part:
    """Something that a result depends on: `label` is its name for people, `digest` its identity."""

    label: str
    kind: Kind
    digest: bytes
    _describe: Callable[[], str] = field(default=_nothing, repr=False, compare=False)

    def describe(self) -> str:
        """Source text of code, a short text of a value (never of a secret), the version of a package. Costs: use on a
        miss.
        """
        return self._describe()

    def recorded(self) -> Recorded:
        """(label, kind, digest, description): plain text to keep beside an entry, and to `diff` later."""
        return self.label, self.kind, self.digest.hex(), self.describe()


@dataclass(frozen=True, slots=True)
class Change:
    """One part that differs between two fingerprints; a description is empty on the side where the part is not."""

    label: str
    kind: str
    change: Literal["changed", "added", "removed", "renamed"]
    old: str
    new: str


def diff(old: Iterable[Sequence[str]], new: Iterable[Sequence[str]]) -> list[Change]:
    """What changed between two lists of `Part.recorded()`, changed parts first.

    A part that kept its kind and digest under another label was renamed or moved, which costs no result.
    """
    before = {(row[1], row[0]): row for row in old}
    after = {(row[1], row[0]): row for row in new}
    changed = [
        Change(row[0], row[1], "changed", before[key][3], row[3])
        for key, row in after.items()
        if key in before and before[key][2] != row[2]
    ]
    removed = [row for key, row in before.items() if key not in after]
    added = [row for key, row in after.items() if key not in before]
    renamed: list[Change] = []
    for row in list(added):
        twin = next((gone for gone in removed if gone[1] == row[1] and gone[2] == row[2]), None)
        if twin is not None:
            removed.remove(twin)
            added.remove(row)
            renamed.append(Change(row[0], row[1], "renamed", twin[0], row[0]))
    # A script run as `__main__` and imported by its name: the same part under another module.
    for row in list(added):
        tail = row[0].rpartition(".")[2]
        twins = [gone for gone in removed if gone[1] == row[1] and gone[0].rpartition(".")[2] == tail]
        if len(twins) == 1:
            removed.remove(twins[0])
            added.remove(row)
            changed.append(Change(row[0], row[1], "changed", twins[0][3], row[3]))
    return [
        *changed,
        *(Change(row[0], row[1], "added", "", row[3]) for row in added),
        *(Change(row[0], row[1], "removed", row[3], "") for row in removed),
        *renamed,
    ]
