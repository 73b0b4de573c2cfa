"""What a handle knows of the catalog: a checkpoint and the commits after it, readable as of every slot among them."""

from __future__ import annotations

import heapq
import os
import threading
import weakref
from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

from mlflowish.catalog.plain import LAST_CHARACTER, RESERVED, decode, require_key, require_scan_prefix
from mlflowish.catalog.record import NOTHING, Commit
from mlflowish.errors import IntegrityError, NotFoundError

Written = tuple[int, str | None]  # slot of the write, canonical JSON of the value (None: deleted)
Row = tuple[str, int, str | None]

DEAD = f"{RESERVED}dead/"  # + name of an object that no commit may refer to
_RECENT = 256
EPOCH = f"{RESERVED}epoch"  # how many times objects were doomed


class Base(Protocol):
    """A state that a checkpoint holds."""

    slot: int
    hash: str
    time_s: float

    @property
    def later(self) -> Base | None:
        """The later state that answers in its place, since a cleaning has removed it; None: it answers itself."""

    def lookup(self, key: str) -> Written | None:
        """The last write of the key."""

    def scan(self, prefix: str) -> Iterator[Row]:
        """The last writes of the keys that begin with the prefix, in key order."""


class Empty:
    """The state before the first commit."""

    slot = -1
    hash = NOTHING
    time_s = 0.0
    later = None

    def lookup(self, key: str) -> Written | None:
        return None

    def scan(self, prefix: str) -> Iterator[Row]:
        return iter(())


class Tip(NamedTuple):
    """The newest commit that a view had at one moment."""

    slot: int
    hash: str
    time_s: float


class View:
    """A base and every commit after it, up to `head`. Only grows, so what a snapshot sees never changes.

    Thread-safe: `apply` is called by one thread at a time, reads by any. It grows while others look: who needs more
    than one thing of its newest commit asks for the `tip` once.
    """

    def __init__(self, base: Base) -> None:
        self.base = base
        self.commits: list[Commit] = []
        self.recent: list[Commit] = []  # some before the base
        self.head, self.hash, self.time_s = base.slot, base.hash, base.time_s
        self._writes: dict[str, list[Written]] = {}
        self._keys: list[str] = []
        self._lock = threading.Lock()
        _views.add(self)

    def apply(self, commit: Commit) -> None:
        """Take the commit of the slot after the head; IntegrityError if it does not continue this history."""
        if commit.slot != self.head + 1 or commit.previous != self.hash:
            raise IntegrityError(
                f"The record of slot {commit.slot} does not continue the history that this process has read up to slot "
                f"{self.head}: it follows {commit.previous[:16]}.., wanted {self.hash[:16]}..",
                slot=commit.slot,
            )
        for change in commit.transactions:
            for key in change.deletes:
                self._write(key, (commit.slot, None))
            for key, text in change.put_texts().items():
                self._write(key, (commit.slot, text))
        self.commits.append(commit)
        self.hash, self.time_s = commit.hash, commit.time_s
        self.head = commit.slot  # last: readers go by it

    def tip(self) -> Tip:
        """The newest commit, all of it of the same moment."""
        slot = self.head
        last = self.commit_at(slot) or self.base
        return Tip(slot, last.hash, last.time_s)

    def lookup(self, key: str, slot: int) -> tuple[int, str] | None:
        """Slot and JSON of the value that the key has at `slot`; None if it has none."""
        for written, text in reversed(self._writes.get(key, ())):
            if written <= slot:
                return None if text is None else (written, text)
        found = self._lookup_below(key)
        return None if found is None or found[1] is None else (found[0], found[1])

    def epoch(self, slot: int) -> int:
        """How many times objects had been doomed, as of `slot`."""
        found = self.lookup(EPOCH, slot)
        try:
            return 0 if found is None else int(found[1])
        except ValueError as error:
            raise IntegrityError(f"{EPOCH} of the catalog is no number: {found!r:.100}", key=EPOCH) from error

    def scan(self, prefix: str, slot: int) -> Iterator[tuple[str, int, str]]:
        """Key, slot and JSON of every key that begins with the prefix, as of `slot`, in key order."""
        seen = None
        for key, _, written, text in heapq.merge(
            ((key, 0, written, text) for key, written, text in self._written(prefix, slot)),
            ((key, 1, written, text) for key, written, text in self._scan_below(prefix, slot)),
        ):
            if key != seen and text is not None:
                yield key, written, text
            seen = key

    def rebased(self, base: Base) -> View:
        """The same state upon a later base, which this view has passed; the commits before it are no longer held, but
        for the last ones, which tell who won a conflict."""
        view = View(base)
        view.recent = self.commits_after(max(base.slot - _RECENT, self._first_held() - 1)) or []
        view.recent = [commit for commit in view.recent if commit.slot <= base.slot]
        for commit in self.commits[base.slot - self.base.slot :]:
            view.apply(commit)
        return view

    def commit_at(self, slot: int) -> Commit | None:
        """The commit of a slot, if it is among those after the base."""
        index = slot - self.base.slot - 1
        return self.commits[index] if 0 <= index < len(self.commits) else None

    def commits_after(self, slot: int) -> list[Commit] | None:
        """The commits after a slot; None if some of them are no longer here."""
        if slot >= self.base.slot:
            return self.commits[slot - self.base.slot :]
        first = self._first_held()
        return None if slot + 1 < first else [*self.recent[slot + 1 - first :], *self.commits]

    def changes_after(self, slot: int, until: int) -> Iterator[Row]:
        """The last write of each key written in (slot, until], in key order."""
        with self._lock:
            keys = self._keys[:]
        for key in keys:
            for written, text in reversed(self._writes[key]):
                if written <= until:
                    if written > slot:
                        yield key, written, text
                    break

    def _lookup_below(self, key: str) -> Written | None:
        """The last write of a key that no commit up to the slot asked for has written, as the base has it."""
        found, later = self.base.lookup(key), self.base.later
        if later is None or (found is not None and found[0] <= self.base.slot):
            return found
        writes = self._writes.get(key)
        if not self._holds(later) or (writes is not None and writes[0][0] <= later.slot):
            raise self._cleaned(later)
        return None

    def _scan_below(self, prefix: str, slot: int) -> Iterator[Row]:
        """The rows of the base for the keys that no commit up to `slot` has written (and of others, if it likes)."""
        base, sure_of = self.base, -1
        for row in base.scan(prefix):
            if base.later is not None:
                sure_of = self._require_same_below(base.later, prefix, slot, sure_of)
                if row[1] > base.slot:  # a commit that is held here wrote it
                    continue
            yield row
        if base.later is not None:
            self._require_same_below(base.later, prefix, slot, sure_of)

    def _require_same_below(self, later: Base, prefix: str, slot: int, sure_of: int) -> int:
        """For which later base it is known that nothing under the prefix was first written between `slot` and it:
        what it was before that is gone."""
        if sure_of != later.slot and (
            not self._holds(later) or any(slot < first <= later.slot for first in self._first_writes(prefix))
        ):
            raise self._cleaned(later)
        return later.slot

    def _first_writes(self, prefix: str) -> Iterator[int]:
        with self._lock:
            first = bisect_left(self._keys, prefix)
            keys = self._keys[first : bisect_left(self._keys, prefix + LAST_CHARACTER)]
        return (self._writes[key][0][0] for key in keys)

    def _holds(self, later: Base) -> bool:
        """Are all commits up to a later state held here, and is it of the same history?"""
        commit = self.commit_at(later.slot)
        if commit is not None and commit.hash != later.hash:
            message = f"The checkpoint of slot {later.slot} is of another log than was read"
            raise IntegrityError(message, slot=later.slot)
        return commit is not None

    def _cleaned(self, later: Base) -> NotFoundError:
        return NotFoundError(
            f"A part of the state of the catalog at slot {self.base.slot} is gone: its log was cleaned up to slot "
            f"{later.slot}, which is the oldest that can be read",
            slot=self.base.slot,
            oldest=later.slot,
        )

    def _first_held(self) -> int:
        return self.base.slot + 1 - len(self.recent)

    def _written(self, prefix: str, slot: int) -> Iterator[Row]:
        with self._lock:
            first = bisect_left(self._keys, prefix)
            keys = self._keys[first : bisect_left(self._keys, prefix + LAST_CHARACTER)]
        for key in keys:
            for written, text in reversed(self._writes[key]):
                if written <= slot:
                    yield key, written, text
                    break

    def forget_threads(self) -> None:
        """In a forked child: whoever holds the lock is not here."""
        self._lock = threading.Lock()

    def _write(self, key: str, written: Written) -> None:
        known = self._writes.get(key)
        if known is not None:
            known.append(written)
            return
        self._writes[key] = [written]
        with self._lock:
            insort(self._keys, key)


