"""How far the log was cleaned, and the hint where to begin reading it.

A cleaning first creates the next numbered floor, then removes the records up to its slot: who knows floor `k` and finds
no `k + 1` knows that nothing beyond was removed before it looked. The hint only saves time: it is overwritten, may be
stale, damaged or absent.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Any

from mlflowish.catalog.plain import encode
from mlflowish.catalog.record import checked, unchecked
from mlflowish.errors import IntegrityError, MlflowishError, NotFoundError, StorageError
from mlflowish.storage.base import Storage

HINT_PATH = "catalog/HINT"
Clocks = tuple[float, float]
# Looking costs a request where storage is far. Cleaning leaves what was written within the last hour, by the clock of
# the storage, so what was true a minute ago is good enough.
_TRUSTED_S = 60.0
_MOST_SLOTS, _MOST_NUMBERS = 10**20, 10**10  # what fits into a name
_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))
_log = logging.getLogger("mlflowish.catalog")


@dataclass(frozen=True, slots=True)
class Floor:
    """Cleaning number `number`: the records up to `slot` may be gone, the checkpoint of `slot` is kept."""

    number: int = -1
    slot: int = -1


class Floors:
    """What one handle knows of the cleanings."""

    def __init__(self, storage: Storage, *, is_near: bool) -> None:
        self._storage, self._is_near = storage, is_near
        self.newest = Floor()
        self._looked: tuple[float, float] | None = None

    def look(self, *, even_if_fresh: bool = False) -> Floor:
        """The newest floor; asks the storage unless it was asked within the last minute."""
        if even_if_fresh or self._is_near or self._looked is None or not is_recent(self._looked):
            began = clocks()
            self.newest = self._newest_after(self.newest)
            self._looked = began
        return self.newest

    def start(self, hinted: Floor) -> None:
        """Begin at a floor that a hint named, if it is there; what is damaged is as the hint says."""
        if hinted.number <= self.newest.number:
            return
        try:
            found = self._read(hinted.number)
        except IntegrityError as error:
            _log.warning("A floor of the catalog at %s is damaged (%s): go by the hint", self._storage.url, error)
            found = hinted
        self.newest = found or self.newest

    def raise_to(self, slot: int, *, after: Floor) -> Floor | None:
        """Create the floor that follows one; None if somebody else was quicker, or has cleaned further."""
        floor = Floor(after.number + 1, slot)
        if slot <= self.newest.slot or not self._storage.put_if_absent(floor_path(floor.number), encode_floor(floor)):
            return None
        self.newest = floor
        return floor

    def _newest_after(self, known: Floor) -> Floor:
        """Twice the step each time one is there, half of it when none is."""
        step, grows = 1, True
        while step:
            further = self._read(known.number + step)
            if further is not None:
                known = Floor(further.number, max(further.slot, known.slot))  # what is removed does not come back
            else:
                grows = False
            step = step * 2 if grows else step // 2
        return known

    def _read(self, number: int) -> Floor | None:
        path = floor_path(number)
        try:
            data = self._storage.get(path)
        except NotFoundError:
            return None
        found = _floor_in(unchecked(data, path)[0])
        if found is None or found.number != number:
            raise IntegrityError(f"{path} is no floor, or that of another cleaning", path=path)
        return found


def floor_path(number: int) -> str:
    """Where a floor rests."""
    return f"catalog/floors/{number:010d}"


def encode_floor(floor: Floor) -> bytes:
    """The bytes of a floor."""
    return checked(encode({"floor": floor.slot, "number": floor.number, "v": 1}))


def read_hint(storage: Storage) -> tuple[int, Floor]:
    """The slot of a checkpoint, -1 if unknown, and a floor: both may be old."""
    try:
        return parse_hint(storage.get(HINT_PATH))
    except MlflowishError as error:
        if not isinstance(error, NotFoundError):
            _log.info("The hint of the catalog at %s is of no use: %s", storage.url, error)
        return -1, Floor()


def parse_hint(data: bytes) -> tuple[int, Floor]:
    """What the bytes of a hint say; IntegrityError if that makes no sense."""
    fields, _ = unchecked(data, HINT_PATH)
    checkpoint, floor = fields.get("checkpoint"), _floor_in(fields)
    if floor is None or type(checkpoint) is not int or not -1 <= checkpoint < _MOST_SLOTS:
        raise IntegrityError(f"{HINT_PATH} names no checkpoint and no floor", path=HINT_PATH)
    return checkpoint, floor


def _floor_in(fields: dict[str, Any]) -> Floor | None:
    """The floor that the fields name; None if they name none."""
    number, slot = fields.get("number"), fields.get("floor")
    if type(number) is not int or type(slot) is not int:
        return None
    is_one = -1 <= number < _MOST_NUMBERS and -1 <= slot < _MOST_SLOTS and (number < 0) == (slot < 0)
    return Floor(number, slot) if is_one else None


def write_hint(storage: Storage, checkpoint: int, floor: Floor) -> None:
    """Say where to begin; if that fails, readers look further."""
    fields = {"checkpoint": checkpoint, "floor": floor.slot, "number": floor.number, "v": 1}
    try:
        storage.put(HINT_PATH, checked(encode(fields)))
    except StorageError as error:
        _log.info("The hint of the catalog at %s was not written: %s", storage.url, error)


def clocks() -> Clocks:
    """A clock that goes on while the machine sleeps, and the one on the wall: what either has seen pass has passed."""
    return time.monotonic() if _BOOT_CLOCK is None else time.clock_gettime(_BOOT_CLOCK), time.time()


def is_recent(then: Clocks) -> bool:
    """Is it so short ago that nothing can have been cleaned that was written since?"""
    boot_s, wall_s = clocks()
    return 0 <= boot_s - then[0] < _TRUSTED_S and 0 <= wall_s - then[1] < _TRUSTED_S
