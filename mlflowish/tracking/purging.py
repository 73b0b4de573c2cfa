"""Letting go of runs for good, beside writers: first it is written down what may go, then compactions remove it.

The order is that of the doomed objects (`store/dooms.py`): announce, look once more, remove. Whoever restores a run
writes that down, and looks for a purge after it: one of the two sees the other. In a bucket neither does at once; there
what was announced is removed by a later call, once `wait_s` have passed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, groupby
from typing import TypeVar

from mlflowish.errors import IntegrityError, MlflowishError
from mlflowish.store import Store
from mlflowish.tracking.burial import (
    DROP,
    NOT_SPOOLED,
    PURGE,
    Burial,
    Name,
    Names,
    burial_body,
    burials,
    is_buried,
    living,
)
from mlflowish.tracking.folding import HARDWARE, RunRecord, fold_all, unique
from mlflowish.tracking.inflight import in_flight
from mlflowish.tracking.records import (
    CALLS,
    CONSOLE,
    POINTS,
    RECORDS_A_PART,
    RUNS,
    Batch,
    Buffer,
    Chunk,
    Event,
    open_chunk,
    pack_batch,
    pack_chunk,
    part_key,
    parts_of,
    unpack_batch,
    unpack_chunk,
    unpack_lines,
)

PARTS = (POINTS, CONSOLE, CALLS)
_MOST_NUMBER = 1 << 24  # of a record of points: a writer that sends one a second for half a year
T = TypeVar("T")
_Keep = Callable[[bytes], bytes | None]


@dataclass(frozen=True, slots=True)
class Removed:
    """How much a removal took away, or found to take away. `is_complete`: no living writer holds any of it."""

    runs: int = 0
    records: int = 0
    size_bytes: int = 0
    is_complete: bool = True


def purge(store: Store, run_id: bytes) -> bool:
    """Write down that a deleted run may go for good; False if it was restored, resumed or written to meanwhile: it
    stays then."""
    batches = _stored_batches(store, run_id)
    record = fold_all(run_id, batches)
    if record is None or not record.is_deleted or record.end_s is None or run_id in in_flight(store).run_ids():
        return False
    # Batches first: what they refer to was in the journals before them.
    names = {RUNS: [(batch.writer, batch.number) for batch in living(batches)]}
    names |= {kind: [name for name, _ in _parts(store, kind, run_id)] for kind in PARTS}
    start = {"name": record.name, "experiment": record.experiment, "user": record.user}
    # A table of runs knows a run again by how many records it has, of how many bytes: what is left of this one weighs
    # more than all that may go.
    padding = bytes(sum(len(run_id) + len(payload) for payload in store.journals(RUNS).get(run_id)))
    body = burial_body(
        names, start=start, start_us=round(record.start_s * 1e6), deleted=record.is_deleted, padding=padding
    )
    _say(store, run_id, PURGE, body)
    return run_id not in in_flight(store).run_ids() and is_buried(_stored_batches(store, run_id))


def drop(store: Store, run_id: bytes, *, console: bool, hardware: bool) -> None:
    """Write down that console text, or series of the hardware, of a run may go."""
    if console:
        _say(store, run_id, DROP, burial_body({CONSOLE: [name for name, _ in _parts(store, CONSOLE, run_id)]}))
    if hardware:
        names = [name for name, payload in _parts(store, POINTS, run_id) if _has_hardware(payload)]
        _say(store, run_id, DROP, burial_body({POINTS: names}, only=HARDWARE))


def droppable(store: Store, run_id: bytes) -> tuple[int, int]:
    """The bytes that console text, and series of the hardware, of a run take."""
    console = sum(len(payload) for _, payload in _parts(store, CONSOLE, run_id))
    counts = [count for _, p in _parts(store, POINTS, run_id) for name, count in open_chunk(p).counts if _is_ours(name)]
    return console, 24 * sum(counts)


def run_bytes(store: Store, run_id: bytes) -> int:
    """The bytes of all records of a run."""
    parts = sum(len(payload) for kind in PARTS for _, payload in _payloads(store, kind, run_id))
    return parts + sum(map(len, store.journals(RUNS).get(run_id)))


def remove_buried(store: Store, *, wait_s: float = 0.0, dry_run: bool = False) -> Removed:
    """Remove from the journals what purges and drops name, as far as no living writer holds it. Done twice, or killed
    in between and done again, it comes to the same."""
    total = Removed()
    wanted: dict[str, dict[bytes, _Keep]] = {kind: {} for kind in (*PARTS, RUNS)}
    for run_id, known in _with_burials(store):
        ripe_us = (time.time() - wait_s) * 1e6
        buried = is_buried(known)
        chosen = [each for each in burials(known) if each.time_us <= ripe_us and (buried or not each.is_whole)]
        count, size = _plan(store, run_id, known, chosen, wanted) if chosen else (0, 0)
        runs = int(any(each.is_whole for each in chosen) and bool(living(known)))
        total = Removed(total.runs + runs, total.records + count, total.size_bytes + size)
    if dry_run:
        return total
    # What names the others goes last.
    done = [_compact(store, kind, keeps) for kind, keeps in wanted.items() if keeps]
    return Removed(total.runs, total.records, total.size_bytes, all(done))


def buried_runs(store: Store) -> Iterator[RunRecord]:
    """Purged runs whose records have not been removed yet: what they name must outlive them."""
    for run_id, known in _with_burials(store):
        if is_buried(known) and (record := fold_all(run_id, known)) is not None:
            yield record


def _plan(
    store: Store, run_id: bytes, known: list[Batch], chosen: list[Burial], wanted: dict[str, dict[bytes, _Keep]]
) -> tuple[int, int]:
    """Note what to do under which key, where something is left to do; how many records and bytes that is."""
    count = size = 0
    for kind in PARTS:
        whole, partly = _named(chosen, kind)
        if not whole and not partly:
            continue
        keep = _keep_points(whole, partly) if kind == POINTS else _keep_lines(whole)
        for part, payload in chain(_payloads(store, kind, run_id), _behind_gaps(store, kind, run_id, whole, partly)):
            kept = keep(bytes(payload))
            if kept != payload:
                wanted[kind][part_key(kind, run_id, part)] = keep
                count, size = count + 1, size + len(payload) - len(kept or b"")
    whole, _ = _named([each for each in chosen if each.is_whole], RUNS)
    gone = [batch for batch in living(known) if (batch.writer, batch.number) in whole]
    if gone:
        wanted[RUNS][run_id] = _keep_batches(whole)
        size += sum(len(pack_batch(batch)) for batch in gone)
    return count + len(gone), size


def _compact(store: Store, kind: str, keeps: Mapping[bytes, _Keep]) -> bool:
    def fold(key: bytes, payloads: list[bytes]) -> list[bytes]:
        keep = keeps.get(key)
        return payloads if keep is None else [kept for each in payloads if (kept := keep(each)) is not None]

    return store.journals(kind).compact(fold).is_complete


def _keep_batches(gone: Names) -> _Keep:
    def keep(payload: bytes) -> bytes | None:
        batch = _try(unpack_batch, payload)
        return None if batch is not None and (batch.writer, batch.number) in gone and living([batch]) else payload

    return keep


def _keep_lines(gone: Names) -> _Keep:
    def keep(payload: bytes) -> bytes | None:
        lines = _try(unpack_lines, payload)
        return None if lines is not None and (lines.writer, lines.number) in gone else payload

    return keep


def _keep_points(gone: Names, partly: Names) -> _Keep:
    """All but what is gone, and without the series of the hardware where only those are."""

    def keep(payload: bytes) -> bytes | None:
        chunk = _try(unpack_chunk, payload)
        if chunk is None:
            return payload
        name = (chunk.writer, chunk.number)
        if name in gone:
            return None
        if name not in partly or not any(map(_is_ours, chunk.columns)):
            return payload
        # One without columns stays, too: readers take parts in which nothing is left for the end of the run.
        columns = {series: column for series, column in chunk.columns.items() if not _is_ours(series)}
        return pack_chunk(Chunk(chunk.writer, chunk.number, columns))

    return keep


def _try(unpack: Callable[[bytes], T], payload: bytes) -> T | None:
    """None for what nobody of ours has written: it is no compaction's to judge."""
    try:
        return unpack(payload)
    except MlflowishError:
        return None


