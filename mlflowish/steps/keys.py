"""The key of a call: 16 bytes of BLAKE3 over the code fingerprint, the arguments and the declared extras.

Everything in the pre-image is tagged and of stated length. Plain scalars go in as one `marshal` (version 2) of
their tuple, after a check of their exact types; anything else as its value digest. Which of the two is a function
of the values alone, so equal calls have equal keys.
"""

from __future__ import annotations

import marshal
from collections.abc import Sequence
from typing import Any

from blake3 import blake3

from mlflowish.hashing import digest
from mlflowish.hashing.digests import digest_call

_SCALARS = frozenset({int, float, str, bytes, bool, type(None)})


def arguments_token(names: Sequence[str], values: Sequence[Any]) -> bytes:
    """What the arguments add to the key. UncacheableError with the culprit's path if a value has no identity."""
    # NaN has many bit patterns and is one value: the one scalar that is not equal to itself goes the other way.
    if _SCALARS.issuperset(map(type, values)) and all(value == value for value in values):
        return b"S" + marshal.dumps(tuple(values), 2)
    return b"D" + b"".join(digest_call(names, values))


def argument_digests(names: Sequence[str], values: Sequence[Any], token: bytes) -> list[tuple[str, bytes]]:
    """(name, value digest) of every argument, as entries record them; taken from the token where it holds them
    already."""
    if token[:1] == b"D":
        return [(name, token[1 + 16 * i : 17 + 16 * i]) for i, name in enumerate(names)]
    return list(zip(names, digest_call(names, values), strict=True))


def call_key(fingerprint: bytes, names: bytes, arguments: bytes, extras: bytes) -> bytes:
    """The key. `names` and `extras` are constant for a step; `fingerprint` is 16 bytes."""
    sizes = len(names).to_bytes(4, "little") + len(extras).to_bytes(4, "little")
    return bytes(blake3(b"mlf1.key" + fingerprint + sizes + names + extras + arguments).digest(length=16))


def names_token(names: Sequence[str]) -> bytes:
    """The parameter names that count, each with its length."""
    return b"".join(len(raw).to_bytes(4, "little") + raw for raw in (name.encode() for name in names))


def extras_token(extras: Sequence[tuple[str, Any]]) -> bytes:
    """The declared extras (version, environment, seed), each with its name and its value's digest."""
    return b"".join(names_token([name]) + digest(value, path=name) for name, value in extras)
