"""The way to what is known of runs: journals and spool files as one. What search, displays and lineage stand on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Any

from mlflowish.errors import InvalidInputError, NotFoundError, StorageError, nearest
from mlflowish.journals import Journals
from mlflowish.storage import ObjectRef
from mlflowish.store import Store
from mlflowish.tracking.folding import KILLED, RunRecord, fold
from mlflowish.tracking.inflight import in_flight
from mlflowish.tracking.records import (
    CALLS,
    CONSOLE,
    RUNS,
    Batch,
    Event,
    Lines,
    pack_batch,
    parts_of,
    unpack_batch,
    unpack_lines,
)
from mlflowish.tracking.table import pays

_FOUND_DEAD = 0xFFFF_FFFF  # the number of a batch that no spool file made
_RUN_ID_DIGITS = 32


def read_runs(store: Store, *, deleted: bool = False) -> Iterator[RunRecord]:
    """Every run of a store, in order of its id, which is that of their starts; deleted ones only if asked for.

    Reads every record of runs once, and no points: bounded memory.
    """
    flying = in_flight(store)
    waiting = sorted(flying.run_ids())
    for run_id, payloads in groupby(store.journals(RUNS).scan(), key=lambda item: item[0]):
        while waiting and waiting[0] < run_id:
            yield from _visible(fold(waiting[0], flying.batches(waiting.pop(0))), deleted)
        batches = [unpack_batch(payload) for _, payload in payloads]
        if waiting and waiting[0] == run_id:
            batches += flying.batches(waiting.pop(0))
        yield from _visible(fold(run_id, batches), deleted)
    for run_id in waiting:
        yield from _visible(fold(run_id, flying.batches(run_id)), deleted)


def read_run(store: Store, run_id: str) -> RunRecord:
    """One run by its id; NotFoundError, naming the nearest, if there is none."""
    key = require_run_id(run_id)
    record = fold(key, _batches(store, key))
    if record is None:
        near = nearest(run_id, _known_ids(store, run_id), limit=3)
        hint = f"; the nearest are {', '.join(near)}" if near else ": it has no runs"
        raise NotFoundError(f"There is no run {run_id} in {store.url}{hint}", run_id=run_id, url=store.url, near=near)
    return record


def read_batches(store: Store, run_id: str) -> list[Batch]:
    """What is known of a run as it was told: one batch for each spool file, and what was said about it later."""
    return _batches(store, require_run_id(run_id))


def find_run(store: Store, text: str) -> RunRecord:
    """The run with this id, this beginning of an id, or this name; InvalidInputError if that is not one."""
    if is_run_id(text):
        return read_run(store, text)
    if pays(store):
        return _found_in_table(store, text)
    runs = list(read_runs(store))
    found = [run for run in runs if run.name == text] or [
        run for run in runs if len(text) >= 4 and run.run_id.startswith(text.lower())
    ]
    _require_one(
        store, text, [run.run_id for run in found], lambda: [run.name for run in runs] + [run.run_id for run in runs]
    )
    return found[0]


def _found_in_table(store: Store, text: str) -> RunRecord:
    from mlflowish.tracking.table import finding

    ids = finding.ids_of(store, text)
    _require_one(store, text, ids, lambda: finding.names_and_ids(store, text))
    return read_run(store, ids[0])


def _require_one(store: Store, text: str, ids: list[str], known: Callable[[], list[str]]) -> None:
    if not ids:
        near = nearest(text, known(), limit=3)
        hint = f"; the nearest are {', '.join(near)}" if near else ": it has no runs"
        raise NotFoundError(f"There is no run {text} in {store.url}{hint}", run_id=text, url=store.url, near=near)
    if len(ids) > 1:
        raise InvalidInputError(
            f"{len(ids)} runs are meant by {text!r}: {', '.join(ids[:5])}. Give the id.", found=text, runs=ids
        )


def _known_ids(store: Store, run_id: str) -> list[str]:
    if pays(store):
        from mlflowish.tracking.table import finding

        return finding.ids_near(store, run_id)
    return [run.run_id for run in read_runs(store, deleted=True)]


def read_console(store: Store, run_id: str) -> str:
    """What the run printed, as far as it was captured, in the order of time."""
    rows = _lines(store, CONSOLE, require_run_id(run_id))
    return "".join(text for _, _, text, *_ in sorted(rows, key=lambda row: row[0]))


def read_calls(store: Store, run_id: str) -> list[tuple[Any, ...]]:
    """The calls of steps in a run: (microseconds, key, step, hit, duration_s, output digest, status)."""
    return sorted(_lines(store, CALLS, require_run_id(run_id)), key=lambda row: row[0])


def artifact_refs(store: Store, *, deleted: bool = True) -> Iterator[ObjectRef]:
    """The objects that runs name: artifacts, models, captured source. They must outlive every collection.

    `deleted=False` leaves out those that only deleted runs name.
    """
    for record in read_runs(store, deleted=deleted):
        yield from record.refs


def bury(store: Store, run_id: bytes) -> None:
    """Write down that sessions of a run whose processes are known to be dead have ended, so that every machine sees
    it."""
    record = fold(run_id, _batches(store, run_id))
    said = {event.body["session"] for batch in _batches(store, run_id) for event in batch.events if event.kind == "end"}
    for session in record.sessions if record is not None else ():
        if session.id not in said and session.status == KILLED and session.ended_us is not None:
            body = {"session": session.id, "status": KILLED, "reason": session.reason, "found_dead": True}
            batch = Batch(session.id, _FOUND_DEAD, (Event("end", session.ended_us, body),))
            store.journals(RUNS).append(run_id, pack_batch(batch))


def is_run_id(text: str) -> bool:
    """Has it the form of a run's id?"""
    return len(text) == _RUN_ID_DIGITS and set(text) <= set("0123456789abcdef")


