"""`du`: what fills a store."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from mlflowish.maintenance.reach import live_calls, name_of, named_objects, objects, references
from mlflowish.store import Store, Table, existing_store
from mlflowish.store.display import card
from mlflowish.store.layout import read_layout

_SHARED = ""


@dataclass(frozen=True, slots=True)
class Owner:
    """What one step or model fills: `own_bytes` go when it goes, `shared_bytes` lie in objects that others name too.

    `count`: how many results of the step, versions of the model, or runs that name objects.
    """

    kind: str
    name: str
    count: int
    inline_bytes: int
    own_bytes: int
    shared_bytes: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What fills a store. Bytes are those of files; each object counts once, whoever shares it."""

    store: str
    files: dict[str, tuple[int, int]]  # kind of file: how many, bytes
    owners: tuple[Owner, ...]
    unreached_count: int
    unreached_bytes: int

    @property
    def size_bytes(self) -> int:
        """All files together."""
        return sum(size for _, size in self.files.values())

    def to_table(self) -> Table:
        """A row for each kind of file."""
        return Table(("kind", "files", "bytes"), [(kind, *counted) for kind, counted in sorted(self.files.items())])

    def owners_table(self) -> Table:
        """A row for each step and model, the largest first."""
        columns = ("kind", "name", "count", "inline_bytes", "own_bytes", "shared_bytes")
        return Table(columns, [[getattr(owner, column) for column in columns] for owner in self.owners])

    def document(self) -> dict[str, object]:
        """For programs."""
        return {
            "store": self.store,
            "bytes": self.size_bytes,
            "files": {kind: {"files": count, "bytes": size} for kind, (count, size) in sorted(self.files.items())},
            "owners": list(self.owners_table()),
            "unreached": {"objects": self.unreached_count, "bytes": self.unreached_bytes},
        }

    def __repr__(self) -> str:
        return f"Usage({self._whole})"

    @property
    def _whole(self) -> str:
        return f"{self.store}: {self.size_bytes:,} bytes, of which nothing reaches {self.unreached_bytes:,}"

    def __str__(self) -> str:
        return "\n\n".join((self._whole, repr(self.to_table()), *([repr(self.owners_table())] if self.owners else [])))

    def _repr_html_(self) -> str:
        rows = [(kind, f"{count:,} files, {size:,} bytes") for kind, (count, size) in sorted(self.files.items())]
        return card("du", [("store", self.store), *rows, ("reached by nothing", f"{self.unreached_bytes:,} bytes")])


def du(store: Store | str | os.PathLike[str] | None = None) -> Usage:
    """What fills a store: files and bytes by kind, by step and by model, and what `gc` could free now.

    Reads every record once, and no object. An object that several steps or models name counts once in the whole, and
    as shared for each of them. Sizes in bytes. NotFoundError if a path or URL has no store, StorageError if it
    cannot be reached.

    >>> import mlflowish as mf
    >>> with mf.Store("memory://doc-du") as store:
    ...     mf.step(len, name="length")("abc")
    3
    >>> [(owner.name, owner.count, owner.own_bytes) for owner in mf.du(store).owners]
    [('length', 1, 0)]
    """
    opened = existing_store(store)
    files = _files(opened)
    if not files or read_layout(opened.storage) is None:
        return Usage(opened.url, files, (), 0, 0)
    present = {name_of(info): info.size_bytes for info in objects(opened)}
    books = _Books()
    for stored in live_calls(opened):
        named = {ref.name for ref in stored.entry.objects}
        books.enter(("step", stored.entry.meta.step), named, stored.record_bytes)
    named_by: dict[str, set[str]] = defaultdict(set)
    for key, ref in references(opened):
        named_by[key].add(ref.name)
    for key, named in named_by.items():
        books.enter(_owner_of(key), named, 0)
    unreached = {name: size for name, size in present.items() if name not in books.owner_of}
    if unreached:  # or reached by what is not finished yet
        for name in named_objects(opened, time.time()):
            unreached.pop(name, None)
    return Usage(opened.url, files, books.owners(present), len(unreached), sum(unreached.values()))


class _Books:
    """Which object is whose."""

    def __init__(self) -> None:
        self.owner_of: dict[str, tuple[str, str]] = {}
        self._sharers: dict[str, set[tuple[str, str]]] = {}
        self._counts: dict[tuple[str, str], int] = defaultdict(int)
        self._inline: dict[tuple[str, str], int] = defaultdict(int)

    def enter(self, owner: tuple[str, str], names: Iterable[str], inline_bytes: int) -> None:
        self._counts[owner] += 1
        self._inline[owner] += inline_bytes
        for name in names:
            first = self.owner_of.setdefault(name, owner)
            if first != owner:
                self._sharers.setdefault(name, {first}).add(owner)

    def owners(self, present: dict[str, int]) -> tuple[Owner, ...]:
        own: dict[tuple[str, str], int] = defaultdict(int)
        shared: dict[tuple[str, str], int] = defaultdict(int)
        for name, owner in self.owner_of.items():
            size = present.get(name, 0)
            if name in self._sharers:
                for sharer in self._sharers[name]:
                    shared[sharer] += size
            else:
                own[owner] += size
        found = [
            Owner(*owner, count, self._inline[owner], own[owner], shared[owner])
            for owner, count in self._counts.items()
        ]
        return tuple(sorted(found, key=lambda o: (-(o.inline_bytes + o.own_bytes + o.shared_bytes), o.kind, o.name)))


def _files(store: Store) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for info in store.storage.list(""):
        kind = _kind_of(info.path)
        count, size = found.get(kind, (0, 0))
        found[kind] = (count + 1, size + info.size_bytes)
    return found


def _kind_of(path: str) -> str:
    parts = path.split("/")
    if parts[0] in ("journals", "segments") and len(parts) > 2:
        return f"{parts[0]} of {parts[1]}"
    return parts[0] if len(parts) > 1 else "format"


def _owner_of(key: str) -> tuple[str, str]:
    """`models/versions/<name>/...` belongs to that model, `runs/<id>` to all runs."""
    parts = key.split("/")
    return ("model", parts[2]) if parts[:2] == ["models", "versions"] and len(parts) > 2 else ("all", parts[0])
