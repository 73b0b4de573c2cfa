"""Codec `arrow`: tables, record batches, arrays and schemas of pyarrow, as an IPC stream that maps without a copy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlflowish.codecs.base import Declined, Encoded, Part, PartReader
from mlflowish.codecs.ipc import ipc_part, read_ipc
from mlflowish.codecs.refusals import damaged, sense_made
from mlflowish.codecs.slabs import gathered
from mlflowish.codecs.streams import dump, load

_COLUMN = "values"


class ArrowCodec:
    """The head is a plain stream of (kind, rows, the IPC stream if it is small)."""

    name = "arrow"
    executes_code = False

    def encode(self, value: Any, *, inline_limit: int) -> Encoded:
        kind, schema, batches = _batches(value)
        part = ipc_part(schema, batches)
        rows = sum(batch.num_rows for batch in batches)
        return with_stream(self.name, (kind, rows), part, inline_limit)

    def decode(self, head: bytes, parts: Sequence[PartReader], *, allow_pickle: bool) -> Any:
        with sense_made(self.name):
            (kind, rows), buffer = stream_in(self.name, head, parts)
            schema, batches = read_ipc(buffer)
            if sum(batch.num_rows for batch in batches) != rows:
                raise damaged(self.name, "rows are missing")
            return _restored(kind, schema, batches)


def with_stream(codec: str, meta: tuple[Any, ...], part: Part, inline_limit: int) -> Encoded:
    """A value that is some plain `meta` and one stream, which lies in the head if it is small."""
    if part.size_bytes <= inline_limit:
        return Encoded(codec, dump((*meta, gathered(part.chunks()))).joined())
    return Encoded(codec, dump((*meta, None)).joined(), (part,))


def stream_in(codec: str, head: bytes, parts: Sequence[PartReader]) -> tuple[tuple[Any, ...], memoryview]:
    """What `with_stream` put together."""
    *meta, small = load(head, codec=codec)
    if (small is None) != (len(parts) == 1) or len(parts) > 1:
        raise damaged(codec, f"{len(parts)} parts, and {'no' if small is None else 'a'} stream in the head")
    return tuple(meta), parts[0].buffer() if small is None else memoryview(bytearray(small))


def _batches(value: Any) -> tuple[str, Any, list[Any]]:
    import pyarrow as pa

    if isinstance(value, pa.Schema):
        return "schema", value, []
    if isinstance(value, pa.Table):
        batches = value.to_batches()
        if sum(batch.num_rows for batch in batches) != value.num_rows:
            raise Declined("a table without columns")
        return "table", value.schema, batches
    if isinstance(value, pa.RecordBatch):
        return "batch", value.schema, [value]
    chunked = isinstance(value, pa.ChunkedArray)
    schema = pa.schema([pa.field(_COLUMN, value.type)])
    chunks = value.chunks if chunked else [value]
    return ("chunked" if chunked else "array"), schema, [pa.record_batch([chunk], schema=schema) for chunk in chunks]


def _restored(kind: str, schema: Any, batches: list[Any]) -> Any:
    import pyarrow as pa

    match kind, batches:
        case "schema", []:
            return schema
        case "table", _:
            return pa.Table.from_batches(batches, schema)
        case "batch", [batch]:
            return batch
        case "array", [batch] if batch.num_columns == 1:
            return batch.column(0)
        case "chunked", _ if len(schema) == 1:
            return pa.chunked_array([batch.column(0) for batch in batches], schema.field(0).type)
    raise damaged("arrow", f"{len(batches)} batches for {kind!r}")
