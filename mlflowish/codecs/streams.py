"""Structure as a stream: pickle's opcodes for builtin values and the closed table of `constructors`, nothing else.

Written by the pickler in C, with a call into Python only for what has no opcode of its own; read by the unpickler
in C with `find_class` replaced, so that no stream, hostile ones included, can call anything outside the table.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any

from mlflowish.codecs.base import Buffer
from mlflowish.codecs.constructors import GLOBALS, NotPlain, reduce_plain
from mlflowish.codecs.refusals import as_damage, damaged, sense_made

_PROTOCOL = b"\x80\x05"
_FRAME = 0x95


class Sink(list[Buffer]):
    """The pieces of a stream in order. Strings of 64 KiB and more are themselves in it, not copies."""

    __slots__ = ()
    write = list.append

    @property
    def size_bytes(self) -> int:
        return sum(map(len, self))

    def joined(self) -> bytes:
        """The stream as one string."""
        piece = self[0]
        return piece if len(self) == 1 and type(piece) is bytes else b"".join(self)

    def holds_larger_than(self, limit: int) -> bool:
        """Is there a string of more than `limit` bytes in it?"""
        return any(len(piece) > limit and not _is_frame(piece) for piece in self)


def _is_frame(piece: Buffer) -> bool:
    # The first one follows the two bytes that name the protocol.
    start = 2 if piece[:2] == _PROTOCOL else 0
    return piece[start] == _FRAME and int.from_bytes(piece[start + 1 : start + 9], "little") == len(piece) - start - 9


def _refuse_buffer(buffer: Any) -> Any:
    raise NotPlain("a PickleBuffer")


class _PlainPickler(pickle.Pickler):
    reducer_override = staticmethod(reduce_plain)


class _TreePickler(_PlainPickler):
    """Leaves go out of the stream by their reference."""

    def __init__(self, sink: Sink, refer: Callable[[Any], Any]) -> None:
        super().__init__(sink, 5, buffer_callback=_refuse_buffer)
        self.persistent_id = refer  # type: ignore[method-assign]


def dump(value: Any) -> Sink:
    """The stream of `value`; NotPlain if there is anything in it that the table does not know."""
    sink = Sink()
    _PlainPickler(sink, 5, buffer_callback=_refuse_buffer).dump(value)
    return sink


def dump_tree(value: Any, refer: Callable[[Any], Any]) -> Sink:
    """The same, with `refer(member)` asked for each member.

    What it returns, unless None, stands in the stream for it.
    """
    sink = Sink()
    _TreePickler(sink, refer).dump(value)
    return sink


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str, /) -> Any:
        try:
            return GLOBALS[module, name]
        except KeyError:
            raise damaged("plain", f"it names {module}.{name}, which a plain value never does") from None


class _TreeUnpickler(_Unpickler):
    def __init__(self, stream: io.BytesIO, resolve: Callable[[Any], Any]) -> None:
        super().__init__(stream)
        self.persistent_load = resolve  # type: ignore[method-assign]


def load(data: Buffer, *, codec: str = "plain") -> Any:
    """The value of a stream that `dump` wrote; IntegrityError for anything else."""
    stream = io.BytesIO(data)
    try:
        value = _Unpickler(stream).load()
    except Exception as error:
        raise as_damage(codec, error) from error
    return value if not stream.read(1) else _trailing(codec)


def load_tree(data: Buffer, resolve: Callable[[Any], Any], *, codec: str = "tree") -> Any:
    """The value of a stream that `dump_tree` wrote, `resolve` giving the member for each reference."""
    stream = io.BytesIO(data)
    with sense_made(codec):
        value = _TreeUnpickler(stream, resolve).load()
    return value if not stream.read(1) else _trailing(codec)


def _trailing(codec: str) -> Any:
    raise damaged(codec, "there are bytes after the end of the value")
