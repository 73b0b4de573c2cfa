"""Which files to merge, and what to remove after it: a little at a time by itself, or everything when asked."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

from mlflowish.errors import MlflowishError, NotFoundError
from mlflowish.journals.access import Access
from mlflowish.journals.compaction import (
    MAX_AUTOMATIC_BYTES,
    MAX_SEGMENT_BYTES,
    MAX_SEGMENT_RECORDS,
    CompactionReport,
    Fold,
    Written,
    due_journals,
    due_segments,
    merge,
)
from mlflowish.journals.frames import FILE_HEAD_BYTES, nonce_of_name, scan_frames
from mlflowish.journals.segment import Segment
from mlflowish.journals.view import journal_start
from mlflowish.storage.base import ObjectInfo, Storage

_ABANDONED_EMPTY_S = 86_400.0
_MAX_ROUNDS = 4
_log = logging.getLogger("mlflowish.journals")


class Compactor:
    """Merges the files of one kind. Keeps no state: any number of them may run at once, in any processes."""

    def __init__(self, storage: Storage, kind: str, *, access: Access, on_removal: Callable[[str], None]) -> None:
        self._storage, self._kind, self._access = storage, kind, access
        self._on_removal = on_removal

    def tidy(self) -> bool:
        """Do what is due, bounded in time; was anything? Never raises for a store that fails: the next client tries
        again."""
        worked = False
        try:
            for _ in range(_MAX_ROUNDS):
                journals = self._journals()
                due = due_journals(self._abandoned(journals))
                if due:
                    self._replace(due, self._read_journals(due))
                due_now = due_segments(self._segments())
                if due_now:
                    self._replace(due_now, self._open_segments(due_now))
                if not due and not due_now:
                    break
                worked = True
        except MlflowishError as error:
            _log.info("Compaction of %s in %s put off: %s", self._kind, self._storage.url, error)
        return worked

    def compact(self, fold: Fold | None) -> CompactionReport:
        """Merge every journal without a living writer and all segments into as few segments as can be."""
        journals = self._journals()
        ready = self._abandoned(journals)
        parts = [self._replace(group, self._read_journals(group)) for group in _groups(ready)]
        read = sum(part.records_read for part in parts)
        segments = self._segments()
        if merges_segments := fold is not None or self._worth_merging(segments):
            parts = [self._replace(segments, self._open_segments(segments), fold=fold)]
            read = parts[0].records_read
        self._remove_empty(journals)
        return CompactionReport(
            journals_merged=len(ready),
            segments_merged=len(segments) if merges_segments else 0,
            segments_written=sum(len(part.paths) for part in parts),
            records_read=read,
            records_written=sum(part.records_written for part in parts),
            bytes_read=sum(info.size_bytes for info in (segments if merges_segments else ready)),
            bytes_written=sum(part.size_bytes for part in parts),
            is_complete=all(info in ready or not info.size_bytes for info in journals),
        )

    def _replace(
        self, inputs: list[ObjectInfo], sources: list[Iterator[bytes]], *, fold: Fold | None = None
    ) -> Written:
        try:
            written = merge(self._storage, self._kind, sources, names=[info.path for info in inputs], fold=fold)
        except NotFoundError:
            # Another compactor wrote the same segment, and a third has merged it on before we could look at it. What we
            # meant to replace is theirs to remove.
            return Written((), 0, 0, 0)
        for info in inputs:
            if info.path not in written.paths:
                self._storage.delete(info.path)
                self._on_removal(info.path)
        return written

    def _journals(self) -> list[ObjectInfo]:
        listed = self._storage.list(f"journals/{self._kind}")
        return [info for info in listed if info.path.endswith(".log") and nonce_of_name(info.path) is not None]

    def _segments(self) -> list[ObjectInfo]:
        return [info for info in self._storage.list(f"segments/{self._kind}") if info.path.endswith(".seg")]

    def _abandoned(self, journals: list[ObjectInfo]) -> list[ObjectInfo]:
        # A size above zero was seen before the claim is asked for: its writer had the claim, and let it go.
        if not self._access.grows:
            return journals
        return [info for info in journals if info.size_bytes and not self._storage.is_claimed(info.path)]

    def _read_journals(self, journals: list[ObjectInfo]) -> list[Iterator[bytes]]:
        sources = []
        for info in journals:
            try:
                data = self._access.read(info.path, 0)
            except NotFoundError:  # another compactor was faster: its output is durable
                continue
            start, seal = journal_start(data, info.path, self._kind) if len(data) >= FILE_HEAD_BYTES else (0, b"")
            sources.append(iter(sorted(item for _, item in scan_frames(data, seal, start).items)))
        return sources

    def _open_segments(self, segments: list[ObjectInfo]) -> list[Iterator[bytes]]:
        sources = []
        for info in segments:
            try:
                data = self._access.map(info.path)
            except NotFoundError:
                continue
            sources.append(Segment(data, path=info.path, kind=self._kind).items())
        return sources

    def _worth_merging(self, infos: list[ObjectInfo]) -> bool:
        """Not when they are what `compact` leaves behind: segments as large as they get, and one more, side by side."""
        segments = []
        for info in infos:
            try:
                segments.append(Segment(self._access.map(info.path), path=info.path, kind=self._kind))
            except NotFoundError:
                continue
        segments.sort(key=lambda segment: segment.low)
        overlaps = any(before.high >= after.low for before, after in pairwise(segments))
        return overlaps or sum(not is_full(segment) for segment in segments) > 1

    def _remove_empty(self, journals: list[ObjectInfo]) -> None:
        """Files whose writer died between creating them and the first byte."""
        for info in journals:
            age_s = time.time() - info.modified_s
            if not info.size_bytes and age_s > _ABANDONED_EMPTY_S and not self._storage.is_claimed(info.path):
                self._storage.delete(info.path)


def is_full(segment: Segment) -> bool:
    """Is it about as large as a segment gets?"""
    return segment.size_bytes > MAX_SEGMENT_BYTES // 2 or segment.record_count > MAX_SEGMENT_RECORDS // 2


def _groups(journals: list[ObjectInfo]) -> Iterator[list[ObjectInfo]]:
    """In bounded stretches: journals are sorted in memory."""
    group: list[ObjectInfo] = []
    total = 0
    for info in sorted(journals, key=lambda info: info.path):
        if group and total + info.size_bytes > MAX_AUTOMATIC_BYTES:
            yield group
            group, total = [], 0
        group.append(info)
        total += info.size_bytes
    if group:
        yield group
