"""Checkpoints: the state after a slot, so that opening does not read the whole log. They cost time if they are absent
or damaged, and nothing else: the log is the truth.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from blake3 import blake3

from mlflowish.catalog.plain import encode
from mlflowish.catalog.record import checked, unchecked
from mlflowish.catalog.segments import FileRef, Files, Run, lookup_in_run, merged, scan_run, write_run
from mlflowish.catalog.view import Base, Row, View, Written
from mlflowish.errors import IntegrityError, NotFoundError
from mlflowish.storage.base import Storage
from mlflowish.storage.replacing import put_durably

EVERY = 64  # slots: a checkpoint is of the last slot of such a group, so that it is found without a listing
_FACTOR = 4  # a run is merged into the next one unless that is larger by more than this


class Checkpoint:
    """The state after a slot. Nothing is read before something is asked."""

    @property
    def later(self) -> Base | None:
        return None

    def __init__(self, files: Files, slot: int, hash_: str, time_s: float, runs: tuple[Run, ...]) -> None:
        self.files = files
        self.slot, self.hash, self.time_s, self.runs = slot, hash_, time_s, runs

    def lookup(self, key: str) -> Written | None:
        for run in self.runs:
            found = lookup_in_run(self.files, run, key)
            if found is not None:
                return found
        return None

    def scan(self, prefix: str) -> Iterator[Row]:
        return merged([scan_run(self.files, run, prefix) for run in self.runs], with_deletions=False)


def checkpoint_path(slot: int) -> str:
    """Where the checkpoint of a slot rests."""
    return f"catalog/checkpoints/{slot:020d}"


def last_boundary(slot: int) -> int:
    """The newest slot, not after this one, that can have a checkpoint; -1 if there is none."""
    return (slot + 1) // EVERY * EVERY - 1


def load_checkpoint(storage: Storage, files: Files, slot: int) -> Checkpoint | None:
    """The checkpoint of a slot; None if it is absent. IntegrityError if it is damaged."""
    path = checkpoint_path(slot)
    try:
        data = storage.get(path)
    except NotFoundError:
        return None
    fields, _ = unchecked(data, path)
    try:
        runs = tuple(tuple(FileRef(*ref) for ref in run) for run in fields["runs"])
        found = Checkpoint(files, fields["slot"], str(fields["hash"]), float(fields["time"]), runs)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise IntegrityError(f"{path} is no checkpoint: {error!r}", path=path) from error
    if type(found.slot) is not int or found.slot != slot:
        raise IntegrityError(f"{path} holds the checkpoint of slot {found.slot}", path=path)
    return found


def try_checkpoint(storage: Storage, files: Files, slot: int) -> Checkpoint | None:
    """As `load_checkpoint`; a damaged one is none."""
    try:
        return load_checkpoint(storage, files, slot)
    except IntegrityError:
        return None


def newest_from(storage: Storage, files: Files, slot: int) -> Checkpoint | None:
    """A checkpoint at or after a slot, as far on as galloping finds one: twice the step each time, then half of it."""
    start = last_boundary(slot + EVERY - 1)
    found = try_checkpoint(storage, files, start) if start >= 0 else None
    if found is None:
        return None
    step, grows = EVERY, True
    while step >= EVERY:
        further = try_checkpoint(storage, files, found.slot + step)
        if further is not None:
            found = further
        else:
            grows = False
        step = step * 2 if grows else step // 2
    return found


def write_checkpoint(storage: Storage, files: Files, view: View, slot: int) -> Checkpoint:
    """Store the state after `slot`, which the view knows, and give it back.

    If somebody else was quicker, theirs counts, and is given back: they may have built it upon another one, of other
    files, and a cleaning keeps those that the stored one names.
    """
    commit = view.commit_at(slot)
    if commit is None:
        raise NotFoundError(f"The commit of slot {slot} is not at hand", slot=slot)
    try:
        runs = _merged_runs(storage, files, view, slot)
    except IntegrityError:  # the one before it is damaged
        runs = None
    if runs is None:
        runs = (write_run(storage.put_if_absent, slot, view.scan("", slot)),)
    runs = tuple(run for run in runs if run)
    made = Checkpoint(files, slot, commit.hash, commit.time_s, runs)
    if storage.put_if_absent(checkpoint_path(slot), encode_checkpoint(made)):
        return made
    stored = try_checkpoint(storage, files, slot)
    return stored if stored is not None and stored.hash == made.hash else made


def replace_checkpoint(
    storage: Storage, files: Files, slot: int, hash_: str, time_s: float, rows: Iterable[Row]
) -> Checkpoint:
    """Store a state over a checkpoint that is damaged, all of it in files of its own.

    Nothing is removed, and whoever does this writes the same bytes. So it harms nobody who comes late: a process that
    was stopped on its way, while others have done the same and cleaned the log below it. One that was about to remove
    what is damaged would remove the good one, and all that the state stands on.
    """

    def put(path: str, data: bytes) -> None:
        put_durably(storage, path, data)

    run = write_run(put, slot, rows)
    made = Checkpoint(files, slot, hash_, time_s, (run,) if run else ())
    put(checkpoint_path(slot), encode_checkpoint(made))
    return made


def encode_checkpoint(checkpoint: Checkpoint) -> bytes:
    """The bytes of its manifest."""
    fields: dict[str, Any] = {
        "hash": checkpoint.hash,
        "runs": [
            [[ref.slot, ref.hash, ref.size_bytes, ref.index_at, ref.index_check, ref.first] for ref in run]
            for run in checkpoint.runs
        ],
        "slot": checkpoint.slot,
        "time": checkpoint.time_s,
        "v": 1,
    }
    return checked(encode(fields))


def _merged_runs(storage: Storage, files: Files, view: View, slot: int) -> tuple[Run, ...] | None:
    base = view.base
    if not isinstance(base, Checkpoint):
        return None
    changes = list(view.changes_after(base.slot, slot))
    size = sum(len(key) + len(text or "") + 16 for key, _, text in changes)
    taken = 0
    while taken < len(base.runs) and size * _FACTOR >= _size_bytes(base.runs[taken]):
        size += _size_bytes(base.runs[taken])
        taken += 1
    rest = base.runs[taken:]
    sources = [iter(changes), *(scan_run(files, run, "") for run in base.runs[:taken])]
    return (write_run(storage.put_if_absent, slot, merged(sources, with_deletions=bool(rest))), *rest)


def _size_bytes(run: Run) -> int:
    return sum(ref.size_bytes for ref in run)


def damaged_files(storage: Storage, checkpoint: Checkpoint) -> list[FileRef]:
    """Those of its files that are not in the storage, to the last byte, as they were written."""
    return [ref for run in checkpoint.runs for ref in run if not _is_whole(storage, ref)]


def _is_whole(storage: Storage, ref: FileRef) -> bool:
    try:
        data = storage.get(ref.path)
    except NotFoundError:
        return False
    return len(data) == ref.size_bytes and bool(blake3(data).hexdigest() == ref.hash)
