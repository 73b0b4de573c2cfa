"""How codecs of units store what they hold: a plain value, as other codecs store it.

The head is a plain stream of the codec and head of that; the parts are its parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlflowish.codecs import decode, encode
from mlflowish.codecs.base import Encoded, PartReader
from mlflowish.codecs.refusals import damaged
from mlflowish.codecs.streams import dump, load


def encoded(name: str, value: Any, *, inline_limit: int) -> Encoded:
    """The value, as the codec of that name stores it."""
    inner = encode(value, inline_limit=inline_limit)
    return Encoded(name, dump((inner.codec, inner.head)).joined(), inner.parts, inner.executes_code)


def decoded(name: str, head: bytes, parts: Sequence[PartReader], *, allow_pickle: bool) -> Any:
    """The value; IntegrityError if that is not what the head holds."""
    match load(head, codec=name):
        case (str() as codec, bytes() as inner):
            return decode(codec, inner, parts, allow_pickle=allow_pickle)
    raise damaged(name, "its head is of another form")
