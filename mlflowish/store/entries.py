"""Entries: what is stored under the key of a call, as records of the `calls` journal.

A record begins with its kind (one byte) and the step's tag (8 bytes of BLAKE3 over its name, so that the calls of
one step are found without parsing the others). Then one msgpack array. Records never change: to forget an entry is
a *tombstone* record under the same key that names the ids it removes, so union stays the only merge (an
observed-remove set: Shapiro et al., 2011, INRIA RR-7506).
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgpack
from blake3 import blake3

from mlflowish.errors import IntegrityError
from mlflowish.storage.objects import ObjectRef

ENTRY, TOMBSTONE, EVENT, PART, USE = b"\x01", b"\x02", b"\x03", b"\x04", b"\x05"
PART_KEPT_S = 7 * 86_400.0  # how long an unfinished entry may take
_HEAD = 9  # kind + step tag
_log = logging.getLogger("mlflowish.store")
T = TypeVar("T")


@functools.lru_cache(maxsize=4096)
def step_tag(name: str) -> bytes:
    """8 bytes that stand for a step's name at the head of its records."""
    return bytes(blake3(b"mlf1.step\0" + name.encode("utf-8", "surrogatepass")).digest(length=8))


@dataclass(frozen=True, slots=True)
class Meta:
    """What an entry says about the call that made it.

    Times in seconds since 1970 (UTC), digests as 32 hex digits.
    """

    step: str
    fingerprint: str
    arguments: tuple[tuple[str, str, str], ...] = ()  # name, digest, description
    output: str | None = None
    output_description: str = ""
    duration_s: float = 0.0
    status: str = "computed"  # computed | uncached | failed
    reason: str = ""
    parent: str | None = None
    children: tuple[str, ...] = ()
    host: str = ""
    pid: int = 0
    python: str = ""
    extras: tuple[tuple[str, str], ...] = ()  # declared extras: name, digest
    run_id: str | None = None  # the run in which it was computed
    sources: tuple[
        tuple[str, str, str], ...
    ] = ()  # argument, place in it ('' for all of it), key of the call it is from
    output_kind: str = ""  # how the result stands in digests of what holds it: scalar | plain | other; "" is unknown
    output_code: tuple[tuple[str, str, bytes], ...] = ()  # code that the digest of the result rests on
    inputs: tuple[bytes, ...] = ()  # small arguments themselves: `steps/inputs.py`

    def packed(self) -> bytes:
        """The msgpack form: an array in field order, so that fields can be added at its end."""
        return bytes(msgpack.packb([getattr(self, name) for name in _META_FIELDS], unicode_errors="surrogatepass"))

    @classmethod
    def unpacked(cls, data: bytes) -> Meta:
        try:
            values = msgpack.unpackb(data, use_list=False, unicode_errors="surrogatepass")
        except ValueError as error:
            raise IntegrityError(f"the description of a call cannot be parsed: {error}") from error
        return cls(**dict(zip(_META_FIELDS, values, strict=False)))


