"""One writer computes, the others wait (`lock=True`): leases that a dead process cannot keep.

A lease is `leases/<key>/<n>`, won by put-if-absent. Its holder rewrites it while it works; whoever sees it
unchanged for the length of the lease, by his own monotonic clock, takes `<n + 1>`. Losing a lease costs a duplicate
computation at worst: results never depend on it.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from mlflowish.errors import MlflowishError, NotFoundError
from mlflowish.storage import Storage
from mlflowish.store import Store

_FIRST_POLL_S = 0.005
_LONGEST_POLL_S = 0.25
T = TypeVar("T")


class Lease:
    """The lease of one key, held by this object between `acquire` and `release`."""

    def __init__(self, storage: Storage, key: bytes, length_s: float) -> None:
        self._storage = storage
        self._folder = f"leases/{key.hex()}"
        self._length_s = length_s
        self._nonce = os.urandom(8).hex()
        self._place: int | None = None
        self._stop = threading.Event()
        self._heart: threading.Thread | None = None

    def acquire(self, ready: Callable[[], bool]) -> bool:
        """Wait until the lease is ours (True), or `ready()` says that it is not needed any more (False)."""
        place, seen, since, poll_s = 0, b"", time.monotonic(), _FIRST_POLL_S
        while True:
            found = self._read(place)
            if found is None and self._storage.put_if_absent(self._path(place), self._text(0)):
                self._hold(place)
                return True
            if ready():
                return False
            if found is not None and found != seen:
                seen, since = found, time.monotonic()
            elif found is not None and time.monotonic() - since > self._length_s:
                place, seen, since = place + 1, b"", time.monotonic()
                continue
            elif found is None:
                place, seen = 0, b""
            time.sleep(poll_s)
            poll_s = min(_LONGEST_POLL_S, poll_s * 1.5)

    def release(self) -> None:
        """Give it back, and clear what dead holders left before us."""
        self._stop.set()
        if self._heart is not None:
            self._heart.join()
        if self._place is not None:
            for place in range(self._place + 1):
                try:
                    self._storage.delete(self._path(place))
                except MlflowishError:
                    break  # what is left of it expires, and the result is worth more
        self._place = None

    def _hold(self, place: int) -> None:
        self._place = place
        self._heart = threading.Thread(target=self._beat, args=(place,), name="mlflowish-lease", daemon=True)
        self._heart.start()

    def _beat(self, place: int) -> None:
        beat = 0
        while not self._stop.wait(self._length_s / 4):
            beat += 1
            try:
                self._storage.put(self._path(place), self._text(beat))
            except MlflowishError:
                # A lease that cannot be renewed expires, which is what a lease is for: another may compute the
                # same.
                return

    def _read(self, place: int) -> bytes | None:
        try:
            return self._storage.get(self._path(place))
        except NotFoundError:
            return None

    def _path(self, place: int) -> str:
        return f"{self._folder}/{place}"

    def _text(self, beat: int) -> bytes:
        return json.dumps({"nonce": self._nonce, "beat": beat}).encode()


@contextmanager
def leased(
    store: Store, key: bytes, length_s: float, *, find: Callable[[], T | None], warn: Callable[[str], None]
) -> Iterator[T | None]:
    """A block that holds the lease of a key; gives what `find` finds instead, if another holder stored it meanwhile."""
    found: list[T] = []

    def ready() -> bool:
        result = find()
        if result is not None:
            found.append(result)
        return result is not None

    lease = Lease(store.storage, key, length_s)
    try:
        store.create()
        held = lease.acquire(ready)
    except MlflowishError as error:
        warn(f"no lease could be had, so others may compute the same: {error}")
        yield None
        return
    try:
        # A holder stores before he releases: having the lease, look once more.
        yield found[0] if found else (find() if held else None)
    finally:
        lease.release()
