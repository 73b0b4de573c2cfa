"""How the bytes of large leaves leave memory: in slabs, without a copy of what is contiguous."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from mlflowish.codecs.base import Buffer, Part

SLAB_BYTES = 4 << 20
"""Large enough that a write call costs nothing beside its bytes, small enough to stay in cache while it is hashed."""


def slabs(buffer: Buffer) -> Iterator[memoryview]:
    """Views of `buffer`, which is contiguous, of at most `SLAB_BYTES` each."""
    view = memoryview(buffer)
    flat = view if view.format == "B" and view.ndim == 1 else view.cast("B")
    for start in range(0, flat.nbytes, SLAB_BYTES):
        yield flat[start : start + SLAB_BYTES]


def buffers_part(buffers: Sequence[Buffer], suffix: str = "") -> Part:
    """A part made of buffers that lie apart in memory, in their order."""

    def chunks() -> Iterator[memoryview]:
        for buffer in buffers:
            yield from slabs(buffer)

    return Part(chunks, sum(memoryview(buffer).nbytes for buffer in buffers), suffix)


def gathered(chunks: Iterable[Buffer]) -> bytes:
    """The chunks of a small leaf as one string."""
    return b"".join(chunks)
