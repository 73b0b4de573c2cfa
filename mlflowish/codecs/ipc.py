"""Arrow's IPC stream format, written by reference to the columns' memory and read as views of the stored bytes.

Specification: https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format. No compression: it costs more
than it saves for numbers, and what is compressed cannot be mapped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mlflowish.codecs.base import Buffer, Part
from mlflowish.codecs.refusals import damaged
from mlflowish.codecs.slabs import slabs

SUFFIX = ".arrows"

Filling = Callable[[], Iterator[Buffer]]


class _Pieces:
    """A file object that keeps what Arrow writes: bodies are the columns' own buffers, not copies."""

    closed = False

    def __init__(self) -> None:
        self.pieces: list[Any] = []
        self.size_bytes = 0

    def write(self, piece: Any) -> int:
        size = memoryview(piece).nbytes
        self.pieces.append(piece)
        self.size_bytes += size
        return size

    def tell(self) -> int:
        return self.size_bytes

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Nothing is held."""

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False


def ipc_part(schema: Any, batches: Sequence[Any], fillings: dict[int, Filling] | None = None) -> Part:
    """The stream of these record batches as a part.

    `fillings` gives, by address, the bytes of body buffers that are placeholders: columns whose values do not lie
    together in memory, which are gathered only while they are written.
    """
    import pyarrow as pa

    sink = _Pieces()
    file = pa.PythonFile(sink, mode="w")
    with pa.ipc.new_stream(file, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    sources = [_source(piece, fillings or {}) for piece in sink.pieces]

    def chunks() -> Iterator[Buffer]:
        for source in sources:
            yield from source()

    return Part(chunks, sink.size_bytes, SUFFIX)


def _source(piece: Any, fillings: dict[int, Filling]) -> Filling:
    import pyarrow as pa

    if isinstance(piece, pa.Buffer) and piece.address in fillings and piece.size:
        return fillings[piece.address]
    return lambda: slabs(piece)


def read_ipc(buffer: memoryview) -> tuple[Any, list[Any]]:
    """(schema, record batches) of a stream, as views of `buffer`; checked, so that no offset leads outside it."""
    import pyarrow as pa

    if len(buffer) % 8:
        raise damaged("arrow", "the stream of columns is cut off")
    reader = pa.ipc.open_stream(pa.py_buffer(buffer))
    batches = list(reader)
    for batch in batches:
        batch.validate(full=not all(map(_is_fixed_width, batch.schema.types)))
    return reader.schema, batches


def _is_fixed_width(kind: Any) -> bool:
    """Are a column's buffers as long as its length says, and nothing in them an offset?"""
    import pyarrow as pa

    return bool(pa.types.is_primitive(kind) or pa.types.is_fixed_size_binary(kind) or pa.types.is_decimal(kind))
