"""The seam between a value and bytes. Pure: no files, no store; whoever calls decides where parts rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Buffer = bytes | bytearray | memoryview

INLINE_LIMIT = 65536
"""Leaves of more bytes than this become parts, so that an entry stays one small record."""


@dataclass(frozen=True, slots=True)
class Part:
    """The bytes of one large leaf on their way to an object of their own.

    `chunks()` gives them in slabs of at most a few MiB, straight from the value's memory, as often as it is called;
    `suffix` names the open format (`.npy`, `.arrow`) for people.
    """

    chunks: Callable[[], Iterator[Buffer]]
    size_bytes: int
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A value as bytes: `head` rests in the entry, each part in an object. `executes_code`: loading it can run stored
    code (pickle).

    Parts look into the value's memory: write them before the value is handed to somebody who may change it.
    """

    codec: str
    head: bytes
    parts: tuple[Part, ...] = ()
    executes_code: bool = False


class PartReader(Protocol):
    """One stored part, as `decode` gets it."""

    @property
    def size_bytes(self) -> int: ...

    def buffer(self) -> memoryview:
        """The bytes, writable and private to the caller (a copy-on-write map where there is a file); costs no copy of
        large parts."""

    def chunks(self) -> Iterator[bytes]:
        """The bytes in slabs, for values that rest in files."""


class Codec(Protocol):
    """One way of turning values of some types into bytes and back. Law: `digest(decode(encode(x))) == digest(x)`.

    `encode` raises `Declined` for a value of its types that it cannot keep exactly; the next codec is then asked.
    `decode` gives a new,
    private value each time.
    """

    name: str
    executes_code: bool

    def encode(self, value: Any, *, inline_limit: int) -> Encoded:
        """Bytes of `value`; leaves of more than `inline_limit` bytes as parts. UncacheableError with `.path` if it
        cannot be stored."""

    def decode(self, head: bytes, parts: Sequence[PartReader], *, allow_pickle: bool) -> Any:
        """The value, equal in digest to what was encoded.

        IntegrityError if the bytes make no sense; CapabilityError if they may, but not in this process (a class
        that is gone, a library that is not installed, pickle that the policy refuses). To a cache both are a miss.
        """


class Declined(Exception):
    """A codec's answer to a value that it would not give back exactly as it was."""
