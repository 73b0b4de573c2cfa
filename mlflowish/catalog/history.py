"""What a handle knows of the log, and how it learns: opening, news, earlier states. Never by a listing."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator

from mlflowish.catalog.checkpoints import (
    EVERY,
    Checkpoint,
    last_boundary,
    load_checkpoint,
    newest_from,
    try_checkpoint,
    write_checkpoint,
)
from mlflowish.catalog.floors import Floor, Floors, read_hint, write_hint
from mlflowish.catalog.log import WINDOW, Log
from mlflowish.catalog.record import Commit, record_path
from mlflowish.catalog.segments import Files
from mlflowish.catalog.view import Base, Empty, Row, Snapshot, View, Written
from mlflowish.errors import IntegrityError, NotFoundError, StorageError
from mlflowish.storage.base import Storage

_STEPS_UP = 4  # records looked for behind the end of the log
_STEPS_DOWN = 16  # checkpoints that may be missing in a row before the last kept one is taken
_log = logging.getLogger("mlflowish.catalog")


class History:
    """One handle's view of one catalog. Thread-safe."""

    def __init__(self, storage: Storage, writer: str, prepare: Callable[[], object] | None) -> None:
        self.storage, self.writer = storage, writer
        self.log = Log(storage)
        self.files = Files(storage)
        self.floors = Floors(storage, is_near=self.log.is_near)
        self._prepare = prepare
        self._view: View | None = None
        self._begun = 0
        self._lock = threading.RLock()

    def prepare(self) -> None:
        """Make ready what a first commit needs."""
        if self._prepare is not None:
            self._prepare()

    def known_head(self) -> int | None:
        """The newest slot that is known, None before anything was read."""
        return None if self._view is None else self._view.head

    def view(self) -> View:
        """What is known, without looking for news."""
        found = self._view
        return found if found is not None else self.advance()

    def advance(self) -> View:
        """What is there now: every commit that was acknowledged before this call is in it."""
        begun = self._begun
        with self._lock:
            if self._begun > begun and self._view is not None:
                return self._view  # somebody began to look after this call did, and has finished
            self._begun += 1
            is_open, view = self._view is not None, self._view or self._open()
            while True:
                view = self._read_on(view)
                floor = self.floors.look()
                if floor.slot > view.head:  # asleep for so long that what came next was cleaned away
                    view = View(self._kept_base(floor))
                elif is_open or self._is_at_end(view):
                    if view.base.slot < floor.slot:
                        view = self._upon(floor, view)
                    self._view = view
                    return view

    def _upon(self, floor: Floor, view: View) -> View:
        """The same state upon the checkpoint that a cleaning kept: that below it, on which the view stands, is gone."""
        base, commit = self._kept_base(floor), view.commit_at(floor.slot)
        if commit is None or commit.hash != base.hash:
            raise IntegrityError(
                f"The checkpoint of slot {floor.slot} in {self.storage.url} is of another log than was read",
                slot=floor.slot,
            )
        self.files.keep(ref for run in (base.runs if isinstance(base, Checkpoint) else ()) for ref in run)
        return view.rebased(self._viewed(base).base)

    def _read_on(self, view: View) -> View:
        while True:
            try:
                found = self.log.read_from(view.head + 1, WINDOW)
                for commit in found:
                    view.apply(commit)
            except IntegrityError:
                further = newest_from(self.storage, self.files, view.head + 1)
                if further is None:
                    raise
                view = View(further)  # a damaged record below a checkpoint is of no consequence for what is now
                continue
            if len(found) < WINDOW:
                return view
            further = newest_from(self.storage, self.files, view.head + 1)
            if further is not None and further.slot > view.head:
                view = self._viewed(further)

    def _is_at_end(self, view: View) -> bool:
        """Is what was read all there is? IntegrityError if a record is missing there, and later ones are not. A copy of
        a folder that was made while somebody wrote may have such gaps, and a commit into one would make what follows
        unreadable for ever. Buckets are listed in order, so a copy of one has none."""
        log = self.log
        is_folder = self.storage.capabilities.local_paths
        if not is_folder or all(log.raw(view.head + ahead) is None for ahead in range(2, 2 + _STEPS_UP)):
            return True
        if log.raw(view.head + 1) is not None or self.floors.look().slot > view.head:
            return False  # somebody has committed, or cleaned, just now
        raise IntegrityError(
            f"{record_path(view.head + 1)} in {self.storage.url} is not there, and later records are. Restore it from "
            "a backup, or from where this store was copied. To go on without it and what was committed after it, move "
            "the later records away.",
            slot=view.head + 1,
        )

    def _open(self) -> View:
        hinted, floor = read_hint(self.storage)
        self.floors.start(floor)
        floor = self.floors.look()
        for slot in range(last_boundary(hinted), max(floor.slot, last_boundary(hinted) - EVERY * _STEPS_DOWN), -EVERY):
            found = try_checkpoint(self.storage, self.files, slot)
            if found is not None:
                return self._viewed(found)
        base = self._kept_base(floor)
        further = newest_from(self.storage, self.files, base.slot + 1)
        return self._viewed(base if further is None else further)

    def _kept_base(self, floor: Floor) -> Base:
        """What everything above the floor is built upon: this one must be there."""
        if floor.slot < 0:
            return Empty()
        found = load_checkpoint(self.storage, self.files, floor.slot)
        if found is None:
            raise IntegrityError(
                f"The checkpoint of slot {floor.slot} in {self.storage.url} is gone, and the log before it was "
                "cleaned: restore it from a backup",
                slot=floor.slot,
            )
        return found

    def take(self, commit: Commit) -> View:
        """Add a commit of our own, unless a reader of this handle was quicker."""
        with self._lock:
            view = self.view()
            if view.head == commit.slot - 1:
                view.apply(commit)
            return view

    def is_void(self, slot: int, hash_: str) -> bool:
        """Was the slot cleaned away before our record came? Cleanings remove in ascending order, so a record that
        belongs to the history goes before the one that follows it."""
        floor = self.floors.look()
        if floor.slot < slot:
            return False
        with self._lock:
            self._view = None
        if floor.slot == slot:
            kept = load_checkpoint(self.storage, self.files, slot)
            return kept is None or kept.hash != hash_
        after = self.log.read(slot + 1)
        if after is not None and after.previous == hash_:
            return False
        return self.log.raw(slot) is not None

    # -- earlier states ----------------------------------------------------------------------------

    def snapshot_at(self, view: View, slot: int) -> Snapshot:
        """The state of a slot up to the head: NotFoundError if that part of the log was cleaned."""
        if slot < view.base.slot:
            view = self._earlier_view(slot)
        if slot == view.base.slot:
            return Snapshot(view, slot, view.base.time_s)
        commit = view.commit_at(slot)
        assert commit is not None
        return Snapshot(view, slot, commit.time_s)

    def _earlier_view(self, slot: int, *, without: int | None = None) -> View:
        floor = self.floors.look(even_if_fresh=True)
        if slot < floor.slot:
            raise NotFoundError(
                f"The state of slot {slot} of the catalog at {self.storage.url} is gone: its log was cleaned up to "
                f"slot {floor.slot}, which is the oldest that can be read",
                slot=slot,
                oldest=floor.slot,
            )
        view = View(self._base_before(slot, floor, without))
        while view.head < slot:
            found = self.log.read_from(view.head + 1, min(WINDOW, slot - view.head))
            if not found:
                message = (
                    f"The record {record_path(view.head + 1)} in {self.storage.url} is gone, and later ones are not"
                )
                raise IntegrityError(message, slot=view.head + 1)
            for commit in found:
                view.apply(commit)
        return view

    def _base_before(self, slot: int, floor: Floor, without: int | None) -> Base:
        first = last_boundary(slot)
        for candidate in range(first, max(floor.slot, first - EVERY * _STEPS_DOWN), -EVERY):
            found = None if candidate == without else try_checkpoint(self.storage, self.files, candidate)
            if found is not None:
                return MendedBase(found, self)
        return self._kept_base(floor)

    def slot_at_time(self, view: View, time_s: float) -> int:
        """The newest slot that is not younger; times never fall from slot to slot."""
        floor = self.floors.look(even_if_fresh=True)
        low, high = floor.slot, view.head
        if floor.slot >= 0 and self._kept_base(floor).time_s > time_s:
            raise NotFoundError(
                f"The state of the catalog at {self.storage.url} at that time is gone: its log was cleaned up to slot "
                f"{floor.slot}, which is younger",
                at=time_s,
                oldest=floor.slot,
            )
        while low < high:
            middle = (low + high + 1) // 2
            commit = view.commit_at(middle) or self.log.read(middle)
            if commit is not None and commit.time_s <= time_s:
                low = middle
            else:
                high = middle - 1
        return low

    def commits(self, since: int, last: int) -> Iterator[Commit]:
        """The commits with `since` < slot <= `last`."""
        slot = since + 1
        while slot <= last:
            known = self.view().commit_at(slot)
            found = [known] if known is not None else self.log.read_from(slot, min(WINDOW, last - slot + 1))
            if not found:
                raise NotFoundError(
                    f"The commit of slot {slot} of the catalog at {self.storage.url} is gone: its log was cleaned up "
                    f"to slot {self.floors.look(even_if_fresh=True).slot}",
                    slot=slot,
                )
            yield from found
            slot += len(found)

    # -- checkpoints -------------------------------------------------------------------------------

    def checkpoint(self, slot: int) -> Checkpoint:
        """Store the state after `slot`, and let readers begin there."""
        view = self.view()
        if view.commit_at(slot) is None:
            view = self._earlier_view(slot, without=slot)
        made = write_checkpoint(self.storage, self.files, view, slot)
        write_hint(self.storage, slot, self.floors.newest)
        self.files.keep(ref for run in made.runs for ref in run)
        with self._lock:
            if self._view is not None and self._view.commit_at(slot) is not None:
                self._view = self._view.rebased(MendedBase(made, self))
        return made

    def checkpoint_if_due(self, slot: int) -> None:
        """After a commit: a checkpoint of each group of slots, by whoever got the last of them. That it fails is no
        reason to fail: the commit stands."""
        if slot != last_boundary(slot) or self.view().base.slot >= slot:
            return
        try:
            self.checkpoint(slot)
        except (StorageError, IntegrityError, NotFoundError) as error:
            _log.warning("No checkpoint of slot %d was made, which costs readers time: %s", slot, error)

    def _viewed(self, base: Base) -> View:
        return View(MendedBase(base, self) if isinstance(base, Checkpoint) else base)

    def instead_of(self, checkpoint: Checkpoint, error: IntegrityError) -> Base:
        """The same state without a checkpoint that proved damaged. NotFoundError if it was cleaned away with its log,
        under a handle or a transaction that has been open for longer than that."""
        try:
            view = self._earlier_view(checkpoint.slot, without=checkpoint.slot)
        except NotFoundError as gone:
            raise gone from error
        if view.hash != checkpoint.hash:
            raise error
        if view.base.slot == checkpoint.slot:
            # All that a cleaning left. It may have been made anew since, of other files.
            if not isinstance(view.base, Checkpoint) or view.base.runs == checkpoint.runs:
                raise error
            return view.base
        _log.warning("The checkpoint of slot %d is damaged (%s): read the log instead", checkpoint.slot, error)
        return StateOf(view, checkpoint.slot)


