"""The catalog: every record of its log right and chained to the one before, none missing; checkpoints equal the log."""

from __future__ import annotations

import re
from functools import partial

from mlflowish.catalog.checkpoints import Checkpoint, checkpoint_path, damaged_files, load_checkpoint
from mlflowish.catalog.floors import HINT_PATH, Floor, Floors, encode_floor, floor_path, parse_hint
from mlflowish.catalog.plain import encode
from mlflowish.catalog.record import Commit, decode_commit, record_path
from mlflowish.catalog.segments import Files
from mlflowish.errors import IntegrityError, NotFoundError, StateError
from mlflowish.maintenance.checking import Check

_RECORD = re.compile(r"catalog/log/[0-9]{10}/([0-9]{20})\Z")
_CHECKPOINT = re.compile(r"catalog/checkpoints/([0-9]{20})\Z")
State = dict[str, tuple[int, str]]
"""Every key, the slot of its last write, and its value as JSON: what a checkpoint holds."""


def check_catalog(check: Check) -> None:
    """Read floors, checkpoints and the log. Memory grows with what the catalog holds, and a number for each commit."""
    check.watch.begin("catalog")
    floor = _floor(check)
    if floor is None:
        return
    checkpoints = _sound_checkpoints(check, floor)
    if floor >= 0 and floor not in checkpoints:
        what = "the log was cleaned up to here, and the checkpoint that stands for it is damaged or not there"
        if not check.found("catalog-damaged", checkpoint_path(floor), what, partial(_raise_floor, check, checkpoints)):
            return
        floor = Floors(check.storage, is_near=True).look().slot
    elif floor < 0 and checkpoints and (first := min(_slots(check), default=0)):
        what = f"the log begins with the slot {first}, and no floor says that what was before it was cleaned"
        if not check.found("catalog-damaged", floor_path(0), what, partial(_raise_floor, check, checkpoints)):
            return
        floor = Floors(check.storage, is_near=True).look().slot
    _check_log(check, floor, checkpoints)
    _check_hint(check)


def _floor(check: Check) -> int | None:
    """How far the log was cleaned; None if the records of that are damaged, and cannot be made good."""
    floors = Floors(check.storage, is_near=True)
    try:
        return floors.look().slot
    except IntegrityError as error:
        path = str(error.data.get("path", "catalog/floors"))
        mend = partial(_renew_floor, check, path)
        return floors.look().slot if check.found("catalog-damaged", path, error.message, mend) else None


def _renew_floor(check: Check, path: str) -> None:
    """Write a damaged floor anew. Every slot will do that has a sound checkpoint, and all records after it."""
    number = int(path.rpartition("/")[2])
    floor = Floor(number, _slot_to_stand_on(check, _sound_checkpoints(check, 0, tells=False)))
    check.storage.put(path, encode_floor(floor))


def _raise_floor(check: Check, checkpoints: dict[int, Checkpoint]) -> None:
    """Let a later checkpoint stand for the log before it, as a cleaning does."""
    floors = Floors(check.storage, is_near=True)
    floors.raise_to(_slot_to_stand_on(check, checkpoints), after=floors.look())


def _slot_to_stand_on(check: Check, checkpoints: dict[int, Checkpoint]) -> int:
    """The first slot with a sound checkpoint after which no record is missing; StateError if there is none."""
    present = _slots(check)
    last = max([*present, *checkpoints], default=-1)
    for slot in sorted(checkpoints):
        if present.issuperset(range(slot + 1, last + 1)):
            return slot
    raise StateError("There is no sound checkpoint with all records after it: restore the catalog from a backup")


def _slots(check: Check) -> set[int]:
    """Those that have a record."""
    return {int(match[1]) for info in check.storage.list("catalog/log") if (match := _RECORD.match(info.path))}


def _sound_checkpoints(check: Check, floor: int, *, tells: bool = True) -> dict[int, Checkpoint]:
    """Those from the floor on whose files are whole; `tells` of the others."""
    found: dict[int, Checkpoint] = {}
    files, listed = Files(check.storage), list(check.storage.list("catalog/checkpoints"))
    for slot in sorted(int(match[1]) for info in listed if (match := _CHECKPOINT.match(info.path))):
        if slot < floor:
            continue
        check.counts["checkpoints"] += 1
        try:
            checkpoint = load_checkpoint(check.storage, files, slot)
            if checkpoint is None:
                continue  # cleaned meanwhile
            what = ", ".join(ref.path for ref in damaged_files(check.storage, checkpoint))
            what = f"damaged or not there: {what}" if what else ""
        except IntegrityError as error:
            checkpoint, what = None, error.message
        if not what and checkpoint is not None:
            found[slot] = checkpoint
        elif tells:
            _report_checkpoint(check, slot, floor, what)
    return found


