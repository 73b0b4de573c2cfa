"""The log at rest: reading numbered records forward, never by a listing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from mlflowish.catalog.record import Commit, decode_commit, record_path
from mlflowish.errors import IntegrityError, NotFoundError
from mlflowish.storage.base import Storage

WINDOW = 64  # records read before somebody looks for a checkpoint further on
_LANES = 16


class Log:
    """The records of one storage."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        can = storage.capabilities
        self.is_near = can.local_paths or not can.shared  # a read costs microseconds, not a round trip

    def raw(self, slot: int) -> bytes | None:
        """The bytes of a record, None if the slot is empty."""
        try:
            return self.storage.get(record_path(slot))
        except NotFoundError:
            return None

    def read(self, slot: int) -> Commit | None:
        """The commit of a slot, None if it is empty; IntegrityError if it is damaged."""
        data = self.raw(slot)
        return None if data is None else decode_commit(data, slot, self._body)

    def read_from(self, slot: int, count: int, *, at_once: int = 2) -> list[Commit]:
        """Up to `count` commits from a slot on, ended by the first empty one. Where storage is far, `at_once` are asked
        for together, then twice as many, and so on."""
        found: list[Commit] = []
        while len(found) < count:
            ahead = 1 if self.is_near else min(at_once, _LANES, count - len(found))
            batch = self._read_together(slot + len(found), ahead)
            found += batch
            if len(batch) < ahead:
                break
            at_once *= 2
        return found

    def _read_together(self, slot: int, count: int) -> list[Commit]:
        if count == 1:
            commit = self.read(slot)
            return [] if commit is None else [commit]
        with ThreadPoolExecutor(count) as pool:
            raw = list(pool.map(self.raw, range(slot, slot + count)))
        found = []
        for offset, data in enumerate(raw):
            if data is None:
                break
            found.append(decode_commit(data, slot + offset, self._body))
        return found

    def _body(self, path: str) -> bytes:
        try:
            return self.storage.get(path)
        except NotFoundError as error:
            message = f"{path} in {self.storage.url} is gone, and a record of the log needs it"
            raise IntegrityError(message, path=path) from error
