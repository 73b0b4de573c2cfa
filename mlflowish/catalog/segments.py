"""Sorted files of rows (key, slot of its last write, value): what checkpoints are made of, read a block at a time.

A run is a sequence of files in key order; a checkpoint is a few runs, the newest first, each larger than those before
it (O'Neil et al., "The Log-Structured Merge-Tree", 1996): writing one costs what changed, not what there is.
"""

from __future__ import annotations

import heapq
import json
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from blake3 import blake3

from mlflowish.catalog.plain import decode, encode, quoted
from mlflowish.catalog.view import Row, Written
from mlflowish.errors import IntegrityError, NotFoundError
from mlflowish.storage.base import Storage

BLOCK_BYTES = 16 << 10
FILE_BYTES = 8 << 20
_HASH = re.compile(r"[0-9a-f]{64}\Z")
_MOST_BLOCKS_KEPT = 128  # of one file, parsed: a few MB


@dataclass(frozen=True, slots=True)
class FileRef:
    """One file as a checkpoint names it: made for the checkpoint of `slot`, named by the hash of its bytes; the index
    begins at `index_at` and has the hash `index_check`."""

    slot: int
    hash: str
    size_bytes: int
    index_at: int
    index_check: str
    first: str

    def __post_init__(self) -> None:
        sizes = (self.slot, self.size_bytes, self.index_at)
        is_right = all(type(each) is int and each >= 0 for each in sizes) and self.index_at <= self.size_bytes
        if not is_right or not all(isinstance(each, str) for each in (self.hash, self.index_check, self.first)):
            raise ValueError(f"not a file of a checkpoint: {self!r:.300}")
        if not _HASH.match(self.hash):
            raise ValueError(f"not the hash of a file: {self.hash!r:.100}")

    @property
    def path(self) -> str:
        return f"catalog/segments/{self.slot:020d}.{self.hash}"


Run = tuple[FileRef, ...]


def write_run(put: Callable[[str, bytes], object], slot: int, rows: Iterable[Row]) -> Run:
    """Store sorted rows as the files of one run: `put` stores one, durably."""
    refs: list[FileRef] = []
    blocks: list[tuple[str, bytes]] = []
    lines: list[bytes] = []
    first, size, total = "", 0, 0

    def end_block() -> None:
        nonlocal size, total
        if lines:
            blocks.append((first, b"".join(lines)))
            total += size
            lines.clear()
            size = 0

    for key, written, text in rows:
        if not lines:
            first = key
        line = f"{quoted(key)}\t{written}\t{'' if text is None else text}\n".encode()
        lines.append(line)
        size += len(line)
        if size >= BLOCK_BYTES:
            end_block()
            if total >= FILE_BYTES:
                refs.append(_write_file(put, slot, blocks))
                blocks, total = [], 0
    end_block()
    if blocks:
        refs.append(_write_file(put, slot, blocks))
    return tuple(refs)


def _write_file(put: Callable[[str, bytes], object], slot: int, blocks: list[tuple[str, bytes]]) -> FileRef:
    index, offset = [], 0
    for first, block in blocks:
        index.append([first, offset, len(block), blake3(block).hexdigest(length=16)])
        offset += len(block)
    tail = encode(index).encode()
    data = b"".join(block for _, block in blocks) + tail
    ref = FileRef(slot, blake3(data).hexdigest(), len(data), offset, blake3(tail).hexdigest(), blocks[0][0])
    put(ref.path, data)
    return ref


