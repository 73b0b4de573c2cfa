"""Records parse, and every object that an entry names is there."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import partial

import msgpack

from mlflowish.errors import IntegrityError, NotFoundError, StateError
from mlflowish.journals import Fold, Journals
from mlflowish.maintenance.aside import put_good_copy
from mlflowish.maintenance.checking import Check
from mlflowish.maintenance.reach import by_key, references
from mlflowish.steps import code as codes
from mlflowish.storage import ObjectRef
from mlflowish.store import Store, dooms, forgetting, remembered
from mlflowish.store import entries as records
from mlflowish.store.entries import Entry
from mlflowish.tracking.artifacts import is_waiting
from mlflowish.tracking.records import unpack_batch, unpack_chunk, unpack_lines

_KNOWN = (records.ENTRY, records.EVENT, records.TOMBSTONE, records.PART, records.USE)
_FAULTS = (ValueError, TypeError, KeyError, IndexError, OverflowError, zlib.error, IntegrityError)


def check_calls(check: Check, present: dict[str, int]) -> None:
    """The records of calls. Reads them in order of their keys: memory does not grow with their number."""
    check.watch.begin("calls")
    journals = check.store.journals("calls")
    unreadable: list[str] = []
    for key, payloads in by_key(journals.scan()):
        for payload in payloads:
            check.counts["call_records"] += 1
            check.watch.advance()
            what = call_fault(key, payload)
            if payload[:1] not in _KNOWN:
                check.found("record-unknown", f"calls/{key.hex()}", f"kind {payload[:1].hex() or 'none'}")
            elif what:
                unreadable.append(f"calls/{key.hex()}: {what}")
        for entry in records.live_entries(key, [p for p in payloads if not call_fault(key, p)]):
            _check_objects(check, journals, entry, present)
    _report_unreadable(check, journals, unreadable, records.fold, call_fault)


def check_records(check: Check, kind: str) -> None:
    """The records of another kind, if this version knows it."""
    fault = _FAULT_OF.get(kind)
    if fault is None:
        return
    check.watch.begin(kind)
    journals, unreadable = check.store.journals(kind), []
    for key, payload in journals.scan():
        check.counts["other_records"] += 1
        check.watch.advance()
        if what := fault(key, payload):
            unreadable.append(f"{kind}/{key.hex()}: {what}")
    _report_unreadable(check, journals, unreadable, None, fault)


def check_references(check: Check, present: dict[str, int]) -> None:
    """Every object that runs and the catalog name is there."""
    check.watch.begin("references")
    for owner, ref in references(check.store):
        check.counts["references"] += 1
        if present.get(ref.name) == ref.size_bytes or not _missing(check, ref) or is_waiting(check.store, ref):
            continue
        if what := _missing(check, ref):  # it was not brought into the store between the two looks
            check.found("reference-missing", owner, what, partial(put_good_copy, check.store, ref))


def call_fault(key: bytes, payload: bytes) -> str:
    """What keeps a record of a call from being read; '' if nothing does, or its kind is unknown."""
    kind = payload[:1]
    try:
        if kind == records.ENTRY:
            meta = records.unpack_entry(key, payload).meta
        elif kind == records.EVENT:
            meta = records.unpack_event(key, payload).meta
        else:
            if kind == records.TOMBSTONE:
                records.unpack_tombstone(payload)
            elif kind == records.PART:
                records.unpack_part(key, payload)
            return ""
        if records.step_tag(meta.step) != payload[1:9]:
            return f"its tag is not that of the step {meta.step}"
    except _FAULTS as error:
        return str(error) or type(error).__name__
    return ""


def _parts_fault(_: bytes, payload: bytes) -> str:
    try:
        rows = msgpack.unpackb(zlib.decompress(payload), unicode_errors="surrogatepass")
        return "" if all(len(row) >= 4 for row in rows) else "its rows are too short"
    except _FAULTS as error:
        return str(error) or type(error).__name__


def _accepted_fault(_: bytes, payload: bytes) -> str:
    try:
        earlier = msgpack.unpackb(payload, unicode_errors="surrogatepass")[0]
        return "" if isinstance(earlier, bytes) and len(earlier) == 16 else "it names no earlier fingerprint"
    except _FAULTS as error:
        return str(error) or type(error).__name__


def _used_fault(_: bytes, payload: bytes) -> str:
    try:
        when, digest = msgpack.unpackb(payload)[:2]
        return "" if isinstance(digest, bytes) and len(digest) == 16 and float(when) >= 0 else "it names no fingerprint"
    except _FAULTS as error:
        return str(error) or type(error).__name__


def _fault_by(unpack: Callable[[bytes], object]) -> Callable[[bytes, bytes], str]:
    def fault(_: bytes, payload: bytes) -> str:
        try:
            unpack(payload)
        except _FAULTS as error:
            return str(error) or type(error).__name__
        return ""

    return fault


_FAULT_OF: dict[str, Callable[[bytes, bytes], str]] = {
    "fingerprints": _parts_fault,
    "accepted": _accepted_fault,
    codes.KIND: codes.fault,
    "used": _used_fault,
    forgetting.KIND: lambda key, payload: "" if len(payload) == 16 else f"its payload has {len(payload)} bytes",
    dooms.KIND: _fault_by(dooms.unpack_doom),
    remembered.KIND: _fault_by(remembered.unpacked),
    "runs": _fault_by(unpack_batch),
    "metrics": _fault_by(unpack_chunk),
    "run-console": _fault_by(unpack_lines),
    "run-calls": _fault_by(unpack_lines),
}


def _check_objects(check: Check, journals: Journals, entry: Entry, present: dict[str, int]) -> None:
    check.counts["entries"] += 1
    for ref in entry.objects:
        if present.get(ref.name) != ref.size_bytes and (what := _missing(check, ref)):
            tombstone = records.pack_tombstone([entry.id], records.step_tag(entry.meta.step))
            path = f"calls/{entry.key.hex()}"
            check.found("object-missing", path, what, partial(_remove, check.store, entry.key, tombstone))
            return


def _remove(store: Store, key: bytes, tombstone: bytes) -> None:
    forgetting.note(store, tombstone[1:9])
    store.journals("calls").append(key, tombstone)
    forgetting.note(store, tombstone[1:9])  # as in `Store.forget_all`


def _missing(check: Check, ref: ObjectRef) -> str:
    """What is wrong with an object that the listing did not show: it may have been written since."""
    try:
        size = check.storage.size(ref.path)
    except NotFoundError:
        return f"{ref.path} is not there"
    return "" if size == ref.size_bytes else f"{ref.path} has {size:,} bytes, not {ref.size_bytes:,}"


def _report_unreadable(
    check: Check, journals: Journals, unreadable: list[str], fold: Fold | None, fault: Callable[[bytes, bytes], str]
) -> None:
    done: list[bool] = []

    def drop() -> None:
        if not done:
            done.append(journals.compact(lambda key, payloads: _readable(key, payloads, fold, fault)).is_complete)
        if not done[0]:
            raise StateError("A living process still holds a journal: repair again when it has ended")

    for line in unreadable:
        path, _, what = line.partition(": ")
        check.found("record-unreadable", path, what, drop)


def _readable(
    key: bytes, payloads: list[bytes], fold: Fold | None, fault: Callable[[bytes, bytes], str]
) -> list[bytes]:
    kept = [payload for payload in payloads if not fault(key, payload)]
    return kept if fold is None else fold(key, kept)
