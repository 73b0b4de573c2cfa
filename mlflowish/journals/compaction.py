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
from itertools import chain, groupby

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
    items = heapq.merge(*sources) if len(sources) != 1 else sources[0]
    if fold is not None:
        items = _folded(items, fold)
    nonce = blake3("\n".join(sorted(names)).encode()).digest(16)
    paths, read, written, size = [], 0, 0, 0
    following = next(items, None)
    while following is not None:
        writer, path, following = _write_segment(storage, kind, chain([following], items), nonce)
        paths.append(path)
        read += writer.records_seen
        written += writer.record_count
        size += writer.size_bytes
    return Written(tuple(paths), read, written, size)


def due_journals(infos: Iterable[ObjectInfo]) -> list[ObjectInfo]:
    """Which of the journals that nobody writes to any more to merge now: the oldest, bounded in bytes; none while
    they are few and small."""
    ready = sorted(infos, key=lambda info: info.path)
    if len(ready) <= MAX_JOURNALS and sum(info.size_bytes for info in ready) < MAX_LOOSE_BYTES:
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


def _write_segment(
    storage: Storage, kind: str, items: Iterator[bytes], nonce: bytes
) -> tuple[SegmentWriter, str, bytes | None]:
    """Write one segment; the last of the three is the item that did not fit into it any more."""
    staging = storage.stage()
    try:
        writer = SegmentWriter(staging.write, kind=kind, nonce=nonce)
        following = writer.fill(items, max_records=MAX_SEGMENT_RECORDS, max_bytes=MAX_SEGMENT_BYTES)
        path = f"segments/{kind}/{writer.finish()}.seg"
        if not staging.commit(path):
            _require_whole(storage, path, writer.size_bytes)
    except BaseException:
        staging.discard()
        raise
    return writer, path, following


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


def _folded(items: Iterable[bytes], fold: Fold) -> Iterator[bytes]:
    for key, group in groupby(items, key=lambda item: item[:KEY_BYTES]):
        kept = fold(key, list(dict.fromkeys(item[KEY_BYTES:] for item in group)))
        yield from (key + payload for payload in sorted(set(kept)))
