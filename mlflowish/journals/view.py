"""What one process knows of one kind of records: the journals it follows, the segments it has mapped, the answers it
has given.

Not locked: `Journals` is. The order of a refresh makes a record visible at every moment of its move from a journal
into a segment: journals are listed and read first, segments after them, and a journal that vanished is dropped last.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import nan
from typing import Any

from mlflowish.errors import NotFoundError, StorageError
from mlflowish.journals.access import Access
from mlflowish.journals.compaction import due_journals, due_segments
from mlflowish.journals.frames import (
    FILE_HEAD_BYTES,
    JOURNAL_MAGIC,
    KEY_BYTES,
    nonce_of_name,
    read_header,
    scan_frames,
    seal_of,
)
from mlflowish.journals.listings import listings_of
from mlflowish.journals.segment import Segment
from mlflowish.journals.watch import FolderWatch, TimedWatch, Watch
from mlflowish.storage.base import ObjectInfo, Storage

ANSWER_LIMIT = 200_000
ANSWER_BYTES = 64 << 20
# More payloads under one key are kept as the keys of a dict: looking for one among thousands takes too long.
MANY_PAYLOADS = 8
# How long records that this process shipped stay known without having been listed: longer than any listing is stale.
UNLISTED_S = 60.0

_log = logging.getLogger("mlflowish.journals")


@dataclass(slots=True)
class Tail:
    """One journal as far as it was read. `is_own`: this process writes it, or has it only in its spool, and knows all
    of it."""

    path: str
    is_own: bool = False
    is_finished: bool = False
    seal: bytes | None = None
    position: int = 0
    seen_bytes: int = 0
    keep_until_s: float = 0.0
    records: dict[bytes, tuple[bytes, ...] | dict[bytes, None]] = field(default_factory=dict)

    def add(self, key: bytes, payload: bytes) -> bool:
        """Remember one record; False if it was known."""
        known = self.records.get(key)
        if known is None:
            self.records[key] = (payload,)
        elif payload in known:
            return False
        elif isinstance(known, dict):
            known[payload] = None
        elif len(known) < MANY_PAYLOADS:
            self.records[key] = (*known, payload)
        else:
            self.records[key] = dict.fromkeys((*known, payload))
        return True

    def items(self) -> list[bytes]:
        """Every record (key followed by payload) in order."""
        return sorted(key + payload for key, payloads in self.records.items() for payload in payloads)


@dataclass(frozen=True, slots=True)
class Holdings:
    """Everything that was known at one moment: segments, and what lies in journals, by key. `mark` is equal as long as
    nothing changes."""

    mark: tuple[Any, ...]
    segments: tuple[Segment, ...]
    loose: dict[bytes, tuple[bytes, ...]]


class View:
    """See the module. `answers` maps a key to all payloads known under it: others may read it, without a lock."""

    def __init__(self, storage: Storage, kind: str, *, access: Access, refresh_s: float) -> None:
        self._storage, self._kind, self._access = storage, kind, access
        self.journal_folder, self.segment_folder = f"journals/{kind}", f"segments/{kind}"
        self._journal_watch = _watch(storage, self.journal_folder, refresh_s)
        self._segment_watch = _watch(storage, self.segment_folder, refresh_s)
        self._refresh_s = refresh_s
        self._listings = None if storage.capabilities.append else listings_of(storage)
        self._journals_listed_s = self._segments_listed_s = float("-inf")
        self._tails: dict[str, Tail] = {}
        self._segments: dict[str, Segment] = {}
        self._is_spooled = not storage.capabilities.append
        self.is_loaded = False
        self._news = 0
        self.answers: dict[bytes, tuple[bytes, ...]] = {}
        self._answer_bytes = 0

    def find(self, key: bytes) -> tuple[bytes, ...]:
        """All payloads under `key`; looks for news before it answers that there is none."""
        return self._search(key) or (self._search(key) if self.refresh() else ())

    def views(self, key: bytes) -> list[bytes | memoryview]:
        """The payloads that are known under `key`, not copied: for large ones. One may come more than once."""
        found: list[bytes | memoryview] = []
        for tail in self._tails.values():
            found += tail.records.get(key, ())
        for segment in self._segments.values():
            found += segment.views(key)
        return found

    def load(self) -> None:
        """The first refresh. A store that cannot be reached is no error as long as this process knows records of its
        own.
        """
        try:
            self.refresh()
        except StorageError:
            if not self._tails:
                raise

    def refresh(self, *, force: bool = False) -> bool:
        """Read what is new; was anything? `force` lists whatever the watches say."""
        before = self._news
        gone = self._refresh_journals(force=force)
        if self._segment_watch.changed() or force or gone:
            self._refresh_segments(force=force or bool(gone))
        for path in gone:
            self._tails.pop(path, None)
            self._access.forget(path)
        self.is_loaded = True
        return self._news != before

    def sources(self) -> list[Iterator[bytes]]:
        """Sorted streams of all known records, as they are now."""
        journals = [iter(tail.items()) for tail in self._tails.values()]
        return journals + [segment.items() for segment in self._segments.values()]

    def mark(self) -> tuple[Any, ...]:
        """Something that is equal as long as the same is known."""
        tails = sorted((tail.path, tail.position, len(tail.records)) for tail in self._tails.values())
        return tuple(sorted(self._segments)), tuple(tails)

    def record_count(self) -> int:
        """How many records are known, about."""
        return sum(segment.record_count for segment in self._segments.values()) + sum(
            len(tail.records) for tail in self._tails.values()
        )

    def holdings(self) -> Holdings:
        """All that is known. Payloads may come twice."""
        loose: dict[bytes, tuple[bytes, ...]] = {}
        for tail in self._tails.values():
            for key, payloads in tail.records.items():
                loose[key] = (*loose.get(key, ()), *payloads)
        return Holdings(self.mark(), tuple(self._segments.values()), loose)

    def known(self) -> list[Iterator[bytes]]:
        """Streams of all known records, as they are now, in no order: nothing is sorted."""
        # A copy of the dictionary, because it grows; made at once, so that no thread comes in between.
        loose = [
            (key + payload for key, payloads in list(tail.records.items()) for payload in payloads)
            for tail in reversed(self._tails.values())
        ]
        return loose + [segment.items() for segment in self._segments.values()]

    def adopt(self, tail: Tail) -> None:
        """Begin to know a journal of this process."""
        self._tails[tail.path] = tail
        for key in tail.records:
            self.answers.pop(key, None)

    def note(self, tail: Tail, key: bytes, payload: bytes) -> None:
        """A record was appended to `tail`, which is of this process."""
        if tail.add(key, payload):
            self.answers.pop(key, None)

    def knows(self, tail: Tail) -> bool:
        """Is this journal of ours still where it was written?"""
        return self._tails.get(tail.path) is tail

    def shipped(self, tail: Tail, path: str) -> None:
        """A journal from the spool now rests in the store, at `path`."""
        self._tails.pop(tail.path, None)
        tail.path, tail.is_own, tail.is_finished = path, False, True
        tail.keep_until_s = time.monotonic() + UNLISTED_S
        self._tails[path] = tail
        if self._listings is not None:
            self._listings.changed()

    @property
    def loose_bytes(self) -> int:
        """How much of what it knows lies in journals that nobody writes to any more."""
        return sum(tail.position for tail in self._tails.values() if tail.is_finished)

    @property
    def is_crowded(self) -> bool:
        """Would a compactor have something to do, by what was known at the last look?"""
        journals = [ObjectInfo(tail.path, tail.position, nan) for tail in self._tails.values() if tail.is_finished]
        segments = [ObjectInfo(path, segment.size_bytes, nan) for path, segment in self._segments.items()]
        return bool(due_journals(journals) or due_segments(segments))

    @property
    def listed_s(self) -> float:
        """When it was last listed what is there (`monotonic`)."""
        return self._journals_listed_s

    def superseded(self, path: str) -> None:
        """This process has merged that journal: it need not be waited for in a listing."""
        if (tail := self._tails.get(path)) is not None:
            tail.keep_until_s = 0.0

    def _search(self, key: bytes) -> tuple[bytes, ...]:
        found: list[bytes] = []
        for tail in self._tails.values():
            if key in tail.records:
                found += tail.records[key]
        for segment in self._segments.values():
            found += segment.get(key)
        answer = tuple(found) if len(found) < 2 else tuple(sorted(set(found)))
        if answer:
            self._remember(key, answer)
        return answer

    def _remember(self, key: bytes, answer: tuple[bytes, ...]) -> None:
        self._answer_bytes += sum(map(len, answer))
        if self._answer_bytes > ANSWER_BYTES or len(self.answers) >= ANSWER_LIMIT:
            self.answers.clear()
            self._answer_bytes = sum(map(len, answer))
        self.answers[key] = answer

    def _refresh_journals(self, *, force: bool) -> list[str]:
        """Read what is new in journals; those that are gone, to be dropped when the segments are read."""
        gone: list[str] = []
        if self._journal_watch.changed() or force:
            gone = self._list_journals(force=force)
            self._journal_watch.settled(self._journals_listed_s)
        for tail in list(self._tails.values()):
            if tail.is_own or tail.is_finished:
                continue
            try:
                self._follow(tail)
            except NotFoundError:
                gone.append(tail.path)
                self._journal_watch.reset()
        return gone

    def _list_journals(self, *, force: bool) -> list[str]:
        listed = {}
        self._journals_listed_s, infos = self._list("journals", self._journals_listed_s, force=force)
        for info in infos:
            if info.path.endswith(".log") and nonce_of_name(info.path) is not None:
                listed[info.path] = info.size_bytes
        for path, size in listed.items():
            tail = self._tails.setdefault(path, Tail(path))
            tail.keep_until_s = 0.0
            if not tail.is_own and not tail.is_finished:
                tail.is_finished = self._is_abandoned(path, size) and self._read_to_end(tail)
        now = time.monotonic()
        return [
            path
            for path, tail in self._tails.items()
            if path not in listed and tail.keep_until_s < now and not (tail.is_own and self._is_spooled)
        ]

    def _is_abandoned(self, path: str, size: int) -> bool:
        # Not one byte yet: its writer may be between creating and claiming it.
        return not self._access.grows or (size > 0 and not self._storage.is_claimed(path))

    def _read_to_end(self, tail: Tail) -> bool:
        """Read a journal that grows no more; True when that is done for good."""
        try:
            self._follow(tail)
        except NotFoundError:
            return False
        return True

    def _follow(self, tail: Tail) -> None:
        size = self._access.size(tail.path)
        if size == tail.seen_bytes == tail.position:
            return
        if size < tail.position:  # cut off by somebody, or lost with the power: what follows is new
            tail.position, tail.seal = 0, None
        data = self._access.read(tail.path, tail.position)
        start = 0
        if tail.seal is None:
            if len(data) < FILE_HEAD_BYTES:
                return
            start, tail.seal = journal_start(data, tail.path, self._kind)
        scan = scan_frames(data, tail.seal, start)
        for _, item in scan.items:
            self.note(tail, item[:KEY_BYTES], item[KEY_BYTES:])
        if scan.damaged_bytes:
            _log.warning("Skipped %d damaged bytes in %s; their neighbours are kept.", scan.damaged_bytes, tail.path)
        tail.seen_bytes = tail.position + len(data)
        tail.position += scan.position
        self._news += len(scan.items)

    def _refresh_segments(self, *, force: bool) -> None:
        listed: set[str] = set()
        for _ in range(5):  # a compactor may replace what was just listed; each time there is less left to replace
            after_s = max(self._journals_listed_s, self._segments_listed_s)
            self._segments_listed_s, infos = self._list("segments", after_s, force=force)
            listed = {info.path for info in infos if info.path.endswith(".seg")}
            vanished = [path for path in listed - self._segments.keys() if not self._open(path)]
            if not vanished:
                self._segment_watch.settled(self._segments_listed_s)
                break
            force = True
        else:
            self._segment_watch.reset()
        for path in self._segments.keys() - listed:
            del self._segments[path]
            self._access.forget(path)

    def _list(self, folder: str, after_s: float, *, force: bool) -> tuple[float, Iterable[ObjectInfo]]:
        """When the listing began, and what is in the folder. Of a bucket one that was made for another kind will do, if
        it is not older than `refresh_s`, nor than `after_s`; not with `force`."""
        now = time.monotonic()
        if self._listings is None or force:
            return now, self._storage.list(f"{folder}/{self._kind}")
        return self._listings.files(folder, self._kind, since_s=max(now - self._refresh_s, after_s))

    def _open(self, path: str) -> bool:
        try:
            data = self._access.map(path)
        except NotFoundError:
            return False
        self._segments[path] = Segment(data, path=path, kind=self._kind)
        self._news += 1
        self._forget_answers()
        return True

    def _forget_answers(self) -> None:
        self.answers.clear()
        self._answer_bytes = 0


def journal_start(data: bytes, path: str, kind: str) -> tuple[int, bytes]:
    """Where the frames of a journal may begin, and their seal; a damaged header is made good by the name."""
    nonce = read_header(data, JOURNAL_MAGIC, path=path)
    if nonce is not None:
        return FILE_HEAD_BYTES, seal_of(kind, nonce)
    return 0, seal_of(kind, nonce_of_name(path) or b"")


def _watch(storage: Storage, folder: str, refresh_s: float) -> Watch:
    if not storage.capabilities.append:
        return TimedWatch(refresh_s)
    local = storage.local_path(f"{folder}/any.log") if storage.capabilities.local_paths else None
    return FolderWatch(os.path.dirname(local)) if local else TimedWatch(0.0)
