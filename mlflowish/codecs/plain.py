"""Codec `plain`.

Builtin values and those of the closed table, as one stream that no reader can be made to execute.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlflowish.codecs.base import Declined, Encoded, Part, PartReader
from mlflowish.codecs.constructors import NotPlain
from mlflowish.codecs.refusals import damaged
from mlflowish.codecs.slabs import buffers_part
from mlflowish.codecs.streams import Sink, dump, load


class PlainCodec:
    """Stores what `streams.dump` takes: in the head, or in one part when it is large."""

    name = "plain"
    executes_code = False

    def encode(self, value: Any, *, inline_limit: int) -> Encoded:
        try:
            sink = dump(value)
        except NotPlain as answer:
            raise Declined(str(answer)) from None
        return plain_encoded(sink, inline_limit)

    def decode(self, head: bytes, parts: Sequence[PartReader], *, allow_pickle: bool) -> Any:
        if head and not parts:
            return load(head)
        return load(stream_of(self.name, head, parts))


def plain_encoded(sink: Sink, inline_limit: int) -> Encoded:
    """A finished stream as the value's encoded form."""
    head, parts = stream_placed(sink, inline_limit)
    return Encoded("plain", head, parts)


def stream_placed(sink: Sink, inline_limit: int) -> tuple[bytes, tuple[Part, ...]]:
    """A stream as head, or, when it is large, as the first part with an empty head."""
    if sink.size_bytes <= inline_limit:
        return sink.joined(), ()
    return b"", (buffers_part(sink, ".pkl"),)


def stream_of(codec: str, head: bytes, parts: Sequence[PartReader]) -> bytes | memoryview:
    """The stream that `stream_placed` placed."""
    if head:
        return head
    if not parts:
        raise damaged(codec, "it has neither a head nor a part")
    return parts[0].buffer()