_META_FIELDS = tuple(Meta.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class Entry:
    """One stored result: `head` and `objects` are what its codec needs; `meta` is parsed when asked for."""

    key: bytes
    id: bytes
    created_s: float
    codec: str
    head: bytes
    objects: tuple[ObjectRef, ...] = ()
    executes_code: bool = False
    observed: tuple[tuple[str, str, bytes], ...] = ()  # module, qualname, unit digest: checked before the entry may hit
    packed_meta: bytes = field(default=b"", repr=False)

    @property
    def meta(self) -> Meta:
        """What made it."""
        return Meta.unpacked(self.packed_meta)


@dataclass(frozen=True, slots=True)
class Event:
    """A call that left no result to read back: it failed, or could not be cached."""

    key: bytes
    id: bytes
    created_s: float
    packed_meta: bytes = field(default=b"", repr=False)

    @property
    def meta(self) -> Meta:
        """What happened."""
        return Meta.unpacked(self.packed_meta)


@dataclass(frozen=True, slots=True)
class Part:
    """An object of the entry `entry_id`, stored before the entry can be: a generator may take days."""

    key: bytes
    entry_id: bytes
    created_s: float
    object: ObjectRef


def pack_entry(entry: Entry, tag: bytes) -> bytes:
    """The journal payload of an entry."""
    body = (
        entry.id,
        entry.created_s,
        entry.codec,
        entry.head,
        [(ref.name, ref.size_bytes) for ref in entry.objects],
        entry.executes_code,
        entry.observed,
        entry.packed_meta,
    )
    return ENTRY + tag + bytes(msgpack.packb(body, unicode_errors="surrogatepass"))


def pack_event(event: Event, tag: bytes) -> bytes:
    """The journal payload of an event."""
    return EVENT + tag + bytes(msgpack.packb((event.id, event.created_s, event.packed_meta)))


def pack_tombstone(ids: Iterable[bytes], tag: bytes) -> bytes:
    """The journal payload that removes the entries with these ids, under the key they stand under."""
    return TOMBSTONE + tag + bytes(msgpack.packb(sorted(ids)))


def pack_part(part: Part, tag: bytes) -> bytes:
    """The journal payload of a part."""
    body = (part.entry_id, part.created_s, part.object.name, part.object.size_bytes)
    return PART + tag + bytes(msgpack.packb(body))


def unpack_part(key: bytes, payload: bytes) -> Part:
    """The part in a payload of kind `PART`."""
    try:
        entry_id, created_s, name, size = msgpack.unpackb(payload[_HEAD:])[:4]
        return Part(key, _raw(entry_id), float(created_s), ObjectRef(name, size))
    except (ValueError, TypeError, OverflowError) as error:
        raise IntegrityError(f"a part of an entry of key {key.hex()} cannot be parsed: {error}") from error


def unpack_entry(key: bytes, payload: bytes) -> Entry:
    """The entry in a payload of kind `ENTRY`; IntegrityError if nobody of ours can have written it."""
    try:
        fields: Any = msgpack.unpackb(payload[_HEAD:], use_list=False, unicode_errors="surrogatepass")
        if tuple(map(type, fields[:8])) != _ENTRY_TYPES:
            raise TypeError(f"its fields have the types {[type(field).__name__ for field in fields[:8]]}")
        entry_id, created_s, codec, head, objects, executes_code, observed, packed_meta = fields[:8]
        refs = tuple(ObjectRef(name, size) for name, size in objects) if objects else ()
        if observed:
            observed = tuple((str(module), str(name), _raw(digest)) for module, name, digest in observed)
    except (ValueError, TypeError, KeyError) as error:
        raise IntegrityError(f"an entry of key {key.hex()} cannot be parsed: {error}", key=key.hex()) from error
    return Entry(key, entry_id, created_s, codec, head, refs, executes_code, observed, packed_meta)


_ENTRY_TYPES = (bytes, float, str, bytes, tuple, bool, tuple, bytes)


def unpack_event(key: bytes, payload: bytes) -> Event:
    """The event in a payload of kind `EVENT`."""
    try:
        fields: Any = msgpack.unpackb(payload[_HEAD:], use_list=False)
        if tuple(map(type, fields[:3])) != (bytes, float, bytes):
            raise TypeError(f"its fields have the types {[type(field).__name__ for field in fields[:3]]}")
        event_id, created_s, packed_meta = fields[:3]
    except (ValueError, TypeError, KeyError) as error:
        raise IntegrityError(f"an event of key {key.hex()} cannot be parsed: {error}", key=key.hex()) from error
    return Event(key, event_id, created_s, packed_meta)


def unpack_tombstone(payload: bytes) -> list[bytes]:
    """The ids that a payload of kind `TOMBSTONE` removes."""
    try:
        return [_raw(entry_id) for entry_id in msgpack.unpackb(payload[_HEAD:])]
    except (ValueError, TypeError) as error:
        raise IntegrityError(f"a tombstone cannot be parsed: {error}") from error


def _raw(found: Any) -> bytes:
    if type(found) is not bytes:  # of a number, `bytes` would make as many zeros
        raise TypeError(f"an id is bytes, found {found!r:.50}")
    return found


_UNPACKERS: dict[bytes, Callable[[bytes, bytes], Entry | Event]] = {ENTRY: unpack_entry, EVENT: unpack_event}


def live_entries(key: bytes, payloads: Sequence[bytes]) -> list[Entry]:
    """The entries among the records of one key that no tombstone removes, newest first. Records that make no sense are
    passed over: the others are as good as without them."""
    if len(payloads) == 1 and payloads[0][:1] == ENTRY:  # nearly every hit
        return [entry for entry in (_readable(unpack_entry, key, payloads[0]),) if entry is not None]
    removed: set[bytes] = set()
    entries: dict[bytes, Entry] = {}
    for payload in payloads:
        kind = payload[:1]
        if kind == ENTRY and (entry := _readable(unpack_entry, key, payload)) is not None:
            entries[entry.id] = entry
        elif kind == TOMBSTONE:
            removed.update(_readable(unpack_tombstone, payload) or ())
    alive = [entry for entry_id, entry in entries.items() if entry_id not in removed]
    return sorted(alive, key=lambda entry: (entry.created_s, entry.id), reverse=True)


def live_records(records: Iterable[tuple[bytes, bytes]]) -> list[Entry | Event]:
    """The entries and events among records (key, payload) of any keys that no tombstone removes, in no order."""
    removed: set[bytes] = set()
    found: dict[bytes, Entry | Event] = {}
    for key, payload in records:
        kind = payload[:1]
        if kind == TOMBSTONE:
            removed.update(_readable(unpack_tombstone, payload) or ())
        elif kind in _UNPACKERS and (record := _readable(_UNPACKERS[kind], key, payload)) is not None:
            found[record.id] = record
    return [record for record_id, record in found.items() if record_id not in removed]


def _readable(unpack: Callable[..., T], *arguments: bytes) -> T | None:
    try:
        return unpack(*arguments)
    except IntegrityError as error:
        _log.warning("Passed over a record: %s", error)
        return None


def live_parts(key: bytes, payloads: Sequence[bytes], now_s: float) -> list[Part]:
    """The parts among the records of one key whose entry is neither complete nor removed, nor given up for lost."""
    parts = [part for each in payloads if each[:1] == PART and (part := _readable(unpack_part, key, each)) is not None]
    if not parts:
        return []
    ended = _removed(payloads) | {entry_id for each in payloads if (entry_id := _entry_id(key, each)) is not None}
    return [part for part in parts if part.entry_id not in ended and now_s - part.created_s < PART_KEPT_S]


def fold(key: bytes, payloads: list[bytes]) -> list[bytes]:
    """What compaction keeps of one key: all but the entries that a tombstone removes, and parts that nobody needs.

    Tombstones stay: a copy of what they remove may still stand in a journal that this compaction did not see.
    """
    kinds = {payload[:1] for payload in payloads}
    kept = payloads
    if TOMBSTONE in kinds:
        alive = {entry.id for entry in live_entries(key, payloads)}
        kept = [payload for payload in kept if (entry_id := _entry_id(key, payload)) is None or entry_id in alive]
    if PART in kinds:
        needed = {pack_part(part, b"")[1:] for part in live_parts(key, payloads, time.time())}
        kept = [payload for payload in kept if payload[:1] != PART or payload[_HEAD:] in needed]
    return kept


def _removed(payloads: Sequence[bytes]) -> set[bytes]:
    tombstones = [payload for payload in payloads if payload[:1] == TOMBSTONE]
    return {entry_id for payload in tombstones for entry_id in _readable(unpack_tombstone, payload) or ()}


def _entry_id(key: bytes, payload: bytes) -> bytes | None:
    entry = _readable(unpack_entry, key, payload) if payload[:1] == ENTRY else None
    return None if entry is None else entry.id
