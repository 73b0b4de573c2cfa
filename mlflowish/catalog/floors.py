"""How far the log was cleaned, and the hint where to begin reading it.

A cleaning first creates the next numbered floor, then removes the records up to its slot: who knows floor `k` and finds
no `k + 1` knows that nothing beyond was removed before it looked. The hint only saves time: it is overwritten, may be
stale, damaged or absent.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from mlflowish.catalog.plain import encode
from mlflowish.catalog.record import checked, unchecked
from mlflowish.errors import IntegrityError, MlflowishError, NotFoundError, StorageError
from mlflowish.storage.base import Storage

HINT_PATH = "catalog/HINT"
# Looking costs a request where storage is far. Cleaning leaves a week, so what was true a minute ago is good enough.
_TRUSTED_S = 60.0
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
        if even_if_fresh or self._is_near or not self._is_fresh():
            began = _clocks()
            self.newest = self._newest_after(self.newest)
            self._looked = began
        return self.newest

    def start(self, hinted: Floor) -> None:
        """Begin at a floor that a hint named."""
        if hinted.number > self.newest.number:
            self.newest = hinted

    def raise_to(self, slot: int) -> Floor | None:
        """Create the next floor; None if somebody else was quicker."""
        floor = Floor(self.look(even_if_fresh=True).number + 1, slot)
        data = checked(encode({"floor": slot, "number": floor.number, "v": 1}))
        if not self._storage.put_if_absent(floor_path(floor.number), data):
            return None
        self.newest = floor
        return floor

    def _newest_after(self, known: Floor) -> Floor:
        """Twice the step each time one is there, half of it when none is."""
        step, grows = 1, True
        while step:
            further = self._read(known.number + step)
            if further is not None:
                known = further
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
        fields, _ = unchecked(data, path)
        try:
            return Floor(int(fields["number"]), int(fields["floor"]))
        except (KeyError, TypeError, ValueError) as error:
            raise IntegrityError(f"{path} is no floor: {error!r}", path=path) from error

    def _is_fresh(self) -> bool:
        if self._looked is None:
            return False
        return all(0 <= now - then < _TRUSTED_S for now, then in zip(_clocks(), self._looked, strict=True))


def floor_path(number: int) -> str:
    """Where a floor rests."""
    return f"catalog/floors/{number:010d}"


def read_hint(storage: Storage) -> tuple[int, Floor]:
    """The slot of a checkpoint, -1 if unknown, and a floor: both may be old."""
    try:
        fields, _ = unchecked(storage.get(HINT_PATH), HINT_PATH)
        return int(fields["checkpoint"]), Floor(int(fields["number"]), int(fields["floor"]))
    except (MlflowishError, KeyError, TypeError, ValueError) as error:
        if not isinstance(error, NotFoundError):
            _log.info("The hint of the catalog at %s is of no use: %s", storage.url, error)
        return -1, Floor()


def write_hint(storage: Storage, checkpoint: int, floor: Floor) -> None:
    """Say where to begin; if that fails, readers look further."""
    fields = {"checkpoint": checkpoint, "floor": floor.slot, "number": floor.number, "v": 1}
    try:
        storage.put(HINT_PATH, checked(encode(fields)))
    except StorageError as error:
        _log.info("The hint of the catalog at %s was not written: %s", storage.url, error)


def _clocks() -> tuple[float, float]:
    """A clock that goes on while the machine sleeps, and the one on the wall: what either has seen pass has passed."""
    return time.monotonic() if _BOOT_CLOCK is None else time.clock_gettime(_BOOT_CLOCK), time.time()
