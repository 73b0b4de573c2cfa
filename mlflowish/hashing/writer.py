"""Canonical bytes into BLAKE3: the records that every value digest is made of.

Each pre-image starts with a record tag, so that records of different kinds never meet:

    mlf1p  plain builtin data: the bytes that `marshal` version 2 defines for it, which are typed, prefix-free and blind
           to interning and sharing (the version is pinned: later ones write references)
    mlf1b  bulk bytes (buffers, long text): a head, then raw bytes whose meaning and length follow from the head
    mlf1n  a node: a head, then the 16-byte digests of its children (sorted, where they have no order)
    mlf1c  a member of a cycle: see `cycles.py`

A head is the plain encoding of a tuple of exact builtin scalars, hence prefix-free: no two nodes share a pre-image
unless they are the same.
"""

from __future__ import annotations

import marshal
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from blake3 import blake3

from mlflowish.hashing.crew import WORTH_THREADS_BYTES, hashed

DIGEST_BYTES = 16
MARSHAL_VERSION = 2

PLAIN = b"mlf1p"
BULK = b"mlf1b"
NODE = b"mlf1n"
CYCLE = b"mlf1c"

Label: TypeAlias = Callable[[int], str]


class Done(bytes):
    """A finished digest standing where a value could stand: never confused with `bytes` that are data."""

    __slots__ = ()


class Node:
    """A value taken apart: what is its own (`head`), and the values below it, in an order that means something.

    A child is a value, a `Node` without an identity of its own, or a `Done`. `label(i)` is what child `i` adds to the
    path in an error. `unordered` sorts the children by their digests.
    """

    __slots__ = ("children", "head", "label", "unordered")

    def __init__(self, head: bytes, children: Iterable[Any], label: Label, *, unordered: bool = False) -> None:
        self.head = head
        self.children = children
        self.label = label
        self.unordered = unordered

    def close(self, digests: list[bytes]) -> Done:
        """The digest of this node, given those of its children in their order."""
        if self.unordered:
            digests = sorted(digests)
        return Done(digest_of(NODE + self.head + b"".join(digests)))


def digest_of(preimage: bytes) -> bytes:
    """BLAKE3-128 of one complete pre-image."""
    digest: bytes = blake3(preimage).digest(DIGEST_BYTES)
    return digest


def digest_of_pieces(start: bytes, pieces: Iterable[bytes]) -> bytes:
    """BLAKE3-128 of a pre-image that comes in pieces."""
    hasher = blake3(start)
    for piece in pieces:
        hasher.update(piece)
    digest: bytes = hasher.digest(DIGEST_BYTES)
    return digest


def head(tag: str, *fields: Any) -> bytes:
    """The head of a record; `fields` are exact builtin scalars, or tuples of them."""
    return marshal.dumps((tag, *fields), MARSHAL_VERSION)


def leaf(tag: str, *fields: Any) -> Done:
    """The digest of a value that its head says completely."""
    return Done(digest_of(NODE + head(tag, *fields)))


def bulk(record_head: bytes, buffers: Iterable[Any], *, size_bytes: int) -> Done:
    """The digest of a head followed by the concatenation of byte buffers, about `size_bytes` in all."""
    start = BULK + record_head
    if size_bytes >= WORTH_THREADS_BYTES:
        return Done(hashed(start, buffers, length=DIGEST_BYTES))
    hasher = blake3(start)
    for buffer in buffers:
        hasher.update(buffer)
    return Done(hasher.digest(DIGEST_BYTES))


def bracket(index: int) -> str:
    """The path step `[index]`."""
    return f"[{index}]"


def silent(index: int) -> str:
    """No path step: the child is the value itself, seen from the inside."""
    return ""
