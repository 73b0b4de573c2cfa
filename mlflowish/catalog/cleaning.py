"""Cleaning the log: what is older than a checkpoint that is kept, and than anybody needs, is removed.

The order is the safety: a verified checkpoint, the floor, then the records in ascending order, then what only they
needed. A crash at any point leaves files that the next cleaning removes.

Cleanings meet each other, and one that was stopped goes on when later ones are through. So what a floor stands on must
be nothing that an earlier cleaning may remove: files of its checkpoint are newer than the floor before it, or named by
the checkpoint of that one, which every cleaning since has kept, or that checkpoint is so old that every cleaning at
work has seen it: each looks again after a minute.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from mlflowish.catalog.checkpoints import (
    EVERY,
    Checkpoint,
    checkpoint_path,
    damaged_files,
    last_boundary,
    try_checkpoint,
)
from mlflowish.catalog.floors import HINT_PATH, Floor, clocks, is_recent, write_hint
from mlflowish.catalog.history import History
from mlflowish.catalog.view import View
from mlflowish.errors import IntegrityError, NotFoundError
from mlflowish.storage.base import ObjectInfo

KEEP_S = 7 * 86_400.0
KEEP_SLOTS = 1024
# A record that has just been written into a slot that was cleaned long ago is its writer's to remove.
_UNTOUCHED_S = 3600.0
_MOST_CANDIDATES = 4  # checkpoints looked at for one that a floor can stand on


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What a cleaning did: the slot up to which the log may be gone (-1: nothing was cleaned), and what it removed."""

    floor: int
    files: int
    size_bytes: int = 0


def clean(history: History, *, keep_s: float, keep_slots: int, untouched_s: float = _UNTOUCHED_S) -> Cleaned:
    """Remove what is older than both limits."""
    view = history.advance()
    before = history.floors.look(even_if_fresh=True)
    now_s = time.time()
    slot = _oldest_needed(history, view, now_s - keep_s, max(keep_slots, 0))
    for candidate in range(slot, max(before.slot, slot - EVERY * _MOST_CANDIDATES), -EVERY):
        if _is_fit(history, candidate, before, untouched_s):
            history.floors.raise_to(candidate, after=before)
            break
    floor = history.floors.look(even_if_fresh=True).slot
    if floor < 0:
        return Cleaned(-1, 0)
    write_hint(history.storage, max(floor, history.view().base.slot), history.floors.newest)
    removed = _remove(history, floor, now_s, untouched_s)
    return Cleaned(floor, len(removed), sum(removed))


def _oldest_needed(history: History, view: View, time_s: float, keep_slots: int) -> int:
    """The newest slot whose checkpoint can stand for all before it."""
    slot, floor = last_boundary(view.head - keep_slots), history.floors.newest.slot
    if slot <= floor:
        return floor
    try:
        return min(slot, last_boundary(history.slot_at_time(view, time_s)))
    except NotFoundError:  # all that is left is younger: cleaned by a clock that is ahead of this one, or to keep less
        return floor


def _is_fit(history: History, slot: int, before: Floor, untouched_s: float) -> bool:
    """Can a floor stand on the checkpoint of the slot? It is read to its last byte, made if there is none, and anew if
    it is damaged."""
    for _ in range(2):  # where none was, files of it may have been, and be damaged
        found = _whole_checkpoint(history, slot)
        if found is not None:
            return _is_out_of_reach(history, found, before, untouched_s)
        try:
            _make(history, slot)
        except NotFoundError:
            if history.floors.look(even_if_fresh=True) == before:
                raise
        if history.floors.look(even_if_fresh=True) != before:
            return False  # somebody else has cleaned, perhaps beyond it
    found = _whole_checkpoint(history, slot)
    if found is None and history.floors.look(even_if_fresh=True) == before:
        raise IntegrityError(
            f"The checkpoint of slot {slot} in {history.storage.url} is damaged as soon as it is written: nothing was "
            "cleaned. Look after the disk.",
            slot=slot,
        )
    return found is not None and _is_out_of_reach(history, found, before, untouched_s)


