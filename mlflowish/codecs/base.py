"""The seam between a value and bytes. Pure: no files, no store; whoever calls decides where parts rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Buffer = bytes | bytearray | memoryview


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
    """A value as bytes: `head` rests in the entry, each part in an object. `executes_code`: loading it can run stored code (pickle)."""

    codec: str
    head: bytes
    parts: tuple[Part, ...] = ()
    executes_code: bool = False


class PartReader(Protocol):
    """One stored part, as `decode` gets it."""

    @property
    def size_bytes(self) -> int: ...

    def buffer(self) -> memoryview:
        """The bytes, writable and private to the caller (a copy-on-write map where there is a file); costs no copy of large parts."""

    def chunks(self) -> Iterator[bytes]:
        """The bytes in slabs, for values that rest in files."""


class Codec(Protocol):
    """One way of turning values of some types into bytes and back. Law: `digest(decode(encode(x))) == digest(x)`."""

    name: str
    executes_code: bool

    def encode(self, value: Any, *, inline_limit: int) -> Encoded:
        """Bytes of `value`; leaves of more than `inline_limit` bytes as parts. UncacheableError with `.path` if it cannot be stored."""

    def decode(self, head: bytes, parts: Sequence[PartReader], *, allow_pickle: bool) -> Any:
        """The value, equal in digest to what was encoded. IntegrityError if the bytes make no sense."""