def _report_checkpoint(check: Check, slot: int, floor: int, what: str) -> None:
    def remove() -> None:
        if slot <= max(floor, Floors(check.storage, is_near=True).look().slot):
            raise StateError("The log before it was cleaned, so it cannot be made again", slot=slot)
        # The files that it names stay: others may share them, and cleaning knows which are needed.
        check.storage.delete(checkpoint_path(slot))

    check.found("checkpoint-damaged", checkpoint_path(slot), what, remove)


def _report_disagreement(check: Check, slot: int, floor: int) -> None:
    what = "it does not hold what the log up to it says"
    if floor < 0:
        _report_checkpoint(check, slot, floor, what)
        return

    def remove() -> None:
        message = f"Either it is wrong or that of slot {floor}, on which the rest of the log stands: nobody can tell"
        raise StateError(message, slot=slot)

    check.found("checkpoint-damaged", checkpoint_path(slot), what, remove)


def _check_log(check: Check, floor: int, checkpoints: dict[int, Checkpoint]) -> None:
    state: State = {key: (slot, text or "") for key, slot, text in checkpoints[floor].scan("")} if floor >= 0 else {}
    slots = sorted(_slots(check))
    newest = max(checkpoints, default=-1)
    last, before = floor, None
    for slot in (slot for slot in slots if slot > floor):
        check.counts["commits"] += 1
        check.watch.advance()
        path = record_path(slot)
        if slot != last + 1:
            check.found("catalog-damaged", path, f"the records from {last + 1} to {slot - 1} are not there")
            return
        commit = _read(check, slot, path)
        if commit is None:
            return  # nothing after it can be read either
        expected = checkpoints[floor].hash if slot == floor + 1 and floor >= 0 else before.hash if before else None
        if expected is not None and commit.previous != expected:
            check.found("catalog-damaged", path, "it does not follow the record before it: another hash")
        elif before is not None and (commit.time_s < before.time_s or commit.epoch < before.epoch):
            check.found("catalog-damaged", path, "its time or epoch lies before that of the record before it")
        _apply(state, commit)
        if slot in checkpoints and checkpoints[slot].hash != commit.hash:
            _report_checkpoint(check, slot, floor, "it is of another log: its hash is not that of the record")
        elif slot == newest and {key: (at, text or "") for key, at, text in checkpoints[slot].scan("")} != state:
            _report_disagreement(check, slot, floor)
        last, before = slot, commit
    for slot in (slot for slot in checkpoints if slot > last):
        check.found("catalog-damaged", record_path(slot), "a checkpoint is there and the record is not")


def _apply(state: State, commit: Commit) -> None:
    for change in commit.transactions:
        for key in change.deletes:
            state.pop(key, None)
        for key, value in change.puts.items():
            state[key] = (commit.slot, encode(value))


def _read(check: Check, slot: int, path: str) -> Commit | None:
    def body(named: str) -> bytes:
        try:
            return check.storage.get(named)
        except NotFoundError as error:
            raise IntegrityError(f"its body {named} is not there", path=named) from error

    try:
        return decode_commit(check.storage.get(path), slot, body)
    except NotFoundError:
        return None  # cleaned meanwhile
    except IntegrityError as error:
        check.found("catalog-damaged", path, error.message)
        return None


def _check_hint(check: Check) -> None:
    storage = check.storage
    try:
        data = storage.get(HINT_PATH)
    except NotFoundError:
        return
    try:
        _, floor = parse_hint(data)
        if floor.number >= 0 and storage.get(floor_path(floor.number)) != encode_floor(floor):
            raise IntegrityError(f"it names the slot {floor.slot} for {floor_path(floor.number)}", path=HINT_PATH)
    except (IntegrityError, NotFoundError) as error:
        check.found("hint-damaged", HINT_PATH, error.message, lambda: storage.delete(HINT_PATH))