def newest(view: View) -> Snapshot:
    """All that a view knows now."""
    tip = view.tip()
    return Snapshot(view, tip.slot, tip.time_s)


class Snapshot:
    """The catalog as it was after the commit of `slot`: never changes, whatever is committed meanwhile. Thread-safe."""

    def __init__(self, view: View, slot: int, time_s: float) -> None:
        self.view = view
        self.slot = slot
        self.time_s = time_s

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key, a fresh copy; `default` if it has none."""
        found = self.view.lookup(require_key(key), self.slot)
        return default if found is None else decode(found[1])

    def scan(self, prefix: str = "") -> Iterator[tuple[str, Any]]:
        """(key, value) of every key that begins with the prefix, in key order."""
        require_scan_prefix(prefix)
        return (
            (key, decode(text)) for key, _, text in self.view.scan(prefix, self.slot) if not key.startswith(RESERVED)
        )

    def __contains__(self, key: str) -> bool:
        return self.view.lookup(require_key(key), self.slot) is not None

    @property
    def gc_epoch(self) -> int:
        """How many times objects had been doomed."""
        return self.view.epoch(self.slot)

    def is_doomed(self, name: str) -> bool:
        """Was the object of this name given up? No commit may refer to it any more: store it under another."""
        return self.view.lookup(DEAD + name, self.slot) is not None

    def doomed(self) -> Iterator[str]:
        """The names of all objects that were given up."""
        return (key[len(DEAD) :] for key, _, _ in self.view.scan(DEAD, self.slot))

    def __repr__(self) -> str:
        return f"Snapshot(slot={self.slot}, time_s={self.time_s!r})"


def _forget_threads() -> None:
    for view in list(_views):
        view.forget_threads()


_views: weakref.WeakSet[View] = weakref.WeakSet()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