def _whole_checkpoint(history: History, slot: int) -> Checkpoint | None:
    """The checkpoint of a slot, None unless all of it is as it was written."""
    found = try_checkpoint(history.storage, history.files, slot)
    return None if found is None or damaged_files(history.storage, found) else found


def _make(history: History, slot: int) -> None:
    """A checkpoint where there is none, or a good one over what is damaged. Nothing is removed: others may have made a
    good one since it was looked at, and have cleaned the log below it."""
    try:
        history.storage.size(checkpoint_path(slot))
    except NotFoundError:
        history.checkpoint(slot)
    else:
        history.replace_checkpoint(slot)


def _is_out_of_reach(history: History, found: Checkpoint, before: Floor, untouched_s: float) -> bool:
    """Is there no file of the checkpoint that a cleaning up to the floor before may still be about to remove?"""
    if before.slot < 0:
        return True
    standing = try_checkpoint(history.storage, history.files, before.slot)
    kept = _files_of(standing) if standing is not None else set()
    if all(ref.slot > before.slot or ref.path in kept for run in found.runs for ref in run):
        return True
    write_hint(history.storage, found.slot, history.floors.newest)
    listed = list(history.storage.list("catalog"))
    made_s = max((info.modified_s for info in listed if info.path == checkpoint_path(found.slot)), default=math.inf)
    return not made_s > min(time.time(), _storage_time(listed)) - untouched_s


def _remove(history: History, floor: int, now_s: float, untouched_s: float) -> list[int]:
    """The sizes of the files that it removed."""
    storage = history.storage
    listed = sorted(storage.list("catalog"), key=lambda info: (_folder(info), _number(info)))
    before_s = min(now_s, _storage_time(listed)) - untouched_s
    removed = []

    def remove(info: ObjectInfo) -> None:
        if not info.modified_s > before_s:
            storage.delete(info.path)
            removed.append(info.size_bytes)

    for info in listed:
        if _folder(info) == "log" and _number(info) <= floor:
            remove(info)
    began, kept = clocks(), _kept_files(history, floor)
    for info in listed:
        folder = _folder(info)
        if folder not in ("checkpoints", "bodies", "segments") or _number(info) >= floor + (folder == "bodies"):
            continue  # a file of the floor's own slot: whoever is replacing its checkpoint may be about to name it
        if not is_recent(began):  # others may have made use of what nobody needed then
            began, kept = clocks(), _kept_files(history, floor)
        if kept is None:
            break  # a later cleaning is at work: it does the rest
        if info.path not in kept:
            remove(info)
    return removed


def _storage_time(listed: list[ObjectInfo]) -> float:
    """A time that is not later than now by the clock that dates the files: that of this machine may be hours ahead. The
    hint has just been written."""
    return max((info.modified_s for info in listed if info.path == HINT_PATH or _folder(info) == "floors"), default=0.0)


def _kept_files(history: History, floor: int) -> set[str] | None:
    """The files that the checkpoints from the floor on name; None if a later cleaning has removed that of the floor."""
    kept: set[str] = set()
    for slot in range(floor, last_boundary(history.advance().head) + 1, EVERY):
        found: Checkpoint | None = try_checkpoint(history.storage, history.files, slot)
        if found is not None:
            kept |= _files_of(found)
        elif slot == floor:
            return None
    return kept


def _files_of(checkpoint: Checkpoint) -> set[str]:
    return {ref.path for run in checkpoint.runs for ref in run}


def _folder(info: ObjectInfo) -> str:
    return info.path.split("/")[1]


def _number(info: ObjectInfo) -> int:
    digits = info.path.rpartition("/")[2].partition(".")[0]
    return int(digits) if digits.isdigit() else 1 << 62
