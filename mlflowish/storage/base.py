"""The seam between this library and bytes at rest: what a backend must do, and no more.

A backend is a flat map from relative paths to immutable or atomically replaced whole objects. Every implementation
passes `mlflowish.testing.storage_suite`. Behaviour (cache, faults) is added by wrapping, never by inheriting.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a backend can do: data, so that callers ask instead of testing types.

    `put_if_absent`: exactly one of many racing writers wins. `append`: `open_append` works, and other processes see
    what was appended at once. `local_paths`: `local_path` gives a real path that can be memory-mapped. `shared`:
    other processes see the same bytes. `durable`: what is acknowledged survives power loss (by policy).
    `multi_writer`: safe with many writers; a backend without it is demoted to one stated writer.
    """

    put_if_absent: bool = True
    append: bool = False
    local_paths: bool = False
    shared: bool = True
    durable: bool = True
    multi_writer: bool = True


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One listed object: `path` relative to the root, `size_bytes`, `modified_s` (seconds since 1970; nan if
    unknown).
    """

    path: str
    size_bytes: int
    modified_s: float


class Staging(Protocol):
    """Bytes on their way in: written in pieces, invisible until `commit`."""

    def write(self, data: Buffer) -> None:
        """Append `data`."""

    def commit(self, path: str, *, subsecond_ns: int | None = None, is_synced: bool = True) -> bool:
        """Make everything written so far visible at `path`, whole and durable; False if something was there already
        (kept as it was). Ends the staging, whatever the answer.

        `subsecond_ns`: the seal (`storage/seals.py`) that a storage of files gives the file if it flushes it. Without
        `is_synced` such a storage leaves the flush to the caller (`storage/settling.py`), unless its policy is to flush
        everything. Other storages ignore both.
        """

    def discard(self) -> None:
        """Forget what was written; harmless after `commit`."""


class Appender(Protocol):
    """A file that one writer extends (`Capabilities.append`): what `write` returned from survives the process."""

    path: str

    def write(self, data: bytes) -> int:
        """Append `data` whole and return the offset at which it begins.

        StorageError if it could not: nothing is acknowledged then.
        """

    def add(self, data: bytes) -> None:
        """`write`, for whoever need not know where it begins: half the cost, for records of a few bytes."""

    def sync(self) -> None:
        """Make what was written survive power loss."""

    def close(self) -> None:
        """End the claim on the file."""


@runtime_checkable
class Storage(Protocol):
    """A location of objects. Thread-safe, fork-safe, picklable.

    All errors are `StorageError` or its kin; a path that is absent raises `NotFoundError`.
    """

    @property
    def url(self) -> str:
        """Where it is, without secrets: for messages and displays."""

    @property
    def capabilities(self) -> Capabilities:
        """What this backend can do."""

    def get(self, path: str, start: int = 0, end: int | None = None) -> bytes:
        """The bytes [start, end) of the object, end clipped to its size."""

    def put_if_absent(self, path: str, data: Buffer) -> bool:
        """Create the object whole, unless it exists. True for the one winner, also when the answer to it was lost."""

    def put(self, path: str, data: Buffer) -> None:
        """Create or atomically replace the object. Writers do not agree through this: it is for advisory files, and for
        what is damaged, if all who replace it write the same bytes.
        """

    def stage(self) -> Staging:
        """Begin a large object whose name is known only at its end."""

    def size(self, path: str) -> int:
        """Size in bytes of an object that is there, without a listing."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Objects in the folder `prefix` ('' for all) and below, in no order. May be stale."""

    def delete(self, path: str) -> None:
        """Remove the object; no error if it is absent."""

    def local_path(self, path: str) -> str | None:
        """A real file that holds the object (`Capabilities.local_paths`), else None. Does not say that it exists."""

    def open_append(self, path: str) -> Appender:
        """Create a new file to append to, claimed by this process until closed or dead.

        CapabilityError without `Capabilities.append`.
        """

    def is_claimed(self, path: str) -> bool:
        """Does a living writer hold this appended file? False for one that is absent; when in doubt, True."""
