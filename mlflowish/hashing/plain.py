"""The fast path: digests of scalars, and of lists, tuples and dicts that hold nothing but plain data.

`marshal` writes them in C, but it also takes any object with a buffer and any subclass for the plain type, so every
type is checked to be *exactly* a builtin one first. Whether a value takes this path depends on nothing but the value:
never on its identity, sharing or history. Otherwise one value would have two digests.
"""

from __future__ import annotations

import marshal
from collections.abc import Iterable
from itertools import chain
from operator import ne
from typing import Any

from mlflowish.hashing.writer import MARSHAL_VERSION, PLAIN, bulk, digest_of, digest_of_pieces, head

SCALARS = frozenset({type(None), bool, int, float, complex, str, bytes})
CONTAINERS = frozenset({list, tuple, dict})
_PLAIN_TYPES = SCALARS | CONTAINERS
_TEXTS = frozenset({str, bytes})
_INEXACT = frozenset({float, complex})

# Longer text is hashed apart, where copies of it cost nothing.
LONG_TEXT = 1 << 20
LONG_MEMBER = 1 << 16
# A nested value outside these bounds is digested node by node: with shared members it can be exponentially larger
# than it looks.
MAX_DEPTH = 8
MAX_CONTAINERS = 1 << 18
MAX_MEMBERS = 1 << 24
_CHUNK = 1 << 20

_NAN = float("nan")


def plain_digest(value: Any) -> bytes | None:
    """The digest of plain data, or None where the value needs to be taken apart."""
    kind = type(value)
    try:
        if kind in SCALARS:
            return _scalar_digest(value, kind)
        if kind is list or kind is tuple:
            return _sequence_digest(value)
        if kind is dict and _is_plain_dict(value):
            return digest_of(PLAIN + marshal.dumps(value, MARSHAL_VERSION))
    except TypeError:  # a class that cannot be hashed, because its metaclass defines `__eq__`: no plain type
        return None
    return None


def _scalar_digest(value: Any, kind: type) -> bytes:
    if kind in _INEXACT:
        if value != value:
            value = canonical_nan(value)
    elif kind in _TEXTS and len(value) > LONG_TEXT:
        return long_text_digest(value)
    return digest_of(PLAIN + marshal.dumps(value, MARSHAL_VERSION))


def canonical_nan(value: Any) -> Any:
    """The same number with every NaN in it made the one NaN: sign and payload say nothing."""
    if type(value) is complex:
        real = value.real if value.real == value.real else _NAN
        imag = value.imag if value.imag == value.imag else _NAN
        return complex(real, imag)
    return _NAN


def long_text_digest(value: str | bytes) -> bytes:
    """The digest of long text or bytes, without a second copy in memory."""
    if isinstance(value, bytes):
        return bytes(bulk(head("bytes", len(value)), (value,), size_bytes=len(value)))
    pieces = (value[start : start + _CHUNK].encode("utf-8", "surrogatepass") for start in range(0, len(value), _CHUNK))
    return bytes(bulk(head("str", len(value)), pieces, size_bytes=0))


def _sequence_digest(value: Any) -> bytes | None:
    kinds = set(map(type, value))
    if kinds <= SCALARS:
        if _has_long_text(value, kinds):
            return None
        if has_nan(value, kinds):
            value = type(value)(v if v == v else canonical_nan(v) for v in value)
        return _flat_digest(value)
    if kinds <= _PLAIN_TYPES and _is_plain_below(value):
        return digest_of(PLAIN + marshal.dumps(value, MARSHAL_VERSION))
    return None


def _flat_digest(value: Any) -> bytes:
    if len(value) <= _CHUNK:
        return digest_of(PLAIN + marshal.dumps(value, MARSHAL_VERSION))
    # The same bytes piecewise: type code and 4-byte length, then the members one after the other.
    code = marshal.dumps(value[:0], MARSHAL_VERSION)[:1]
    start = PLAIN + code + len(value).to_bytes(4, "little")
    chunks = (value[place : place + _CHUNK] for place in range(0, len(value), _CHUNK))
    return digest_of_pieces(start, (marshal.dumps(chunk, MARSHAL_VERSION)[5:] for chunk in chunks))


def _is_plain_dict(value: dict[Any, Any]) -> bool:
    kinds = set(map(type, value))
    kinds.update(map(type, value.values()))
    if kinds <= SCALARS:
        members = chain(value, value.values()) if kinds & _TEXTS or kinds & _INEXACT else ()
        return not _needs_care(members, kinds)
    return kinds <= _PLAIN_TYPES and _is_plain_below(value)


def _is_plain_below(value: Any) -> bool:
    """Whether a nested container is plain all the way down, level by level and within the bounds."""
    level = [value]
    containers = members = 0
    for _ in range(MAX_DEPTH):
        containers += len(level)
        members += sum(map(len, level))
        if containers > MAX_CONTAINERS or members > MAX_MEMBERS:
            return False
        below = list(chain.from_iterable(_members(container) for container in level))
        kinds = set(map(type, below))
        if not kinds <= _PLAIN_TYPES or _needs_care(below, kinds):
            return False
        if kinds <= SCALARS:
            return True
        level = [member for member in below if type(member) in CONTAINERS]
    return False


def _members(container: Any) -> Iterable[Any]:
    if type(container) is dict:
        return chain(container, container.values())
    members: Iterable[Any] = container
    return members


def _needs_care(members: Iterable[Any], kinds: set[type]) -> bool:
    if not (kinds & _TEXTS or kinds & _INEXACT):
        return False
    members = list(members)
    return _has_long_text(members, kinds) or has_nan(members, kinds)


def _has_long_text(members: Any, kinds: set[type]) -> bool:
    if not kinds & _TEXTS or not members:
        return False
    if kinds <= _TEXTS:
        return max(map(len, members)) > LONG_MEMBER
    return any(len(member) > LONG_MEMBER for member in members if type(member) in _TEXTS)


def has_nan(members: Any, kinds: set[type]) -> bool:
    """Is one of these scalars, which are of these types, a NaN?"""
    if not kinds & _INEXACT:
        return False
    if len(kinds) == 1 and float in kinds:
        total = sum(members)
        if total == total:
            return False  # a NaN would have made the sum one
    numbers = members if kinds <= _INEXACT else [member for member in members if type(member) in _INEXACT]
    return any(map(ne, numbers, numbers))
