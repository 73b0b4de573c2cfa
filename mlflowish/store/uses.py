"""Who used what: records of the `calls` journal under the names of what was used, so that the way from a result or a
file to what was made of it is a look-up, whatever the number of calls.

They are appended before the entry that they speak of, to the same file: whoever sees the entry sees them. One that
leads to no entry, or to one that says otherwise, means nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from blake3 import blake3

from mlflowish.store.entries import ENTRY, USE, Meta

if TYPE_CHECKING:
    from mlflowish.journals import Journals

SOURCE, CHILD, ARGUMENT, OUTPUT = b"s", b"c", b"a", b"o"
_KEY = 16
# Beginnings of descriptions that tell a whole value: numbers, texts, True, False, None.
_SCALAR = (*"-0123456789'\"", "b'", 'b"', "True", "False", "None", "nan", "inf", "(hidden)")
_START = bytes(blake3(b"mlf1.uses").digest(length=_KEY))
_COMPLETE = USE + bytes(8) + b"*"


_MASKS = {
    role: int.from_bytes(blake3(b"mlf1.use\0" + role).digest(length=_KEY)) for role in (SOURCE, CHILD, ARGUMENT, OUTPUT)
}


def use_key(role: bytes, name: bytes) -> bytes:
    """The key of the records about what has this key or digest (16 bytes), in a role."""
    # Keys and digests are random already: hashing them again would cost more than the record.
    return (int.from_bytes(name) ^ _MASKS[role]).to_bytes(_KEY)


def pack_use(call: bytes, tag: bytes) -> bytes:
    """The payload that says that a call, of a step with this tag, used it (in the role that its key has)."""
    return USE + tag + call


def uses_of(meta: Meta) -> Iterator[tuple[bytes, bytes]]:
    """(role, key or digest) of what a call used and gave; numbers and texts join nothing."""
    made = set()
    for key in dict.fromkeys(key for _, _, key in meta.sources):
        yield SOURCE, bytes.fromhex(key)
    for name, place, _ in meta.sources:
        if not place:
            made.add(name)
    for child in dict.fromkeys(meta.children):
        yield CHILD, bytes.fromhex(child)
    if not (len(meta.inputs) == 1 and meta.inputs[0][:1] == b"S"):  # all of them are scalars
        for name, digest, text in meta.arguments:
            if name not in made and not text.startswith(_SCALAR):
                yield ARGUMENT, bytes.fromhex(digest)
    if meta.output is not None and not meta.output_description.startswith(_SCALAR):
        yield OUTPUT, bytes.fromhex(meta.output)


def mark(journals: Journals) -> None:
    """Before the first entry of a store: from here on all uses are recorded. Of a store that has entries without, the
    calls have to be read to know them."""
    if not journals.get(_START) and not any(payload[:1] == ENTRY for _, payload in journals.scan()):
        journals.append(_START, _COMPLETE)


def are_recorded(journals: Journals) -> bool:
    """Are the uses of all calls recorded?"""
    return bool(journals.get(_START))


def users(journals: Journals, role: bytes, name: str) -> list[str]:
    """The keys of the calls that used what has this key or digest, in a role; 32 hex digits each."""
    payloads = journals.get(use_key(role, bytes.fromhex(name)))
    return [payload[9:].hex() for payload in payloads if payload[:1] == USE and len(payload) == 9 + _KEY]