class MendedBase(Checkpoint):
    """A checkpoint that is replaced by the log if reading it fails."""

    def __init__(self, checkpoint: Base, history: History) -> None:
        assert isinstance(checkpoint, Checkpoint)
        super().__init__(checkpoint.files, checkpoint.slot, checkpoint.hash, checkpoint.time_s, checkpoint.runs)
        self._history = history
        self.instead: Base | None = None

    def lookup(self, key: str) -> Written | None:
        if self.instead is None:
            try:
                return super().lookup(key)
            except IntegrityError as error:
                self.instead = self._history.instead_of(self, error)
        return self.instead.lookup(key)

    def scan(self, prefix: str) -> Iterator[Row]:
        last = None
        if self.instead is None:
            try:
                for row in super().scan(prefix):
                    yield row
                    last = row[0]
                return
            except IntegrityError as error:
                self.instead = self._history.instead_of(self, error)
        for row in self.instead.scan(prefix):
            if last is None or row[0] > last:
                yield row


class StateOf:
    """The state of a view at a slot, as a base."""

    def __init__(self, view: View, slot: int) -> None:
        self._view, self.slot = view, slot
        self.hash, self.time_s = view.hash, view.time_s

    def lookup(self, key: str) -> Written | None:
        return self._view.lookup(key, self.slot)

    def scan(self, prefix: str) -> Iterator[Row]:
        return self._view.scan(prefix, self.slot)
