"""Values to bytes and back. Pure: where the bytes rest is for the rooms above."""

from mlflowish.codecs.base import Buffer, Codec, Declined, Encoded, Part, PartReader
from mlflowish.codecs.coding import decode, encode
from mlflowish.codecs.describe import describe
from mlflowish.codecs.draining import drain, drain_async
from mlflowish.codecs.items import Items
from mlflowish.codecs.registry import known, register
from mlflowish.codecs.replay import Replay

__all__ = [
    "Buffer",
    "Codec",
    "Declined",
    "Encoded",
    "Items",
    "Part",
    "PartReader",
    "Replay",
    "decode",
    "describe",
    "drain",
    "drain_async",
    "encode",
    "known",
    "register",
]
