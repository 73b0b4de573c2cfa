"""From a computed value to an entry: encode, store the objects, then the entry that names them."""

from __future__ import annotations

import functools
import itertools
import os
import sys
import time
import types
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from mlflowish.codecs import Encoded, describe, drain, drain_async, encode
from mlflowish.codecs.base import Part, PartReader
from mlflowish.hashing import digest
from mlflowish.hashing.identified import Identified, identified
from mlflowish.storage import ObjectRef
from mlflowish.store import Entry, Meta, Store
from mlflowish.store.entries import Part as Kept

_PYTHON = sys.version.split()[0]
_PARALLEL_BYTES = 16 << 20
# A collection that runs at the very moment may decide on an object that we just found there. Each try gets new names.
MOST_TRIES = 4


@dataclass(frozen=True, slots=True)
class Stored:
    """A value whose bytes rest in the store, and what an entry needs to name them."""

    value: Any
    codec: str
    head: bytes
    objects: tuple[ObjectRef, ...]
    executes_code: bool
    identity: Identified


def store_value(store: Store, value: Any, *, format: str | None) -> Stored:  # noqa: A002  the option's promised name
    """Put the value's bytes into the store. Generators are drained: the value of the record is then their re-iterable
    form.

    UncacheableError when no codec can store it, StorageError when the store cannot take it.
    """
    encoded = encode(value, format=format)
    if sum(part.size_bytes for part in encoded.parts) < _PARALLEL_BYTES:
        objects = tuple(_put(store, part) for part in encoded.parts)
        return _stored(value, encoded, objects, identified(value, path="result"))
    # Digest and writing both wait for memory and disk, not for each other.
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1, thread_name_prefix="mlflowish-digest") as pool:
        pending = pool.submit(identified, value, path="result")
        objects = tuple(_put(store, part) for part in encoded.parts)
        return _stored(value, encoded, objects, pending.result())


@dataclass(frozen=True, slots=True)
class Draining:
    """Takes a generator into the store, a chunk at a time, for the entry of this id."""

    store: Store
    key: bytes
    entry_id: bytes
    step: str
    _refs: list[ObjectRef] = field(default_factory=list)
    _places: Iterator[int] = field(default_factory=itertools.count)

    def all_of(self, iterator: Iterable[Any]) -> Stored:
        """What a generator gives."""
        return self._stored(*drain(iterator, self._store_part, digest_item=self._digest_item))

    async def all_of_async(self, iterator: AsyncIterator[Any]) -> Stored:
        """What an async generator gives."""
        return self._stored(*await drain_async(iterator, self._store_part, digest_item=self._digest_item))

    def _store_part(self, part: Part) -> PartReader:
        for _ in range(MOST_TRIES):
            ref = _put(self.store, part)
            self.store.add_part(Kept(self.key, self.entry_id, time.time(), ref), step=self.step)
            if not self.store.are_doomed((ref,)):
                break
        self._refs.append(ref)
        return self.store.objects.reader(ref)

    def _digest_item(self, item: Any) -> bytes:
        return digest(item, path=f"result[{next(self._places)}]")

    def _stored(self, items: Any, encoded: Encoded) -> Stored:
        return _stored(items, encoded, tuple(self._refs), identified(items, path="result"))


def _put(store: Store, part: Part) -> ObjectRef:
    # Of a remote file the size may be unknown, which is no reason to hold it in memory as a small one.
    return store.objects.put_deferred(part.chunks, part.size_bytes if part.size_bytes >= 0 else None)


def is_generator(value: Any) -> bool:
    """Is it a generator, whose items are its value?"""
    return isinstance(value, types.GeneratorType)


def _stored(value: Any, encoded: Encoded, objects: tuple[ObjectRef, ...], identity: Identified) -> Stored:
    return Stored(value, encoded.codec, encoded.head, objects, encoded.executes_code, identity)


def make_entry(
    key: bytes,
    stored: Stored,
    meta: Meta,
    observed: tuple[tuple[str, str, bytes], ...],
    *,
    entry_id: bytes | None = None,
) -> Entry:
    """The entry of a stored value, with a fresh id unless it has one."""
    return Entry(
        key,
        entry_id or os.urandom(16),
        time.time(),
        stored.codec,
        stored.head,
        stored.objects,
        stored.executes_code,
        observed,
        meta.packed(),
    )


def describe_call(**fields: Any) -> Meta:
    """The description of a call made here and now."""
    return Meta(host=_host(), pid=os.getpid(), python=_PYTHON, **fields)


@functools.cache
def _host() -> str:
    if hasattr(os, "uname"):
        return os.uname().nodename
    import socket

    return socket.gethostname()


def described(name: str, value: Any) -> str:
    """One line about an argument; nothing of a value whose name sounds like a secret."""
    if sounds_secret(name):
        return "(hidden)"
    return describe(value)


def sounds_secret(name: str) -> bool:
    """Does the name say that its value must not be shown or stored?"""
    lowered = name.lower()
    return any(word in lowered for word in ("password", "passwd", "secret", "token", "credential", "api_key", "apikey"))
