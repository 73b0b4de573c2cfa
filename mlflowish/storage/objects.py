"""Objects: immutable bytes named by their hash, whatever storage they rest in.

`objects/<hh>/<name>`, where the name is the BLAKE3-256 of the bytes in hex, `<hh>` its first two digits. A reader never
trusts a name alone: the size always, the content by policy (`seals.py`). What is damaged is put aside, so that it can
be written again.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from blake3 import blake3

from mlflowish.errors import IntegrityError, InvalidInputError, NotFoundError
from mlflowish.storage.base import Buffer, Staging, Storage
from mlflowish.storage.cache import ObjectCache
from mlflowish.storage.readers import CachedReader, FileReader, ObjectReader, StoredReader, is_there_and_right
from mlflowish.storage.seals import seal_ns
from mlflowish.storage.settling import is_known, settle, settle_later

Verify = Literal["sealed", "always", "never"]
Chunks = Callable[[], Iterator[Buffer]]

_NAME = re.compile(r"[0-9a-f]{64}(?:\.[A-Za-z0-9_-]{1,64})?\Z")
_SMALL_BYTES = 1 << 20  # up to here the bytes are copied once, hashed, and not written at all if they are there
_WORTH_A_THREAD_BYTES = 16 << 20
_SLAB_WORTH_A_THREAD_BYTES = 512 << 10
_WORTH_ASKING_BYTES = 256 << 10  # below, sending an object costs no more than asking whether it is there
_TRIES = 3


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """The name of an object (64 hex digits, perhaps `.` and a generation) and its size."""

    name: str
    size_bytes: int

    def __post_init__(self) -> None:
        if not _NAME.match(self.name) or self.size_bytes < 0:
            message = f"Not the name and size of an object: {self.name!r}, {self.size_bytes!r}"
            raise InvalidInputError(message, name=self.name)

    @property
    def digest(self) -> str:
        """The BLAKE3-256 of the bytes, in hex."""
        return self.name[:64]

    @property
    def path(self) -> str:
        """Where it rests in its storage."""
        return f"objects/{self.name[:2]}/{self.name}"


class ObjectStore:
    """The objects of one storage. Thread-safe, process-safe, picklable.

    `verify`: "sealed" hashes a file unless it bears its seal, "always" hashes each time, "never" looks at the size
    only. What comes from afar is hashed in any case, and kept in `cache` (default: one for all stores of this user).
    `is_doomed`: may an object of this name be deleted soon, or has it been? Then the bytes are written under another.
    """

    def __init__(
        self,
        storage: Storage,
        cache: ObjectCache | None = None,
        verify: Verify = "sealed",
        is_doomed: Callable[[str], bool] | None = None,
    ) -> None:
        if verify not in ("sealed", "always", "never"):
            raise InvalidInputError(f"verify is 'sealed', 'always' or 'never', found {verify!r}", found=verify)
        self.storage = storage
        self.verify: Verify = verify
        self._is_doomed = is_doomed
        can = storage.capabilities
        self._is_local = can.local_paths
        self.cache = (cache or ObjectCache()) if can.shared and not can.local_paths else None

    def put(self, chunks: Chunks | Buffer, size_hint: int | None = None) -> ObjectRef:
        """Store the bytes, durably by the policy of the storage, and name them. What is there and right is not written,
        unless it is doomed: then it gets a new name, with the next generation.

        `chunks()` is called again when a damaged object has to be replaced, and for the cache of a remote storage; one
        slab at a time is taken from it.
        """
        return self._put(chunks, size_hint, is_synced=True)

    def put_deferred(self, chunks: Chunks | Buffer, size_hint: int | None = None) -> ObjectRef:
        """The same for what can be made again: files are flushed to the disk in the background, after this returned.

        Whatever is to refer to the object for good calls `settle` first.
        """
        return self._put(chunks, size_hint, is_synced=False)

    def settle(self, ref: ObjectRef) -> None:
        """Check an object as for reading, and make sure that it is durable; costs next to nothing if it is.

        Raises NotFoundError, IntegrityError, and StorageError where the disk does not take it.
        """
        if self._is_local:
            settle_object(self.storage, ref, self.verify)
        elif not self.contains(ref):
            raise NotFoundError(f"The object {ref.name[:16]}.. is not in {self.storage.url}", path=ref.path)

    def reader(self, ref: ObjectRef) -> ObjectReader:
        """The bytes of an object, checked when they are asked for: NotFoundError, IntegrityError."""
        if self._is_local:
            return FileReader(self.storage, ref, self.verify)
        if self.cache is not None:
            return CachedReader(self.storage, ref, self.verify, self.cache)
        return StoredReader(self.storage, ref, self.verify)

    def contains(self, ref: ObjectRef) -> bool:
        """Is an object of this name and size there? Says nothing about its content; one request."""
        try:
            return self.storage.size(ref.path) == ref.size_bytes
        except NotFoundError:
            return False

    def check(self, ref: ObjectRef) -> None:
        """Read and hash what the storage itself holds, past seals and cache: NotFoundError, IntegrityError."""
        reader = FileReader(self.storage, ref, "always") if self._is_local else StoredReader(self.storage, ref)
        reader.check()

    def _put(self, chunks: Chunks | Buffer, size_hint: int | None, *, is_synced: bool) -> ObjectRef:
        if not callable(chunks):
            return self._put_small(bytes(chunks), is_synced=is_synced)
        if size_hint is not None and size_hint <= _SMALL_BYTES:
            return self._put_small(b"".join(chunks()), is_synced=is_synced)
        return self._put_large(chunks, size_hint, is_synced=is_synced)

    def _put_small(self, data: bytes, *, is_synced: bool) -> ObjectRef:
        ref = self._spared(ObjectRef(blake3(data).hexdigest(), len(data)))
        asks = self._is_local or len(data) > _WORTH_ASKING_BYTES
        if not (asks and self._is_there(ref, is_synced=is_synced)):
            ref = self._commit(lambda staging: _write_known(staging, data, ref), is_synced=is_synced)
        if self.cache is not None:
            self.cache.try_to_keep(lambda: (data,), ref.digest, ref.size_bytes)
        return ref

    def _put_large(self, chunks: Chunks, size_hint: int | None, *, is_synced: bool) -> ObjectRef:
        is_threaded = size_hint is not None and size_hint > _WORTH_A_THREAD_BYTES
        write = _write_hashing_beside if is_threaded else _write_hashing
        ref = self._commit(lambda staging: write(staging, chunks()), asks_first=True, is_synced=is_synced)
        if self.cache is not None:
            self.cache.try_to_keep(chunks, ref.digest, ref.size_bytes)
        return ref

    def _commit(self, write: Callable[[Staging], ObjectRef], *, asks_first: bool = False, is_synced: bool) -> ObjectRef:
        for _ in range(_TRIES):
            staging = self.storage.stage()
            try:
                ref = self._spared(write(staging))
                if asks_first and self._is_there(ref, is_synced=is_synced):
                    return ref
                if staging.commit(ref.path, subsecond_ns=seal_ns(ref.digest), is_synced=False):
                    # Named first and flushed then, a file and its name cost one commit of the filesystem's journal.
                    if is_synced and self.storage.capabilities.durable:
                        with contextlib.suppress(NotFoundError):  # collected already: whoever refers to it finds out
                            _flush(self.storage, ref)
                    else:
                        self._flush_later(ref)
                    return ref
                if self._is_there(ref, is_synced=is_synced):
                    return ref
            finally:
                staging.discard()
        raise IntegrityError(
            f"{ref.path} in {self.storage.url} is damaged and could not be put aside; remove it by hand",
            path=ref.path,
            url=self.storage.url,
        )

    def _spared(self, ref: ObjectRef) -> ObjectRef:
        """The first of hash, hash.1, hash.2, ... that is not doomed: writers of the same bytes agree on it."""
        if self._is_doomed is None:
            return ref
        generation = 0
        while self._is_doomed(ref.name):
            generation += 1
            ref = ObjectRef(f"{ref.digest}.{generation}", ref.size_bytes)
        return ref

    def _is_there(self, ref: ObjectRef, *, is_synced: bool) -> bool:
        if not is_there_and_right(self.storage, ref, self.verify):
            return False
        try:
            if is_synced:
                _flush(self.storage, ref)
        except NotFoundError:  # collected meanwhile
            return False
        return True

    def _flush_later(self, ref: ObjectRef) -> None:
        full = self.storage.local_path(ref.path) if self._is_local else None
        if full is not None:
            settle_later(full, ref.digest, flush=self.storage.capabilities.durable)


def settle_object(storage: Storage, ref: ObjectRef, verify: Verify = "sealed") -> None:
    """Check an object that rests in a file, and flush it if it has not been; others are as durable as they get."""
    if storage.capabilities.local_paths:
        full = FileReader(storage, ref, verify).path()
        if full is not None and storage.capabilities.durable:
            settle(full, ref.digest)


def is_settled(storage: Storage, ref: ObjectRef) -> bool:
    """Does one look at the file show that `settle_object` has nothing to do?"""
    can = storage.capabilities
    full = storage.local_path(ref.path) if can.local_paths and can.durable else None
    return full is not None and is_known(full, ref.digest, ref.size_bytes)


def _flush(storage: Storage, ref: ObjectRef) -> None:
    can = storage.capabilities
    full = storage.local_path(ref.path) if can.local_paths and can.durable else None
    if full is not None:
        settle(full, ref.digest)


def _write_known(staging: Staging, data: bytes, ref: ObjectRef) -> ObjectRef:
    staging.write(data)
    return ref


def _write_hashing(staging: Staging, chunks: Iterator[Buffer]) -> ObjectRef:
    hasher, size = blake3(), 0
    for chunk in chunks:
        hasher.update(chunk)
        staging.write(chunk)
        size += _size_of(chunk)
    return ObjectRef(hasher.hexdigest(), size)


def _write_hashing_beside(staging: Staging, chunks: Iterator[Buffer]) -> ObjectRef:
    """The same, hashing each slab in a second thread while it is written. No slab is kept: its memory may be reused."""
    from concurrent.futures import ThreadPoolExecutor

    hasher, size = blake3(), 0
    with ThreadPoolExecutor(1, thread_name_prefix="mlflowish-hash") as pool:
        for chunk in chunks:
            length = _size_of(chunk)
            if length < _SLAB_WORTH_A_THREAD_BYTES:
                hasher.update(chunk)
                staging.write(chunk)
            else:
                hashed = pool.submit(hasher.update, chunk)
                try:
                    staging.write(chunk)
                finally:
                    hashed.result()
            size += length
    return ObjectRef(hasher.hexdigest(), size)


def _size_of(chunk: Buffer) -> int:
    return chunk.nbytes if isinstance(chunk, memoryview) else len(chunk)
