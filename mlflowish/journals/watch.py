"""Has a folder changed since it was listed? Cheap enough to ask before every answer 'there is none'."""

from __future__ import annotations

import os
import time
from typing import Protocol

# A folder's mtime moves in steps of the kernel's clock tick (up to 10 ms; more on some file systems): a change that
# comes right after a listing may leave it as it was. Younger than this, it proves nothing.
TRUSTED_AGE_NS = 50_000_000
# Network file systems cache attributes and have clocks of their own: list now and then whatever the mtime says.
RELIST_S = 2.0


class Watch(Protocol):
    def changed(self) -> bool:
        """Must the folder be listed (again)? Call before listing."""

    def settled(self, listed_s: float) -> None:
        """It was listed completely, by a listing that began at that time (`monotonic`)."""

    def reset(self) -> None:
        """The next `changed` is True."""


class FolderWatch:
    """By the mtime of a local folder: one `stat`."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._trusted: int | None = None
        self._candidate: int | None = None
        self._listed_s = float("-inf")

    def changed(self) -> bool:
        try:
            mtime = os.stat(self._folder).st_mtime_ns
        except OSError:  # not there yet, or unreadable: the listing will say
            mtime = -1
        if mtime == self._trusted and time.monotonic() - self._listed_s < RELIST_S:
            return False
        self._candidate = mtime if time.time_ns() - mtime > TRUSTED_AGE_NS else None
        return True

    def settled(self, listed_s: float) -> None:
        self._trusted, self._listed_s = self._candidate, listed_s

    def reset(self) -> None:
        self._trusted = None


class TimedWatch:
    """By the clock, for storages where asking costs as much as listing: at most one listing in `interval_s`."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._listed_s = float("-inf")

    def changed(self) -> bool:
        return time.monotonic() - self._listed_s >= self._interval_s

    def settled(self, listed_s: float) -> None:
        self._listed_s = listed_s

    def reset(self) -> None:
        self._listed_s = float("-inf")
