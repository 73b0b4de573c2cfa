"""What lies in a bucket's folders of journals and segments, listed at once for all kinds of records: a process asks for
most of them in the same moments, and a listing costs a request whatever it finds."""

from __future__ import annotations

import threading
import weakref
from math import inf
from time import monotonic

from mlflowish.storage.base import ObjectInfo, Storage

# As many come in one answer. Where there are more, a kind is better listed alone.
_ONE_ANSWER = 1_000


class Listings:
    """The newest listings of one storage. Thread-safe."""

    def __init__(self, storage: Storage) -> None:
        self._storage = weakref.ref(storage)
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, dict[str, list[ObjectInfo]]]] = {}
        self._lists_all = True
        self._changed_s = -inf

    def files(self, folder: str, kind: str, *, since_s: float) -> tuple[float, list[ObjectInfo]]:
        """When it was listed (by `monotonic`), not before `since_s`, and what was in the folder of this kind."""
        with self._lock:
            began_s, found = self._known.get(folder, (-inf, {}))
            if began_s >= max(since_s, self._changed_s):
                return began_s, found.get(kind, [])
            began_s = monotonic()
            if not self._lists_all:
                return began_s, self._list(f"{folder}/{kind}")
            infos, found = self._list(folder), {}
            for info in infos:
                found.setdefault(info.path.split("/")[1], []).append(info)
            self._known[folder] = began_s, found
            self._lists_all = len(infos) < _ONE_ANSWER
            return began_s, found.get(kind, [])

    def changed(self) -> None:
        """This process has written there: what was listed before is not what it may expect to find."""
        self._changed_s = monotonic()

    def _list(self, folder: str) -> list[ObjectInfo]:
        storage = self._storage()
        assert storage is not None  # whoever asks holds it
        return list(storage.list(folder))


def listings_of(storage: Storage) -> Listings:
    """Those that all journals of this storage share."""
    with _lock:
        return _known.setdefault(storage, Listings(storage))


_known: weakref.WeakKeyDictionary[Storage, Listings] = weakref.WeakKeyDictionary()
_lock = threading.Lock()
