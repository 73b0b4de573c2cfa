"""Cleaning the log: what is older than a checkpoint that is kept, and than anybody needs, is removed.

The order is the safety: a verified checkpoint, the floor, then the records in ascending order, then what only they
needed. A crash at any point leaves files that the next cleaning removes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from mlflowish.catalog.checkpoints import (
    EVERY,
    Checkpoint,
    checkpoint_path,
    damaged_files,
    last_boundary,
    load_checkpoint,
    try_checkpoint,
)
from mlflowish.catalog.floors import write_hint
from mlflowish.catalog.history import History
from mlflowish.errors import IntegrityError
from mlflowish.storage.base import ObjectInfo

KEEP_S = 7 * 86_400.0
KEEP_SLOTS = 1024
# A record that has just been written into a slot that was cleaned long ago is its writer's to remove.
_UNTOUCHED_S = 3600.0


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What a cleaning did: the slot up to which the log may be gone (-1: nothing was cleaned), and what it removed."""

    floor: int
    files: int
    size_bytes: int = 0


def clean(history: History, *, keep_s: float, keep_slots: int, untouched_s: float = _UNTOUCHED_S) -> Cleaned:
    """Remove what is older than both limits."""
    view = history.advance()
    history.floors.look(even_if_fresh=True)
    slot = last_boundary(view.head - max(keep_slots, 0))
    now_s = time.time()
    if slot > history.floors.newest.slot:
        slot = min(slot, last_boundary(history.slot_at_time(view, now_s - keep_s)))
    if slot > history.floors.newest.slot:
        _require_checkpoint(history, slot)
        history.floors.raise_to(slot)
    floor = history.floors.look(even_if_fresh=True).slot
    if floor < 0:
        return Cleaned(-1, 0)
    write_hint(history.storage, max(floor, history.view().base.slot), history.floors.newest)
    removed = _remove(history, floor, now_s - untouched_s)
    return Cleaned(floor, len(removed), sum(removed))


def _require_checkpoint(history: History, slot: int) -> None:
    """A checkpoint of the slot that was read to its last byte, made if there is none, and anew if it is damaged."""
    storage = history.storage
    for _ in range(2):
        found = try_checkpoint(storage, history.files, slot)
        damaged = damaged_files(storage, found) if found is not None else []
        if found is not None and not damaged:
            return
        storage.delete(checkpoint_path(slot))
        for ref in damaged:  # they are written again under the same names, or are of no use
            storage.delete(ref.path)
        history.checkpoint(slot)
    found = load_checkpoint(storage, history.files, slot)
    if found is None or damaged_files(storage, found):
        raise IntegrityError(
            f"The checkpoint of slot {slot} in {storage.url} is damaged as soon as it is written: nothing was cleaned. "
            "Look after the disk.",
            slot=slot,
        )


def _remove(history: History, floor: int, before_s: float) -> list[int]:
    """The sizes of the files that it removed."""
    storage = history.storage
    removed = []
    old = sorted(
        (info for info in storage.list("catalog/log") if _number(info) <= floor and not info.modified_s > before_s),
        key=_number,
    )
    for info in old:
        storage.delete(info.path)
        removed.append(info.size_bytes)
    kept = _kept_files(history, floor)
    for folder in ("checkpoints", "bodies", "segments"):
        for info in storage.list(f"catalog/{folder}"):
            is_older = _number(info) < floor + (folder != "checkpoints")
            if is_older and info.path not in kept and not info.modified_s > before_s:
                storage.delete(info.path)
                removed.append(info.size_bytes)
    return removed


def _kept_files(history: History, floor: int) -> set[str]:
    """The files that the checkpoints from the floor on name."""
    kept: set[str] = set()
    for slot in range(floor, last_boundary(history.view().head) + 1, EVERY):
        found: Checkpoint | None = try_checkpoint(history.storage, history.files, slot)
        if found is not None:
            kept |= {ref.path for run in found.runs for ref in run}
    return kept


def _number(info: ObjectInfo) -> int:
    digits = info.path.rpartition("/")[2].partition(".")[0]
    return int(digits) if digits.isdigit() else 1 << 62
