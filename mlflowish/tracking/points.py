"""Points of metrics: a series as an Arrow table, or what a run has of all of them. Journals and spool files as one.

Of a stored chunk only the columns of the series that is asked for are copied; the rest of it is passed over.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mlflowish.errors import StorageError
from mlflowish.store import Store
from mlflowish.tracking.folding import RunRecord
from mlflowish.tracking.inflight import InFlight, in_flight
from mlflowish.tracking.reading import read_run, require_run_id
from mlflowish.tracking.records import (
    POINTS,
    Buffer,
    Chunk,
    Column,
    Series,
    open_chunk,
    pack_chunk,
    parts_of,
    unpack_chunk,
    unpack_series,
)

if TYPE_CHECKING:
    import pyarrow as pa


def metric_history(store: Store, run_id: str, name: str) -> pa.Table:
    """Every point of a series, by step and then time: an Arrow table of step (int64), value (float64) and time
    (timestamp, UTC). A run that continues another begins with the other's points; a series without points is empty.
    """
    return history_of(store, read_run(store, run_id), name)


def history_of(store: Store, record: RunRecord, name: str) -> pa.Table:
    """The same of a run that was read already."""
    table = table_of(_series(store, bytes.fromhex(record.run_id), name))
    if record.forked_from is None:
        return ordered(table)
    import pyarrow as pa
    import pyarrow.compute as pc

    origin, step = record.forked_from
    earlier = metric_history(store, origin, name)
    return ordered(pa.concat_tables([earlier.filter(pc.less_equal(earlier["step"], step)), table]))


def read_points(store: Store, run_id: str, only: str | None = None) -> dict[str, Column]:
    """The points of a run itself, in the order in which each process logged them; of all series or of one."""
    key = require_run_id(run_id)
    found: dict[tuple[bytes, int], Chunk] = {}
    for chunk in in_flight(store).chunks(key):
        found[chunk.writer, chunk.number] = chunk
    for payload in _payloads(store, key):
        chunk = unpack_chunk(payload, only)
        found[chunk.writer, chunk.number] = chunk
    merged: dict[str, Column] = {}
    for place in sorted(found):
        for series, column in found[place].columns.items():
            if only is None or series == only:
                merged.setdefault(series, Column()).extend(column)
    return merged


def all_series(store: Store, run_id: str, flying: InFlight) -> Iterator[tuple[str, list[Series]]]:
    """Every series of a run itself, in order of their names: its pieces, in the order in which each process logged
    them, as they rest. `flying`: what was in flight before; it is not looked at anew."""
    key = require_run_id(run_id)
    chunks = {(chunk.writer, chunk.number): open_chunk(pack_chunk(chunk)) for chunk in flying.chunks(key)}
    chunks.update({(chunk.writer, chunk.number): chunk for chunk in map(open_chunk, _payloads(store, key))})
    places: dict[str, list[Series]] = {}
    for _, chunk in sorted(chunks.items()):
        before = 0
        for name, count in chunk.counts:
            places.setdefault(name, []).append(chunk.cut(before, count))
            before += count
    return iter(sorted(places.items()))


def _series(store: Store, run_id: bytes, name: str) -> list[Series]:
    """The pieces of one series, in the order in which each process logged them."""
    found = in_flight(store).series(run_id, name)
    for payload in _payloads(store, run_id):
        writer, number, series = unpack_series(payload, name)
        found[writer, number] = series
    return [series for _, series in sorted(found.items()) if series is not None]


def _payloads(store: Store, run_id: bytes) -> Iterator[Buffer]:
    """The stored chunks of a run, as they rest."""
    try:
        journals = store.journals(POINTS)
        # What has left a spool file since it was looked at must be seen in the journals.
        journals.catch_up()
        yield from (payload for _, payload in parts_of(journals.views, POINTS, run_id))
    except StorageError:
        if not in_flight(store).batches(run_id):
            raise


def table_of(pieces: Sequence[Series]) -> pa.Table:
    """The points of some pieces, one after the other."""
    import pyarrow as pa

    def joined(kind: pa.DataType, parts: list[Buffer]) -> pa.Array:
        data = b"".join(parts)  # one copy, which is aligned as well
        if sys.byteorder == "big":
            data = _swapped(data)
        return pa.Array.from_buffers(kind, len(data) // 8, [None, pa.py_buffer(data)])

    return pa.table(
        {
            "step": joined(pa.int64(), [piece.steps for piece in pieces]),
            "value": joined(pa.float64(), [piece.values for piece in pieces]),
            "time": joined(pa.timestamp("us", tz="UTC"), [piece.times_us for piece in pieces]),
        }
    )


def ordered(table: pa.Table) -> pa.Table:
    """By step and then time. Most series were logged so: then nothing is moved."""
    import pyarrow.compute as pc

    steps: Any = table["step"]
    rows = len(steps)
    if rows < 2 or pc.all(pc.less(steps.slice(0, rows - 1), steps.slice(1))).as_py():
        return table.combine_chunks()
    return table.sort_by([("step", "ascending"), ("time", "ascending")]).combine_chunks()


def _swapped(data: bytes) -> bytes:
    from array import array

    column = array("q", data)
    column.byteswap()
    return column.tobytes()
