"""The catalog: every record of its log right and chained to the one before, none missing; checkpoints equal the log."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from functools import partial

from mlflowish.catalog.checkpoints import (
    Checkpoint,
    checkpoint_path,
    damaged_files,
    load_checkpoint,
    replace_checkpoint,
)
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


class _CleanedMeanwhile(Exception):
    """What does not fit together was read before and after a cleaning."""


def check_catalog(check: Check) -> None:
    """Read floors, checkpoints and the log. Memory grows with what the catalog holds, and a number for each commit.

    What a cleaning explains that came meanwhile is no damage: all is looked at once more then.
    """
    check.watch.begin("catalog")
    before, is_done = Counter(check.counts), False
    while not is_done:
        check.counts = Counter(before)
        floor = _floor(check)
        try:
            is_done = floor is None or _look(check, floor)
        except _CleanedMeanwhile:
            continue
        except IntegrityError:
            if _newest_floor(check) == floor:
                raise


def _look(check: Check, floor: int) -> bool:
    """Look at all but the floors; False if a repair has raised the floor, so that the rest stands on another one."""
    checkpoints, damaged = _checkpoints(check, floor)
    if floor in damaged:
        _found(check, floor, "checkpoint-damaged", checkpoint_path(floor), damaged.pop(floor), _cannot_be_made_again)
    what = ""
    if floor >= 0 and floor not in checkpoints:
        path = checkpoint_path(floor)
        what = "the log was cleaned up to here, and the checkpoint that stands for it is damaged or not there"
    elif floor < 0 and checkpoints and (first := min(_slots(check), default=0)):
        path = floor_path(0)
        what = f"the log begins with the slot {first}, and no floor says that what was before it was cleaned"
    if not what:
        _check_log(check, floor, checkpoints, damaged)
        _check_hint(check)
    elif _found(check, floor, "catalog-damaged", path, what, partial(_raise_floor, check, checkpoints)):
        return False
    else:
        _report_rest(check, floor, damaged)
    return True


def _found(check: Check, floor: int, code: str, path: str, what: str, mend: Callable[[], object] | None = None) -> bool:
    """Note a finding, unless the log was cleaned since it was looked at."""
    if _newest_floor(check) != floor:
        raise _CleanedMeanwhile
    return check.found(code, path, what, mend)


def _newest_floor(check: Check) -> int:
    return Floors(check.storage, is_near=True).look().slot


def _floor(check: Check) -> int | None:
    """How far the log was cleaned; None if the records of that are damaged, and cannot be made good."""
    try:
        return _newest_floor(check)
    except IntegrityError as error:
        path = str(error.data.get("path", "catalog/floors"))
        mend = partial(_renew_floor, check, path)
        return _newest_floor(check) if check.found("catalog-damaged", path, error.message, mend) else None


def _renew_floor(check: Check, path: str) -> None:
    """Write a damaged floor anew. Every slot will do that has a sound checkpoint, and all records after it."""
    number = int(path.rpartition("/")[2])
    floor = Floor(number, _slot_to_stand_on(check, _checkpoints(check, 0)[0]))
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


def _checkpoints(check: Check, floor: int) -> tuple[dict[int, Checkpoint], dict[int, str]]:
    """Those from the floor on whose files are whole, and what is wrong with the others."""
    found: dict[int, Checkpoint] = {}
    damaged: dict[int, str] = {}
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
        else:
            damaged[slot] = what
    return found, damaged


def _cannot_be_made_again() -> None:
    raise StateError("The log before it was cleaned, or cannot be read, so it cannot be made again")


def _report_rest(check: Check, floor: int, damaged: dict[int, str]) -> None:
    """Damaged checkpoints, of a log that cannot be read up to them."""
    for slot, what in damaged.items():
        _found(check, floor, "checkpoint-damaged", checkpoint_path(slot), what, _cannot_be_made_again)


def _report_checkpoint(check: Check, floor: int, commit: Commit, state: State, what: str) -> None:
    """A checkpoint that is to be replaced by what the log says. It is not removed: another process may replace it as
    well, and clean the log before it, in the very moment before."""

    def replace() -> None:
        rows = ((key, at, text) for key, (at, text) in sorted(state.items()))
        replace_checkpoint(check.storage, Files(check.storage), commit.slot, commit.hash, commit.time_s, rows)

    _found(check, floor, "checkpoint-damaged", checkpoint_path(commit.slot), what, replace)


def _report_disagreement(check: Check, floor: int, commit: Commit, state: State) -> None:
    what = "it does not hold what the log up to it says"
    if floor < 0:
        _report_checkpoint(check, floor, commit, state, what)
        return

    def leave() -> None:
        message = f"Either it is wrong or that of slot {floor}, on which the rest of the log stands: nobody can tell"
        raise StateError(message, slot=commit.slot)

    _found(check, floor, "checkpoint-damaged", checkpoint_path(commit.slot), what, leave)


def _check_log(check: Check, floor: int, checkpoints: dict[int, Checkpoint], damaged: dict[int, str]) -> None:
    state: State = {key: (slot, text or "") for key, slot, text in checkpoints[floor].scan("")} if floor >= 0 else {}
    newest = max(checkpoints, default=-1)
    last, before = floor, None
    for slot in (slot for slot in sorted(_slots(check)) if slot > floor):
        check.counts["commits"] += 1
        check.watch.advance()
        path = record_path(slot)
        if slot != last + 1:
            _found(check, floor, "catalog-damaged", path, f"the records from {last + 1} to {slot - 1} are not there")
            break
        commit = _read(check, floor, slot, path)
        if commit is None:
            break  # nothing after it can be read either
        expected = checkpoints[floor].hash if slot == floor + 1 and floor >= 0 else before.hash if before else None
        if expected is not None and commit.previous != expected:
            _found(check, floor, "catalog-damaged", path, "it does not follow the record before it: another hash")
        elif before is not None and (commit.time_s < before.time_s or commit.epoch < before.epoch):
            _found(check, floor, "catalog-damaged", path, "its time or epoch lies before that of the record before it")
        _apply(state, commit)
        if slot in damaged:
            _report_checkpoint(check, floor, commit, state, damaged.pop(slot))
        elif slot in checkpoints and checkpoints[slot].hash != commit.hash:
            what = "it is of another log: its hash is not that of the record"
            _report_checkpoint(check, floor, commit, state, what)
        elif slot == newest and {key: (at, text or "") for key, at, text in checkpoints[slot].scan("")} != state:
            _report_disagreement(check, floor, commit, state)
        last, before = slot, commit
    else:
        for slot in (slot for slot in checkpoints if slot > last):
            what = "a checkpoint is there and the record is not"
            _found(check, floor, "catalog-damaged", record_path(slot), what)
    _report_rest(check, floor, damaged)


def _apply(state: State, commit: Commit) -> None:
    for change in commit.transactions:
        for key in change.deletes:
            state.pop(key, None)
        for key, value in change.puts.items():
            state[key] = (commit.slot, encode(value))


def _read(check: Check, floor: int, slot: int, path: str) -> Commit | None:
    def body(named: str) -> bytes:
        try:
            return check.storage.get(named)
        except NotFoundError as error:
            raise IntegrityError(f"its body {named} is not there", path=named) from error

    try:
        return decode_commit(check.storage.get(path), slot, body)
    except NotFoundError:
        if _newest_floor(check) != floor:
            raise _CleanedMeanwhile from None
        return None
    except IntegrityError as error:
        _found(check, floor, "catalog-damaged", path, error.message)
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
