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
    replace_checkpoint,
    try_checkpoint,
    write_checkpoint,
)
from mlflowish.catalog.floors import Clocks, Floor, Floors, clocks, is_recent, read_hint, write_hint
from mlflowish.catalog.log import WINDOW, Log
from mlflowish.catalog.mended import MendedBase, StateOf
from mlflowish.catalog.record import Commit, previous_in, record_hash, record_path
from mlflowish.catalog.segments import Files
from mlflowish.catalog.view import Base, Empty, Snapshot, Tip, View
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
        self._begun = self._ended = 0  # looks for news, by number
        self._seen: Clocks | None = None  # when the newest look that saw the end of the log began
        self._had_news = True  # at the last look: then more than one is asked for at the next, where storage is far
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
            if self._ended > begun and self._view is not None:
                return self._view  # somebody began to look after this call did, and has seen it
            self._begun += 1
            number, began = self._begun, clocks()
            self._view = self._newest_view()
            self._ended, self._seen = number, began
            return self._view

    def is_recent(self) -> bool:
        """Was the end of the log seen so short ago that nothing that came after it can have been cleaned away?"""
        return self._seen is not None and is_recent(self._seen)

    def _newest_view(self) -> View:
        """Up to where no record is, and no floor says that there was one."""
        is_open, view = self._view is not None, self._view or self._open()
        if is_open and not self.is_recent():
            self.require_last(view, view.tip())
        while True:
            view = self._read_on(view)
            floor = self.floors.look(even_if_fresh=not self.is_recent())
            if floor.slot > view.base.slot:
                kept = self._viewed(self._kept_base(floor))
                if not _has_passed(view, kept):
                    view = kept  # asleep for so long that what came next was cleaned away
                    continue
                self.files.keep(
                    ref for run in (kept.base.runs if isinstance(kept.base, Checkpoint) else ()) for ref in run
                )
                view = view.rebased(kept.base)
            if is_open or self._is_at_end(view):
                return view

    def _read_on(self, view: View) -> View:
        while True:
            try:
                found = self.log.read_from(view.head + 1, WINDOW, at_once=2 if self._had_news else 1)
                self._had_news = bool(found)
                for commit in found:
                    view.apply(commit)
            except IntegrityError:
                if self.floors.look(even_if_fresh=True).slot > view.head:
                    return view  # it was being cleaned away
                further = newest_from(self.storage, self.files, view.head + 1)
                if further is None:
                    raise
                view = self._viewed(further)  # a damaged record below a checkpoint is of no consequence for what is now
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
        if log.raw(view.head + 1) is not None or self.floors.look(even_if_fresh=True).slot > view.head:
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
        oldest = max(self.floors.newest.slot, last_boundary(hinted) - EVERY * _STEPS_DOWN)
        for slot in range(last_boundary(hinted), oldest, -EVERY):
            found = try_checkpoint(self.storage, self.files, slot)
            if found is not None:
                return self._viewed(found)
        base = self._kept_base(self.floors.look())
        further = newest_from(self.storage, self.files, base.slot + 1)
        return self._viewed(base if further is None else further)

    def _kept_base(self, floor: Floor) -> Base:
        """What everything above a floor is built upon: this one must be there, or a later cleaning has been."""
        while floor.slot >= 0:
            found = load_checkpoint(self.storage, self.files, floor.slot)
            if found is not None:
                return found
            newer = self.floors.look(even_if_fresh=True)
            if newer.slot <= floor.slot:
                raise IntegrityError(
                    f"The checkpoint of slot {floor.slot} in {self.storage.url} is gone, and the log before it was "
                    "cleaned: restore it from a backup",
                    slot=floor.slot,
                )
            floor = newer
        return Empty()

    def take(self, commit: Commit) -> View:
        """Add a commit of our own, unless a reader of this handle was quicker."""
        with self._lock:
            view = self.view()
            if view.head == commit.slot - 1:
                view.apply(commit)
            return view

    def is_void(self, slot: int, record: bytes) -> bool | None:
        """Was the slot cleaned away before our record came? None: nobody can tell any more. Cleanings remove in
        ascending order, so a record that belongs to the history goes before the one that follows it."""
        floor = self.floors.look(even_if_fresh=not self.is_recent())
        if floor.slot < slot:
            return False
        with self._lock:
            self._view = self._seen = None
        hash_ = record_hash(record)
        if floor.slot == slot and (base := self._kept_base(floor)).slot == slot:
            return base.hash != hash_
        after = self.log.raw(slot + 1)
        if after is not None:
            return previous_in(after) != hash_
        return None if self.log.raw(slot) is None else True

    def require_last(self, view: View, tip: Tip) -> None:
        """IntegrityError if the newest record that was read is not there any more: what would follow it is read by
        nobody."""
        slot = tip.slot
        if view.commit_at(slot) is None or slot <= self.floors.newest.slot:
            return
        found = self.log.raw(slot)
        if found is not None and record_hash(found) == tip.hash:
            return
        if slot > self.floors.look(even_if_fresh=True).slot:
            what = "is not there any more" if found is None else "is another one now"
            raise IntegrityError(
                f"{record_path(slot)} in {self.storage.url} {what}, and this process has read it: was the store "
                "restored from a backup, or replaced by a copy? Start this process again to go on with what is there",
                slot=slot,
            )

    def record_at(self, slot: int) -> Commit | None:
        """The commit of a slot up to the head; None if it was cleaned away."""
        found = self.view().commit_at(slot) or self.log.read(slot)
        return found if slot > self.floors.look(even_if_fresh=True).slot else None

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
        while True:
            floor = self.floors.look(even_if_fresh=True)
            if slot < floor.slot:
                raise NotFoundError(
                    f"The state of slot {slot} of the catalog at {self.storage.url} is gone: its log was cleaned up to "
                    f"slot {floor.slot}, which is the oldest that can be read",
                    slot=slot,
                    oldest=floor.slot,
                )
            try:
                view = self._built_view(slot, floor, without)
            except IntegrityError:
                if self.floors.look(even_if_fresh=True) == floor:
                    raise
                continue  # cleaned meanwhile
            if self.floors.look(even_if_fresh=True).slot <= view.base.slot:
                return view

    def _built_view(self, slot: int, floor: Floor, without: int | None) -> View:
        view = View(self._base_before(slot, floor, without))
        while view.head < slot:
            found = self.log.read_from(view.head + 1, min(WINDOW, slot - view.head))
            if not found:
                raise _gone(record_path(view.head + 1), self.storage.url, view.head + 1)
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
        while True:
            floor = self.floors.look(even_if_fresh=True)
            if floor.slot >= 0 and self._kept_base(floor).time_s > time_s:
                raise NotFoundError(
                    f"The state of the catalog at {self.storage.url} at that time is gone: its log was cleaned up to "
                    f"slot {floor.slot}, which is younger",
                    at=time_s,
                    oldest=floor.slot,
                )
            found = self._last_until(view, time_s, floor.slot)
            if found >= self.floors.look(even_if_fresh=True).slot:
                return found  # else a cleaning has removed what would have said so

    def _last_until(self, view: View, time_s: float, low: int) -> int:
        high = view.head
        while low < high:
            middle = (low + high + 1) // 2
            commit = view.commit_at(middle) or self.log.read(middle)
            if commit is not None and commit.time_s <= time_s:
                low = middle
            else:
                high = middle - 1
        return low

    def commits(self, since: int | None, until: int | None, head: int) -> Iterator[Commit]:
        """The commits with `since` < slot <= `until`, of those up to `head`. None: all that are kept when the first is
        asked for; later ones than `head` only if all up to it have been cleaned."""
        slot, last = 0 if since is None else since + 1, head if until is None else min(until, head)
        while slot <= last:
            if since is None and slot <= self.floors.look(even_if_fresh=True).slot:
                slot = self.floors.newest.slot + 1
                last = self.advance().head if until is None and slot > last + 1 else last
                continue
            known = self.view().commit_at(slot)
            found = [known] if known is not None else self._kept_commits(slot, min(WINDOW, last - slot + 1))
            if found is not None:
                yield from found
                slot, since = slot + len(found), slot
            elif since is not None:
                raise NotFoundError(
                    f"The commit of slot {slot} of the catalog at {self.storage.url} is gone: its log was cleaned up "
                    f"to slot {self.floors.newest.slot}",
                    slot=slot,
                )

    def _kept_commits(self, slot: int, count: int) -> list[Commit] | None:
        """Some commits from a slot on, None if that was cleaned away: what rests below a floor is no history, a slow
        writer may be about to take it back."""
        try:
            found = self.log.read_from(slot, count)
        except IntegrityError:
            if self.floors.look(even_if_fresh=True).slot >= slot:
                return None
            raise
        if self.floors.look(even_if_fresh=True).slot >= slot:
            return None
        if not found:
            raise _gone(record_path(slot), self.storage.url, slot)
        return found

    # -- checkpoints -------------------------------------------------------------------------------

    def checkpoint(self, slot: int) -> Base:
        """Store the state after `slot`, and let readers begin there. NotFoundError if the log was cleaned beyond it."""
        view = self._view_with(slot)
        if view.base.slot == slot:
            return view.base  # all that a cleaning has left
        return self._begin_at(write_checkpoint(self.storage, self.files, view, slot))

    def replace_checkpoint(self, slot: int) -> Base:
        """The same over a checkpoint that is damaged."""
        view = self._view_with(slot)
        if view.base.slot == slot:
            return view.base
        commit = view.commit_at(slot)
        assert commit is not None
        rows = view.scan("", slot)
        made = replace_checkpoint(self.storage, self.files, slot, commit.hash, commit.time_s, rows)
        return self._begin_at(made)

    def _view_with(self, slot: int) -> View:
        """One that holds the commit of a slot, or stands on the checkpoint of it since the log was cleaned up to it."""
        view = self.view()
        return view if view.commit_at(slot) is not None else self._earlier_view(slot, without=slot)

    def _begin_at(self, made: Checkpoint) -> Checkpoint:
        write_hint(self.storage, made.slot, self.floors.newest)
        self.files.keep(ref for run in made.runs for ref in run)
        with self._lock:
            if self._view is not None and self._view.commit_at(made.slot) is not None:
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
        """The same state without a checkpoint that proved damaged. If it was cleaned away with its log, under a handle
        or a transaction that has been open for longer than that: the later state that was kept."""
        try:
            view = self._earlier_view(checkpoint.slot, without=checkpoint.slot)
        except NotFoundError:
            return self._viewed(self._kept_base(self.floors.newest)).base
        if view.hash != checkpoint.hash:
            raise error
        if view.base.slot == checkpoint.slot:
            # All that a cleaning left. It may have been made anew since, of other files.
            if not isinstance(view.base, Checkpoint) or view.base.runs == checkpoint.runs:
                raise error
            return view.base
        _log.warning("The checkpoint of slot %d is damaged (%s): read the log instead", checkpoint.slot, error)
        return StateOf(view, checkpoint.slot)


def _has_passed(view: View, kept: View) -> bool:
    """Has the view read what a cleaning kept, and what came after? What it has read last may be a record that a slow
    writer is about to take back, since its slot was cleaned."""
    commit = view.commit_at(kept.head)
    if commit is None or (commit.hash != kept.hash and view.head == kept.head):
        return False
    if commit.hash != kept.hash:
        message = (
            f"The checkpoint of slot {kept.head} is of another log than this process has read: open the store anew"
        )
        raise IntegrityError(message, slot=kept.head)
    return True


def _gone(path: str, url: str, slot: int) -> IntegrityError:
    return IntegrityError(f"The record {path} in {url} is gone, and later ones are not", slot=slot)
