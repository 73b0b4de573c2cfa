"""Codec `tree`: containers with leaves that other codecs store, each large leaf (array, frame, text) a part of its own.

The structure is a stream as in `plain`, in which a reference stands for each leaf: `(number, codec, head, first
part, number of parts)` where it comes first, and the number alone where the same object comes again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlflowish.codecs.base import Codec, Declined, Encoded, Part, PartReader
from mlflowish.codecs.constructors import NotPlain
from mlflowish.codecs.plain import stream_of, stream_placed
from mlflowish.codecs.refusals import damaged, refused_by_policy
from mlflowish.codecs.registry import codec_for, codec_named
from mlflowish.codecs.streams import dump_tree, load_tree

_STRINGS = (bytes, str, bytearray)
_LEAST_STRING = 256
"""References hold strings themselves, which must not become references in their turn."""


class TreeCodec:
    """Stores what `streams.dump` takes once its leaves are taken out."""

    name = "tree"
    executes_code = False

    def encode(self, value: Any, *, inline_limit: int) -> Encoded:
        leaves = LeafWriter(inline_limit)
        try:
            sink = dump_tree(value, leaves.refer)
        except NotPlain as answer:
            raise Declined(str(answer)) from None
        head, stream = stream_placed(sink, inline_limit)
        return Encoded(self.name, head, (*stream, *leaves.parts), leaves.executes_code)

    def decode(self, head: bytes, parts: Sequence[PartReader], *, allow_pickle: bool) -> Any:
        leaves = LeafReader(self.name, parts if head else parts[1:], allow_pickle=allow_pickle)
        return load_tree(stream_of(self.name, head, parts), leaves.resolve)


class LeafWriter:
    """Takes leaves out of one value as a pickler meets them."""

    def __init__(self, inline_limit: int) -> None:
        self.parts: list[Part] = []
        self.executes_code = False
        self._inline_limit = inline_limit
        self._numbers: dict[int, int] = {}
        # Leaves that a pickler made on its way must outlive it: numbers go by identity, and parts look into their
        # memory.
        self._kept: list[Any] = []

    def refer(self, member: Any) -> Any:
        """What shall stand in the stream for `member`; None if it stays in."""
        codec = self.codec_of(member)
        if codec is None:
            return None
        number = self._numbers.get(id(member))
        return number if number is not None else self._take(member, codec)

    def codec_of(self, member: Any) -> Codec | None:
        """The codec for `member` as a leaf, None if it is none."""
        if type(member) in _STRINGS:
            return codec_named("bytes") if len(member) > max(self._inline_limit, _LEAST_STRING) else None
        return codec_for(member)

    def _take(self, member: Any, codec: Codec) -> Any:
        try:
            leaf = codec.encode(member, inline_limit=self._inline_limit)
        except Declined:
            return None
        number = self._numbers[id(member)] = len(self._kept)
        self._kept.append(member)
        first = len(self.parts)
        self.parts.extend(leaf.parts)
        self.executes_code |= leaf.executes_code
        return number, leaf.codec, leaf.head, first, len(leaf.parts)


class LeafReader:
    """Puts the leaves back, each once."""

    def __init__(self, codec: str, parts: Sequence[PartReader], *, allow_pickle: bool) -> None:
        self._codec = codec
        self._parts = parts
        self._allow_pickle = allow_pickle
        self._leaves: dict[int, Any] = {}

    def resolve(self, reference: Any) -> Any:
        """The leaf that `reference` stands for."""
        if type(reference) is int:
            if reference not in self._leaves:
                raise damaged(self._codec, f"leaf {reference} is referred to before it comes")
            return self._leaves[reference]
        number, codec, head, first, count = reference
        if type(head) is not bytes or not 0 <= first <= first + count <= len(self._parts):
            raise damaged(self._codec, f"leaf {number} wants parts {first} to {first + count} of {len(self._parts)}")
        leaf = decode_with(codec, head, self._parts[first : first + count], allow_pickle=self._allow_pickle)
        self._leaves[number] = leaf
        return leaf


def decode_with(codec: str, head: bytes, parts: Sequence[PartReader], *, allow_pickle: bool) -> Any:
    """The value that the codec of that name stored.

    CapabilityError if there is no such codec here, or policy forbids it.
    """
    found = codec_named(codec)
    if found.executes_code and not allow_pickle:
        raise refused_by_policy(codec)
    return found.decode(head, parts, allow_pickle=allow_pickle)