class SegmentFile:
    """One file, read by its index. Thread-safe; damage is an IntegrityError, absence too."""

    def __init__(self, storage: Storage, ref: FileRef) -> None:
        self._storage, self.ref = storage, ref
        self._index: tuple[list[str], list[list[int | str]]] | None = None
        self._blocks: dict[int, list[Row]] = {}

    def lookup(self, key: str) -> Written | None:
        firsts, _ = self._load_index()
        number = bisect_right(firsts, key) - 1
        if number < 0:
            return None
        rows = self._block(number)
        at = bisect_right(rows, key, key=_key_of) - 1
        return rows[at][1:] if at >= 0 and rows[at][0] == key else None

    def scan(self, prefix: str) -> Iterator[Row]:
        firsts, entries = self._load_index()
        for number in range(max(bisect_right(firsts, prefix) - 1, 0), len(entries)):
            if firsts[number] > prefix and not firsts[number].startswith(prefix):
                return
            for row in self._block(number):
                if row[0].startswith(prefix):
                    yield row

    def _load_index(self) -> tuple[list[str], list[list[int | str]]]:
        if self._index is None:
            tail = self._read(self.ref.index_at, self.ref.size_bytes)
            if blake3(tail).hexdigest() != self.ref.index_check:
                raise _damaged(self.ref, "its index")
            self._index = _parsed_index(decode(tail), self.ref)
        return self._index

    def _block(self, number: int) -> list[Row]:
        found = self._blocks.get(number)
        if found is None:
            offset, size, check = self._load_index()[1][number]
            data = self._read(int(offset), int(offset) + int(size))
            if blake3(data).hexdigest(length=16) != check:
                raise _damaged(self.ref, f"block {number}")
            try:
                found = [_parsed(line) for line in data.decode().split("\n")[:-1]]
            except (ValueError, RecursionError) as error:
                raise _damaged(self.ref, f"block {number}", "make sense") from error
            kept = self._blocks if len(self._blocks) < _MOST_BLOCKS_KEPT else {}
            self._blocks = {**kept, number: found}
        return found

    def _read(self, start: int, end: int) -> bytes:
        try:
            return self._storage.get(self.ref.path, start, end)
        except NotFoundError as error:
            raise IntegrityError(f"{self.ref.path} of a checkpoint is gone", path=self.ref.path) from error


class Files:
    """The files that one handle has opened: checkpoints share most of theirs."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._open: dict[FileRef, SegmentFile] = {}

    def open(self, ref: FileRef) -> SegmentFile:
        """The file, with what was read of it before."""
        found = self._open.get(ref)
        if found is None:
            found = self._open[ref] = SegmentFile(self._storage, ref)
        return found

    def keep(self, refs: Iterable[FileRef]) -> None:
        """Forget what was read of all others."""
        kept = set(refs)
        self._open = {ref: file for ref, file in list(self._open.items()) if ref in kept}


def lookup_in_run(files: Files, run: Run, key: str) -> Written | None:
    """The row of a key."""
    at = bisect_right(run, key, key=_first_of) - 1
    return files.open(run[at]).lookup(key) if at >= 0 else None


def scan_run(files: Files, run: Run, prefix: str) -> Iterator[Row]:
    """The rows whose keys begin with the prefix, in order."""
    for ref in run[max(bisect_right(run, prefix, key=_first_of) - 1, 0) :]:
        if ref.first > prefix and not ref.first.startswith(prefix):
            return
        yield from files.open(ref).scan(prefix)


def merged(sources: list[Iterator[Row]], *, with_deletions: bool) -> Iterator[Row]:
    """The newest row of each key; the sources come newest first."""

    def leveled(level: int, rows: Iterator[Row]) -> Iterator[tuple[str, int, int, str | None]]:
        return ((key, level, slot, text) for key, slot, text in rows)

    last = None
    for key, _, slot, text in heapq.merge(*(leveled(level, rows) for level, rows in enumerate(sources))):
        if key != last and (with_deletions or text is not None):
            yield key, slot, text
        last = key


def _parsed_index(entries: Any, ref: FileRef) -> tuple[list[str], list[list[int | str]]]:
    firsts: list[str] = []
    places: list[list[int | str]] = []
    try:
        for first, offset, size, check in entries:
            firsts.append(first)
            places.append([int(offset), int(size), str(check)])
    except (TypeError, ValueError, OverflowError) as error:
        raise _damaged(ref, "its index", "make sense") from error
    if not all(isinstance(first, str) for first in firsts):
        raise _damaged(ref, "its index", "make sense")
    return firsts, places


def _parsed(line: str) -> Row:
    key, slot, text = line.split("\t")
    return str(json.loads(key)), int(slot), text or None


def _key_of(row: Row) -> str:
    return row[0]


def _first_of(ref: FileRef) -> str:
    return ref.first


def _damaged(ref: FileRef, what: str, wanted: str = "fit its check") -> IntegrityError:
    return IntegrityError(f"{ref.path} is damaged: {what} does not {wanted}", path=ref.path)
