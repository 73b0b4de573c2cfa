"""Columns of runs from the records that segments hold: what the table is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from mlflowish.journals import Segment
from mlflowish.tracking.folding import fold
from mlflowish.tracking.host import Process
from mlflowish.tracking.records import unpack_batch
from mlflowish.tracking.table.builder import Builder
from mlflowish.tracking.table.columns import Array, Columns
from mlflowish.tracking.table.coverage import as_keys
from mlflowish.tracking.table.folded import payloads_of
from mlflowish.tracking.table.plain import plain_run

# A segment of which so many of its records are wanted, one in so many, is read from front to back.
READ_WHOLE = 4
_KEY_BYTES = 16


def columns_of(ids: Array, segments: Sequence[Segment]) -> Columns:
    """Runs, each folded from all that these segments hold of it. Whether a process lives is for each reader to find
    out."""
    builder = Builder()
    for key in as_keys(ids):
        _add_folded(builder, key, payloads_of(segments, key))
    return builder.finished()


def pieces_of(
    ids: Array, segments: Sequence[Segment], *, most: int, text_bytes: int
) -> Iterator[tuple[Columns, Array]]:
    """The same with their ids, in pieces of `most` runs, or about so many bytes of texts. `ids` come in order."""
    readers = [_reader(segment, ids) for segment in segments]
    builder, first = Builder(), 0
    for at, key in enumerate(as_keys(ids), 1):
        payloads = [payload for read in readers for payload in read(key)]
        _add(builder, key, payloads if len(payloads) < 2 else list(dict.fromkeys(payloads)))
        if len(builder) >= most or builder.text_bytes >= text_bytes:
            yield builder.finished(), ids[first:at]
            builder, first = Builder(), at
    if len(builder):
        yield builder.finished(), ids[first:]


def _add(builder: Builder, key: bytes, payloads: list[bytes]) -> None:
    plain = plain_run(payloads[0]) if len(payloads) == 1 else None
    if plain is None:
        _add_folded(builder, key, payloads)
    else:
        builder.add_plain(key, plain, size_bytes=len(payloads[0]) + _KEY_BYTES)


def _add_folded(builder: Builder, key: bytes, payloads: list[bytes]) -> None:
    record = fold(key, [unpack_batch(payload) for payload in payloads], _lives)
    size_bytes = sum(map(len, payloads)) + _KEY_BYTES * len(payloads)
    builder.add(key, record, records=len(payloads), size_bytes=size_bytes)


def _lives(process: Process) -> bool:
    return False


def _reader(segment: Segment, ids: Array) -> Callable[[bytes], list[bytes]]:
    """What gives the payloads of keys that are asked for in order."""
    low, high = np.frombuffer(segment.low + segment.high, "S16")
    wanted = int(np.searchsorted(ids, high, side="right")) - int(np.searchsorted(ids, low))
    if wanted * READ_WHOLE < segment.record_count or not wanted:
        return segment.get
    return _Stream(segment.items())


class _Stream:
    """Records that are read in order, each once: finding each of them takes fifteen times as long."""

    def __init__(self, items: Iterator[bytes]) -> None:
        self._items = items
        self._next = next(items, None)

    def __call__(self, key: bytes) -> list[bytes]:
        found: list[bytes] = []
        item = self._next
        while item is not None and item[:_KEY_BYTES] <= key:
            if item.startswith(key):
                found.append(item[_KEY_BYTES:])
            item = next(self._items, None)
        self._next = item
        return found
