"""Of which runs does the table say nothing, or nothing that is true any more? Exact, without reading a record.

A row was folded from all records of its run in the segments of that time, and says how many they were, of how many
bytes. Records never go away, so a run is what its row says if the segments hold as much of it now: as many, or the same
in other files. Segments that the table covers are not even looked at, as long as all of them are there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mlflowish.journals import Segment
from mlflowish.tracking.table.columns import Array
from mlflowish.tracking.table.manifest import Table

_FRAME_BYTES = 8 + 8  # of a record in a segment, around key and payload
_ENTRY = np.dtype([("key", "S16"), ("offset", "<u8")])


@dataclass(frozen=True)
class Index:
    """Keys of a segment in order, a record each; `ends` are bytes of records up to and with each one, after a zero."""

    keys: Array
    ends: Array

    def held(self, keys: Array) -> tuple[Array, Array]:
        """How many records there are of each of these keys, and of how many bytes."""
        first, last = np.searchsorted(self.keys, keys), np.searchsorted(self.keys, keys, side="right")
        return last - first, self.ends[last] - self.ends[first]


def index_of(segment: Segment) -> Index | None:
    """None if the segment's own index is damaged."""
    entries = np.frombuffer(segment.entries(), _ENTRY)
    if not segment.is_indexed:
        return None
    lengths = np.diff(entries["offset"].astype(np.int64), append=segment.data_end) - _FRAME_BYTES
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    return Index(np.ascontiguousarray(entries["key"]), ends)


class Indexes:
    """The indexes of segments, each read when it is first asked for."""

    def __init__(self) -> None:
        self._known: dict[str, Index | None] = {}

    def of(self, segment: Segment) -> Index | None:
        """None if it is damaged."""
        if segment.path not in self._known:
            self._known[segment.path] = index_of(segment)
        return self._known[segment.path]

    def keep(self, paths: Iterable[str]) -> None:
        """Forget all others."""
        kept = set(paths)
        self._known = {path: index for path, index in self._known.items() if path in kept}


@dataclass(frozen=True)
class Gaps:
    """`keys` (in order): what the table does not tell of, or wrongly. `looked` keys were compared for that. `indexed`:
    segments that were right, or need not be looked at."""

    keys: Array
    looked: int
    indexed: tuple[Segment, ...]


def gaps(table: Table, segments: Sequence[Segment], indexes: Indexes) -> Gaps:
    """What has to be folded from these segments."""
    present = {segment.path for segment in segments}
    # What covers nothing may tell of runs that are there no more, too.
    is_gone = not table.covers or not table.covers <= present
    new = [segment for segment in segments if is_gone or segment.path not in table.covers]
    found = [index for segment in new if (index := indexes.of(segment)) is not None]
    indexed = tuple(segment for segment in segments if segment not in new or indexes.of(segment) is not None)
    keys = unique([index.keys for index in found])
    counts, sizes = _held(keys, indexed, indexes)
    told_counts, told_sizes = _told(keys, table)
    wrong = keys[(counts != told_counts) | (sizes != told_sizes)]
    if is_gone:
        wrong = unique([wrong, *_vanished(keys, table)])
    return Gaps(wrong, len(keys), indexed)


def unique(arrays: Sequence[Array]) -> Array:
    """Ids of several arrays in order, each once."""
    if not arrays:
        return np.empty(0, "S16")
    found = arrays[0] if len(arrays) == 1 else np.sort(np.concatenate(arrays), kind="stable")
    if len(found) < 2:
        return found
    return np.asarray(found[np.concatenate([np.ones(1, bool), found[1:] != found[:-1]])])


def as_ids(keys: Iterable[bytes]) -> Array:
    """Keys of 16 bytes as an array, in order."""
    return np.sort(np.frombuffer(b"".join(keys), "S16"))


def as_keys(ids: Array) -> list[bytes]:
    """The keys in an array."""
    data = ids.tobytes()
    return [data[at : at + 16] for at in range(0, len(data), 16)]


def _held(keys: Array, segments: Sequence[Segment], indexes: Indexes) -> tuple[Array, Array]:
    counts, sizes = np.zeros(len(keys), np.int64), np.zeros(len(keys), np.int64)
    if not len(keys):
        return counts, sizes
    for segment in segments:
        # Ids begin with the time: most segments are older or newer than what is asked for.
        low, high = np.frombuffer(segment.low + segment.high, "S16")
        span = slice(int(np.searchsorted(keys, low)), int(np.searchsorted(keys, high, side="right")))
        if span.start < span.stop and (index := indexes.of(segment)) is not None:
            count, size = index.held(keys[span])
            counts[span] += count
            sizes[span] += size
    return counts, sizes


def _told(keys: Array, table: Table) -> tuple[Array, Array]:
    counts, sizes = np.zeros(len(keys), np.int64), np.zeros(len(keys), np.int64)
    if not len(keys):
        return counts, sizes  # nothing new: no ids need be put in order
    for rows in table.rows:
        first, last = rows.part.sorted_ids[[0, -1]]
        span = slice(int(np.searchsorted(keys, first)), int(np.searchsorted(keys, last, side="right")))
        found = rows.part.locate(keys[span])
        has = (found >= 0) & rows.is_live[found]
        places = span.start + np.flatnonzero(has)
        counts[places] = rows.part.records[found[has]]
        sizes[places] = rows.part.sizes[found[has]].astype(np.int64)
    return counts, sizes


def _vanished(keys: Array, table: Table) -> list[Array]:
    """Runs that the table tells of, and no segment any more."""
    found = []
    for rows in table.rows:
        ids = rows.part.sorted_ids[rows.is_live[rows.part.by_id]]
        if len(keys):
            places = np.searchsorted(keys, ids)
            places[places == len(keys)] = 0
            ids = ids[keys[places] != ids]
        found.append(ids)
    return found