def _named(chosen: Iterable[Burial], kind: str) -> tuple[Names, Names]:
    """Records of a kind that may go, and those of which only the series of the hardware may."""
    listed = [(burial.only, burial.names.get(kind, ())) for burial in chosen]
    return Names(*(names for only, names in listed if not only)), Names(*(n for only, n in listed if only == HARDWARE))


def _with_burials(store: Store) -> Iterator[tuple[bytes, list[Batch]]]:
    """Every run of which something may go, with all that is known of it, what is in flight too."""
    flying = in_flight(store)
    for run_id, payloads in groupby(store.journals(RUNS).scan(), key=lambda item: item[0]):
        texts = [payload for _, payload in payloads]
        if any(PURGE.encode() in text or DROP.encode() in text for text in texts):
            known = unique([*map(unpack_batch, texts), *flying.batches(run_id)])
            if burials(known):
                yield run_id, known


def _stored_batches(store: Store, run_id: bytes) -> list[Batch]:
    journals = store.journals(RUNS)
    journals.refresh()
    return unique(map(unpack_batch, journals.get(run_id)))


def _parts(store: Store, kind: str, run_id: bytes) -> Iterator[tuple[Name, Buffer]]:
    """Name and payload of each record of a kind that a run has."""
    for _, payload in _payloads(store, kind, run_id):
        try:
            found = open_chunk(payload) if kind == POINTS else unpack_lines(payload)
        except IntegrityError:
            continue
        yield (found.writer, found.number), payload


def _payloads(store: Store, kind: str, run_id: bytes) -> Iterator[tuple[int, Buffer]]:
    journals = store.journals(kind)
    journals.catch_up()
    yield from parts_of(journals.views, kind, run_id)


def _behind_gaps(store: Store, kind: str, run_id: bytes, *named: Names) -> Iterator[tuple[int, Buffer]]:
    """Payloads of named records in parts that no reader reaches: a removal that was killed between two files may have
    taken those before them, which are the end of a run's points."""
    if kind != POINTS:
        return
    parts: set[int] = set()
    for numbers in chain.from_iterable(named):
        if numbers.start >= 0 and numbers.stop <= _MOST_NUMBER:
            parts.update(range(numbers.start // RECORDS_A_PART, (numbers.stop - 1) // RECORDS_A_PART + 1))
    views = store.journals(kind).views
    reached = max((part for part, _ in parts_of(views, kind, run_id)), default=-1)
    for part in sorted(parts):
        if part > reached:
            yield from ((part, payload) for payload in views(part_key(kind, run_id, part)))


def _say(store: Store, run_id: bytes, kind: str, body: dict[str, object]) -> None:
    batch = Batch(os.urandom(16), NOT_SPOOLED, (Event(kind, time.time_ns() // 1000, body),))
    store.journals(RUNS).append(run_id, pack_batch(batch))


def _has_hardware(payload: Buffer) -> bool:
    return any(_is_ours(name) for name, _ in open_chunk(payload).counts)


def _is_ours(name: str) -> bool:
    return name.startswith(HARDWARE)
