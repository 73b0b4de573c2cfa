"""Merging: many journals and small segments become few large segments. Any client may do it, at any time, beside any
other.

What makes that safe: records are facts and merging is union, so two compactors at work on the same inputs produce the
same facts twice; inputs are removed only after the output is durable; a journal is an input only when its writer has
let go of it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from blake3 import blake3

from mlflowish.errors import IntegrityError
from mlflowish.journals.frames import KEY_BYTES
from mlflowish.journals.segment import NAME_BYTES, SegmentWriter
from mlflowish.storage.base import ObjectInfo, Storage

MAX_JOURNALS = 16
# Every process that opens the store parses its journals, at about 100 MB a second: more than this is better merged.
MAX_LOOSE_BYTES = 1 << 20
TIER_FACTOR = 8
TIER_BASE_BYTES = 64 << 10
# An automatic merge happens inside somebody's append: 8 segments of at most 32 MiB are about a second. Larger ones
# wait for `compact()`.
MAX_AUTOMATIC_TIER = 3
MAX_AUTOMATIC_BYTES = 64 << 20
# The index of an output is built in memory, 24 bytes a record: these two bound it, and the size of what a later merge
# must rewrite.
MAX_SEGMENT_RECORDS = 2_000_000
MAX_SEGMENT_BYTES = 512 << 20
_SLAB_BYTES = 16 << 20

Fold = Callable[[bytes, list[bytes]], list[bytes]]
"""Given a key and every payload known under it, those to keep."""


@dataclass(frozen=True, slots=True)
class CompactionReport:
    """What one compaction did. `is_complete` is False when living writers still hold journals that it had to leave
    alone."""

    journals_merged: int = 0
    segments_merged: int = 0
    segments_written: int = 0
    records_read: int = 0
    records_written: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    is_complete: bool = True


@dataclass(frozen=True, slots=True)
class Written:
    """The outputs of one merge: paths of segments that are durable now, in order of their keys."""

    paths: tuple[str, ...]
    records_read: int
    records_written: int
    size_bytes: int


def merge(
    storage: Storage, kind: str, sources: Sequence[Iterator[bytes]], *, names: Iterable[str], fold: Fold | None = None
) -> Written:
    """Write the union of sorted `sources` (key followed by payload) as segments. Memory stays bounded by one
    segment's index.

    The nonce comes from the `names` of the inputs: compactors that race on the same inputs write the very same
    segment.
    """
    counter = _Counter()
    items = _distinct(counter.count(heapq.merge(*sources)))
    if fold is not None:
        items = _folded(items, fold)
    nonce = blake3("\n".join(sorted(names)).encode()).digest(16)
    paths, written, size = [], 0, 0
    parts = _Parts(items)
    while parts.has_more:
        path, records, part_bytes = _write_segment(storage, kind, parts, nonce)
        paths.append(path)
        written, size = written + records, size + part_bytes
    return Written(tuple(paths), counter.seen, written, size)


def due_journals(infos: Iterable[ObjectInfo], *, max_journals: int) -> list[ObjectInfo]:
    """Which of the journals that nobody writes to any more to merge now: the oldest, bounded in bytes; none while
    they are few and small."""
    ready = sorted(infos, key=lambda info: info.path)
    if len(ready) <= max_journals and sum(info.size_bytes for info in ready) < MAX_LOOSE_BYTES:
        return []
    chosen: list[ObjectInfo] = []
    total = 0
    for info in ready:
        if chosen and total + info.size_bytes > MAX_AUTOMATIC_BYTES:
            break
        chosen.append(info)
        total += info.size_bytes
    return chosen


def due_segments(infos: Iterable[ObjectInfo]) -> list[ObjectInfo]:
    """Which segments to merge now: those of the lowest tier that has become full; none if none has."""
    tiers: dict[int, list[ObjectInfo]] = {}
    for info in infos:
        tiers.setdefault(tier_of(info.size_bytes), []).append(info)
    for tier in range(MAX_AUTOMATIC_TIER + 1):
        members = sorted(tiers.get(tier, ()), key=lambda info: info.path)
        if len(members) >= TIER_FACTOR:
            return members[: 2 * TIER_FACTOR] if tier < MAX_AUTOMATIC_TIER else members[:TIER_FACTOR]
    return []


def tier_of(size_bytes: int) -> int:
    """0 for the smallest segments; each next tier is `TIER_FACTOR` times larger."""
    tier, limit = 0, TIER_BASE_BYTES
    while size_bytes > limit:
        tier, limit = tier + 1, limit * TIER_FACTOR
    return tier


class _Counter:
    def __init__(self) -> None:
        self.seen = 0

    def count(self, items: Iterable[bytes]) -> Iterator[bytes]:
        for item in items:
            self.seen += 1
            yield item


class _Parts:
    """Cuts a stream into the streams of single segments, never inside a key."""

    def __init__(self, items: Iterator[bytes]) -> None:
        self._items = items
        self._next: bytes | None = next(items, None)
        self.is_full = False

    @property
    def has_more(self) -> bool:
        return self._next is not None

    def take(self) -> Iterator[bytes]:
        """The items of the next segment: until `is_full` is set, and the key that is under way has ended."""
        self.is_full = False
        last_key = b""
        while (item := self._next) is not None:
            key = item[:KEY_BYTES]
            if self.is_full and key != last_key:
                return
            last_key = key
            yield item
            self._next = next(self._items, None)


def _write_segment(storage: Storage, kind: str, parts: _Parts, nonce: bytes) -> tuple[str, int, int]:
    staging = storage.stage()
    try:
        writer = SegmentWriter(staging.write, kind=kind, nonce=nonce)
        for item in parts.take():
            writer.add(item)
            if writer.record_count >= MAX_SEGMENT_RECORDS or writer.size_bytes >= MAX_SEGMENT_BYTES:
                parts.is_full = True
        path = f"segments/{kind}/{writer.finish()}.seg"
        if not staging.commit(path):
            _require_whole(storage, path, writer.size_bytes)
    except BaseException:
        staging.discard()
        raise
    return path, writer.record_count, writer.size_bytes


def _require_whole(storage: Storage, path: str, size_bytes: int) -> None:
    """Another compactor wrote the same segment; the inputs may go only if what it wrote is (still) right."""
    hasher = blake3()
    for start in range(0, size_bytes, _SLAB_BYTES):
        hasher.update(storage.get(path, start, start + _SLAB_BYTES))
    if hasher.hexdigest(NAME_BYTES) not in path or storage.size(path) != size_bytes:
        raise IntegrityError(
            f"Compaction into {path} stopped: a file of that name is there and its bytes are not what the name says. "
            "Its inputs were kept; remove the damaged file and compact again.",
            path=path,
        )


def _distinct(items: Iterable[bytes]) -> Iterator[bytes]:
    last: bytes | None = None
    for item in items:
        if item != last:
            last = item
            yield item


def _folded(items: Iterable[bytes], fold: Fold) -> Iterator[bytes]:
    for key, group in groupby(items, key=lambda item: item[:KEY_BYTES]):
        kept = fold(key, [item[KEY_BYTES:] for item in group])
        yield from (key + payload for payload in sorted(set(kept)))
