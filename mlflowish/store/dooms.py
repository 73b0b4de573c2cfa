"""Objects that are about to be deleted: announced before they are, so that nobody begins to rely on one.

A collection announces the names, looks once more whether anything refers to them, and deletes the others. A writer
asks before it takes a name (`ObjectStore.put`), and once more after it has appended the record that refers to it.
Whichever came first, the other one sees it: two flags, as in Dekker's mutual exclusion. In a bucket neither sees the
other at once; there the collection waits between announcing and deleting for longer than records are on their way. A
doomed name is not used again before `KEPT_S` have passed: a delete that was delayed finds nothing that it could harm.
`tests/catalog/test_announced_doom_model.py` explores all of it, together with the epoch of the catalog.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

import msgpack
from blake3 import blake3

from mlflowish.errors import IntegrityError
from mlflowish.journals import Journals
from mlflowish.storage.base import Storage

KIND = "doomed"
KEPT_S = 7 * 86_400.0
# How old a writer's knowledge may be where looking costs a request. A collection waits much longer before it deletes.
REFRESH_S = 30.0
_log = logging.getLogger("mlflowish.store")


class Dooms:
    """The announcements in one storage."""

    def __init__(self, storage: Storage) -> None:
        self._journals = Journals(storage, KIND, refresh_s=REFRESH_S)

    def __contains__(self, name: str) -> bool:
        return bool(self._journals.get(_key(name)))

    def announce(self, names: Iterable[str]) -> None:
        """From now on nobody begins to use these names. Visible to all when this returns."""
        packed = [(_key(name), bytes(msgpack.packb((name, time.time())))) for name in names]
        for key, payload in packed:
            self._journals.append(key, payload)
        if packed:
            self._journals.flush()

    def since(self) -> dict[str, float]:
        """Every doomed name, and when (seconds since 1970) it was announced last."""
        found: dict[str, float] = {}
        for _, payload in self._journals.scan():
            try:
                name, time_s = unpack_doom(payload)
            except IntegrityError as error:
                _log.warning("Passed over a record: %s", error)
                continue
            found[name] = max(time_s, found.get(name, 0.0))
        return found

    def tidy(self, gone: Iterable[str]) -> None:
        """Forget what was announced long ago of objects that are gone."""
        keys = {_key(name) for name in gone}
        long_ago = time.time() - KEPT_S

        def fold(key: bytes, payloads: list[bytes]) -> list[bytes]:
            return payloads if key not in keys else [each for each in payloads if _time_s(each) > long_ago]

        self._journals.compact(fold)

    def refresh(self) -> None:
        """Read what others have announced."""
        self._journals.refresh()

    def close(self) -> None:
        self._journals.close()


def unpack_doom(payload: bytes) -> tuple[str, float]:
    """Name and time; IntegrityError if nobody of ours can have written it."""
    try:
        name, time_s = msgpack.unpackb(payload)[:2]
        return str(name), float(time_s)
    except (ValueError, TypeError) as error:
        raise IntegrityError(f"the announcement of a deletion cannot be parsed: {error}") from error


def _time_s(payload: bytes) -> float:
    try:
        return unpack_doom(payload)[1]
    except IntegrityError:
        return 0.0


def _key(name: str) -> bytes:
    return bytes(blake3(name.encode()).digest(16))
