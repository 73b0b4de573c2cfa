"""The two calls that everybody makes: a value to bytes by the codec that suits it, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlflowish.codecs.base import INLINE_LIMIT, Declined, Encoded, PartReader
from mlflowish.codecs.constructors import NotPlain
from mlflowish.codecs.plain import plain_encoded
from mlflowish.codecs.refusals import unstorable
from mlflowish.codecs.registry import codec_for, codec_named, known
from mlflowish.codecs.streams import dump
from mlflowish.codecs.tree import decode_with
from mlflowish.errors import InvalidInputError, nearest

_UNIVERSAL = ("plain", "tree", "bytes", "pickle")
"""Codecs that decide by what is in a value; the others take values of the types that are registered for them."""


def encode(value: Any, *, format: str | None = None, inline_limit: int = INLINE_LIMIT) -> Encoded:  # noqa: A002  promised
    """`value` as bytes, by the codec of its exact type, else by the structure of builtin containers, else by pickle.

    Leaves of more than `inline_limit` bytes become parts, which are views of the value's own memory. `format` names
    a codec to use instead of the one that suits: InvalidInputError if there is none of that name, or it cannot
    store this value. UncacheableError, with `.path` such as `result[3].conn`, if nothing can store it.
    """
    try:
        if format is not None:
            return _encode_as(value, format, inline_limit)
        return _encode_leaf(value, inline_limit) or _encode_structure(value, inline_limit)
    except RecursionError as error:
        raise unstorable("result", "it is nested too deeply, or without end") from error


def decode(codec: str, head: bytes, parts: Sequence[PartReader], *, allow_pickle: bool = True) -> Any:
    """The value that `encode` turned into these bytes; a new and private one each time.

    IntegrityError if the bytes are damaged. CapabilityError if this process cannot or may not load them: a codec,
    class or library that is not here, pickle under `allow_pickle=False`. Both mean to a cache that there is no
    result.
    """
    return decode_with(codec, head, parts, allow_pickle=allow_pickle)


def _encode_as(value: Any, name: str, inline_limit: int) -> Encoded:
    if name not in known():
        raise InvalidInputError(
            f"format={name!r}: there is no such codec; there are {', '.join(nearest(name, known(), limit=20))}",
            format=name,
        )
    codec = codec_named(name)
    try:
        if name not in _UNIVERSAL and codec_for(value) is not codec:
            raise Declined("it is for values of other types")
        return codec.encode(value, inline_limit=inline_limit)
    except Declined as answer:
        raise InvalidInputError(
            f"format={name!r} cannot store this {type(value).__qualname__} exactly as it is ({answer}). "
            "Leave format= away, or return what that format stores.",
            format=name,
        ) from None


def _encode_leaf(value: Any, inline_limit: int) -> Encoded | None:
    if type(value) in (bytes, bytearray, str):
        return codec_named("bytes").encode(value, inline_limit=inline_limit) if len(value) > inline_limit else None
    codec = codec_for(value)
    if codec is None:
        return None
    try:
        return codec.encode(value, inline_limit=inline_limit)
    except Declined:
        return None


def _encode_structure(value: Any, inline_limit: int) -> Encoded:
    """First as if all were plain, which costs no call for each member.

    Leaves are looked for only when there can be some.
    """
    try:
        sink = dump(value)
    except NotPlain:
        pass
    else:
        if not sink.holds_larger_than(inline_limit):
            return plain_encoded(sink, inline_limit)
    try:
        return codec_named("tree").encode(value, inline_limit=inline_limit)
    except Declined:
        return codec_named("pickle").encode(value, inline_limit=inline_limit)