def require_run_id(run_id: str) -> bytes:
    """The bytes of an id; InvalidInputError if it is none."""
    if not isinstance(run_id, str) or not is_run_id(run_id):
        raise InvalidInputError(f"The id of a run is {_RUN_ID_DIGITS} hex digits, found {run_id!r}", found=run_id)
    return bytes.fromhex(run_id)


def _visible(record: RunRecord | None, deleted: bool) -> Iterable[RunRecord]:
    return [record] if record is not None and (deleted or not record.is_deleted) else []


def _batches(store: Store, run_id: bytes) -> list[Batch]:
    batches = in_flight(store).batches(run_id)
    try:
        journals = _journals(store, RUNS)
        return batches + [unpack_batch(payload) for payload in journals.get(run_id)]
    except StorageError:
        if not batches:
            raise
        return batches  # the store is out of reach, and this machine knows what it has logged itself


def _journals(store: Store, kind: str) -> Journals:
    """The journals as of now: what has left a spool file since it was looked at must be seen in them. Into a bucket
    records come in batches of seconds anyhow, and a look costs requests: there they look by themselves."""
    journals = store.journals(kind)
    if store.storage.capabilities.append:
        journals.catch_up()
    return journals


def _parts(store: Store, kind: str, run_id: bytes) -> Iterator[bytes]:
    try:
        yield from (payload for _, payload in parts_of(_journals(store, kind).get, kind, run_id))
    except StorageError:
        if not in_flight(store).batches(run_id):
            raise


def _lines(store: Store, kind: str, run_id: bytes) -> list[tuple[Any, ...]]:
    found: dict[tuple[bytes, int], Lines] = {}
    for lines in in_flight(store).lines(run_id, kind):
        found[lines.writer, lines.number] = lines
    for payload in _parts(store, kind, run_id):
        lines = unpack_lines(payload)
        found[lines.writer, lines.number] = lines
    return [row for name in sorted(found) for row in found[name].rows]
