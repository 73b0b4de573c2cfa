"""The pickler of codec `pickle`.

Cloudpickle's, with leaves and large buffers taken out, and with what pickles to something else refused.
"""

from __future__ import annotations

import io
import pickle
import sys
from dataclasses import dataclass
from typing import Any

import cloudpickle

from mlflowish.codecs.base import INLINE_LIMIT, Part
from mlflowish.codecs.pickled import main_class
from mlflowish.codecs.signatures import class_signature
from mlflowish.codecs.slabs import buffers_part
from mlflowish.codecs.streams import Sink
from mlflowish.codecs.tree import LeafWriter

_MAIN = ("__main__", "__mp_main__")
_CLASS_BYTES = 1 << 20
_STORABLE_STREAMS = (io.BytesIO, io.StringIO)


@dataclass(frozen=True, slots=True)
class Dumped:
    """A pickle, its parts, which of them are out-of-band buffers in their order, and whether code is in it by value."""

    sink: Sink
    parts: tuple[Part, ...]
    buffers: tuple[int, ...]
    holds_code: bool


def dump_objects(value: Any, inline_limit: int) -> Dumped:
    """Pickle `value`. Raises whatever pickling its members raises."""
    leaves = LeafWriter(inline_limit)
    sink = Sink()
    pickler = _Pickler(sink, leaves, inline_limit)
    pickler.dump(value)
    holds_code = any(b"cloudpickle" in piece for piece in sink)
    return Dumped(sink, tuple(leaves.parts), tuple(pickler.buffers), holds_code)


def try_dump(value: Any, sink: Any) -> None:
    """Pickle `value` into `sink`, which may forget it: does it work?"""
    _Pickler(sink, LeafWriter(INLINE_LIMIT), INLINE_LIMIT).dump(value)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no annotations
    def __init__(self, sink: Any, leaves: LeafWriter, inline_limit: int) -> None:
        super().__init__(sink, protocol=5, buffer_callback=self._place_buffer)
        self.buffers: list[int] = []
        self._leaves = leaves
        self._inline_limit = inline_limit

    def persistent_id(self, member: Any) -> Any:
        codec = self._leaves.codec_of(member)
        if codec is None or (codec.name == "numpy" and member.nbytes <= self._inline_limit):
            # Small arrays cost less inside the pickle than a header of their own.
            return None
        return self._leaves.refer(member)

    def reducer_override(self, member: Any) -> Any:
        if (kind := type(member)).__module__ == "_io" and kind not in _STORABLE_STREAMS:
            raise pickle.PicklingError(f"cannot pickle an open file ({kind.__qualname__})")
        if kind is memoryview:
            raise pickle.PicklingError("cannot pickle a memoryview")
        if isinstance(member, type) and (reduced := reduced_main_class(member)) is not None:
            return reduced
        return super().reducer_override(member)

    def _place_buffer(self, buffer: pickle.PickleBuffer) -> bool:
        view = buffer.raw()
        if view.nbytes <= self._inline_limit:
            return True
        self.buffers.append(len(self._leaves.parts))
        self._leaves.parts.append(buffers_part([view], ".bin"))
        return False


def reduced_main_class(kind: type) -> tuple[Any, ...] | None:
    """How a class of the script or notebook is pickled: by its name there, with the class itself for those who have
    another script. None for any other class."""
    if not _is_of_main(kind):
        return None
    return main_class, (kind.__qualname__, class_signature(kind), _by_value(kind))


def _is_of_main(kind: type) -> bool:
    """Does its name lead to it in the script or notebook that it is of?

    On a worker, where the script is not, it is believed.
    """
    if kind.__module__ not in _MAIN or "<locals>" in kind.__qualname__:
        return False
    found: Any = sys.modules.get("__main__")
    for step in kind.__qualname__.split("."):
        found = getattr(found, step, None)
    return found is kind or found is None


def _by_value(kind: type) -> bytes | None:
    """The class itself, for processes whose `__main__` is another.

    None if its methods use what is large or cannot be pickled.
    """
    sink = _SmallSink()
    try:
        cloudpickle.Pickler(sink, protocol=5).dump(kind)
    except Exception:  # noqa: BLE001  whatever its methods refer to may refuse in its own way
        return None
    return sink.joined()


class _SmallSink(Sink):
    """Gives up on a class that drags the data of its script along."""

    __slots__ = ()

    def write(self, piece: Any) -> None:
        self.append(piece)
        if self.size_bytes > _CLASS_BYTES:
            raise OverflowError("too much code")
