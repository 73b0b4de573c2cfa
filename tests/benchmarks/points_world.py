"""Stores with very many points, written as segments at once; the same points as a sorted Parquet file for peers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import mlflowish as mf
from mlflowish.journals.compaction import merge
from mlflowish.tracking.records import POINTS, RECORDS_A_PART, RUNS, Batch, Event, Last, pack_batch, part_key

START_US = 1_700_000_000_000_000


def run_id(number: int) -> bytes:
    return (1_700_000_000_000 + number).to_bytes(6, "big") + bytes(2) + number.to_bytes(8, "big")


def series(count: int) -> list[str]:
    return [f"m{number:04}" for number in range(count)]


def write_store(folder: Path, *, runs: int, names: int, points: int, chunks: int) -> mf.Store:
    """`runs` runs of `names` series of `points` points each, in `chunks` records a run."""
    store = mf.Store(folder)
    store.create()
    merge(store.storage, POINTS, [_points(runs, series(names), points // chunks, chunks)], names=["points"])
    merge(store.storage, RUNS, [_runs(runs, series(names), points)], names=["runs"])
    return store


def write_parquet(file: Path, *, runs: int, names: int, points: int) -> None:
    """The same points as one Parquet file, sorted by (run, metric, step), with 10 rows of statistics a series."""
    schema = pa.schema(
        [("run_id", pa.string()), ("metric", pa.string()), ("step", pa.int64()), ("value", pa.float64())]
    )
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for number in range(runs):
            columns = [
                [run_id(number).hex()] * (names * points),
                np.repeat(series(names), points),
                np.tile(np.arange(points), names),
                np.tile(_values(number, 0, points), names),
            ]
            writer.write_table(pa.table(columns, schema=schema), row_group_size=names * points)


def _values(number: int, start: int, count: int) -> Any:
    return np.sin(np.arange(start, start + count) * 0.01 + number)


def _points(runs: int, names: list[str], rows: int, chunks: int) -> Iterator[bytes]:
    parts = range((chunks + RECORDS_A_PART - 1) // RECORDS_A_PART)
    keys = sorted((part_key(POINTS, run_id(number), part), number, part) for number in range(runs) for part in parts)
    for key, number, part in keys:
        first, last = part * RECORDS_A_PART, min((part + 1) * RECORDS_A_PART, chunks)
        yield from sorted(key + _chunk(number, chunk, names, rows) for chunk in range(first, last))


def _chunk(number: int, chunk: int, names: list[str], rows: int) -> bytes:
    steps = np.tile(np.arange(chunk * rows, (chunk + 1) * rows, dtype="<i8"), len(names))
    values = np.tile(_values(number, chunk * rows, rows), len(names))
    writer, counts = number.to_bytes(16, "big"), [(name, rows) for name in names]
    fields = (1, writer, chunk, counts, steps.tobytes(), (steps + START_US).tobytes(), values.tobytes())
    return bytes(msgpack.packb(fields))


def _runs(runs: int, names: list[str], points: int) -> Iterator[bytes]:
    for number in range(runs):
        session = number.to_bytes(8, "big")
        events = (
            Event("session", START_US, {"session": session, "process": {}}),
            Event("start", START_US, {"name": f"run {number}", "experiment": "bench", "user": "u"}),
            Event("end", START_US + points, {"session": session, "status": "FINISHED", "reason": ""}),
        )
        last = Last(points - 1, START_US + points - 1, float(_values(number, points - 1, 1)[0]))
        yield run_id(number) + pack_batch(Batch(number.to_bytes(16, "big"), 0, events, dict.fromkeys(names, last)))
