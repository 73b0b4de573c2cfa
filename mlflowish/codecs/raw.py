"""Codec `bytes`: large strings of bytes or text, whose part is nothing but themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mlflowish.codecs.base import Declined, Encoded, Part, PartReader
from mlflowish.codecs.refusals import damaged, sense_made
from mlflowish.codecs.slabs import buffers_part

_PIECE = 1 << 20
_KINDS: dict[bytes, type] = {b"bytes": bytes, b"bytearray": bytearray, b"str": str}


class BytesCodec:
    """The head names the type; text rests as UTF-8 (lone surrogates as three bytes each)."""

    name = "bytes"
    executes_code = False

    def encode(self, value: Any, *, inline_limit: int) -> Encoded:
        if type(value) not in (bytes, bytearray, str):
            raise Declined(type(value).__name__)
        part = _text_part(value) if isinstance(value, str) else buffers_part([value], ".bin")
        return Encoded(self.name, type(value).__name__.encode(), (part,))

    def decode(self, head: bytes, parts: Sequence[PartReader], *, allow_pickle: bool) -> Any:
        kind = _KINDS.get(bytes(head))
        if kind is None or len(parts) != 1:
            raise damaged(self.name, f"a head {bytes(head[:20])!r} with {len(parts)} parts")
        with sense_made(self.name):
            return str(parts[0].buffer(), "utf-8", "surrogatepass") if kind is str else kind(parts[0].buffer())


def _text_part(text: str) -> Part:
    def chunks() -> Iterator[bytes]:
        for start in range(0, len(text), _PIECE):
            yield text[start : start + _PIECE].encode("utf-8", "surrogatepass")

    return Part(chunks, len(text) if text.isascii() else sum(map(len, chunks())), ".txt")
