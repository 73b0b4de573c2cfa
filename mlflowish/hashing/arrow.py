"""Arrow data: arrays, tables and their types. Chunks, slices and what lies in the slots of nulls are invisible.

A column is its type, its validity (where there are nulls), and its values without the nulls: fixed-size ones as their
bytes, text as lengths and bytes, nested ones as lengths and a column below. Only pyarrow is needed, not numpy.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from mlflowish.hashing.tree import Expand, Walk
from mlflowish.hashing.writer import Done, Node, bulk, head, leaf, silent


def expander_for(cls: type) -> Expand | None:
    """The expander for a class of pyarrow."""
    import pyarrow as pa

    kinds: list[tuple[tuple[type, ...], Expand]] = [
        ((pa.Table, pa.RecordBatch), _table),
        ((pa.ChunkedArray,), _chunked_array),
        ((pa.Array,), _array),
        ((pa.Scalar,), _scalar),
        ((pa.Schema,), _schema),
        ((pa.Field,), _field),
        ((pa.DataType,), _data_type),
        ((pa.Buffer,), _buffer),
    ]
    for classes, expand in kinds:
        if issubclass(cls, classes):
            return expand
    if cls.__module__ == "pyarrow._dataset" or cls.__name__ in ("RecordBatchReader", "NativeFile"):
        return _outside
    return None


def _table(value: Any, walk: Walk) -> Node:
    columns = [column(f.type, _chunks(c)) for f, c in zip(value.schema, value.columns, strict=True)]
    names = value.schema.names
    record_head = head("arrow", type(value).__name__, value.num_rows, schema_fields(value.schema))
    return Node(record_head, columns, lambda i: f'["{names[i]}"]')


def _chunks(values: Any) -> list[Any]:
    return list(values.chunks) if hasattr(values, "chunks") else [values]


def _chunked_array(value: Any, walk: Walk) -> Node:
    return Node(head("arrow", "ChunkedArray"), (column(value.type, value.chunks),), silent)


def _array(value: Any, walk: Walk) -> Node:
    return Node(head("arrow", "Array"), (column(value.type, [value]),), silent)


def _scalar(value: Any, walk: Walk) -> Node:
    import pyarrow as pa

    return Node(head("arrow", "Scalar"), (column(value.type, [pa.repeat(value, 1)]),), silent)


def _schema(value: Any, walk: Walk) -> Done:
    return leaf("arrow", "Schema", schema_fields(value))


def _field(value: Any, walk: Walk) -> Done:
    return leaf("arrow", "Field", field_fields(value))


def _data_type(value: Any, walk: Walk) -> Done:
    return leaf("arrow", "DataType", type_fields(value))


def _buffer(value: Any, walk: Walk) -> Done:
    return bulk(head("arrow", "Buffer", value.size), (memoryview(value),), size_bytes=value.size)


def _outside(value: Any, walk: Walk) -> Node:
    walk.refuse(value, "its data is outside of it and may change; read it into a table first")


# Types.


def schema_fields(schema: Any) -> tuple[Any, ...]:
    """A schema as plain tuples: fields in order, metadata sorted."""
    return (tuple(field_fields(field) for field in schema), _metadata(schema.metadata))


def field_fields(field: Any) -> tuple[Any, ...]:
    """A field as a plain tuple."""
    return (field.name, type_fields(field.type), bool(field.nullable), _metadata(field.metadata))


def _metadata(metadata: Any) -> tuple[Any, ...]:
    return tuple(sorted((bytes(key), bytes(text)) for key, text in (metadata or {}).items()))


def type_fields(kind: Any) -> tuple[Any, ...]:
    """A data type as plain tuples, down to the fields of nested types."""
    import pyarrow as pa

    if isinstance(kind, pa.BaseExtensionType):
        serialized = kind.__arrow_ext_serialize__() if hasattr(kind, "__arrow_ext_serialize__") else b""
        return ("extension", kind.extension_name, serialized, type_fields(kind.storage_type))
    if pa.types.is_dictionary(kind):
        return ("dictionary", type_fields(kind.index_type), type_fields(kind.value_type), bool(kind.ordered))
    name = type(kind).__name__
    below = tuple(field_fields(kind.field(i)) for i in range(kind.num_fields))
    if not below:
        return (str(kind),)
    details = (getattr(kind, "list_size", None), getattr(kind, "keys_sorted", None), getattr(kind, "mode", None))
    return (name, below, details, tuple(getattr(kind, "type_codes", None) or ()))


# Data.

_PIECE_ROWS = 1 << 17
_WIDE = {"string_view": "large_string", "binary_view": "large_binary"}


def column(kind: Any, chunks: list[Any]) -> Node:
    """A column of one type, of which `chunks` are the pieces in order."""
    length = sum(map(len, chunks))
    return Node(head("arrow column", type_fields(kind), length), content(kind, chunks), silent)


def content(kind: Any, chunks: list[Any]) -> list[Any]:
    """What a column holds, apart from its type and length: digests and nodes for the children of a node."""
    import pyarrow as pa

    chunks = [chunk for chunk in chunks if len(chunk)]
    if not chunks or pa.types.is_null(kind):
        return []
    if isinstance(kind, pa.BaseExtensionType):
        return content(kind.storage_type, [chunk.storage for chunk in chunks])
    if pa.types.is_union(kind):
        codes = _bytes_of("codes", (chunk.type_codes for chunk in chunks), 1)
        return [codes, [value for chunk in chunks for value in chunk.to_pylist()]]
    if str(kind) in _WIDE:
        wide = getattr(pa, _WIDE[str(kind)])()
        return content(wide, [chunk.cast(wide) for chunk in chunks])
    if any(chunk.null_count for chunk in chunks):
        valid = _bytes_of("valid", (piece.is_valid().cast(pa.uint8()) for piece in _pieces(chunks)), 1)
        chunks = [dense for chunk in chunks if len(dense := _without_nulls(chunk))]
        return [valid, *_values(kind, chunks)]
    return _values(kind, chunks)


def _without_nulls(chunk: Any) -> Any:
    import pyarrow as pa

    try:
        return chunk.drop_null()
    except pa.ArrowNotImplementedError:  # no kernel for a rare type, or in an old version
        return pa.array([value for value in chunk.to_pylist() if value is not None], chunk.type)


def _values(kind: Any, chunks: list[Any]) -> list[Any]:
    """The values of a column without nulls."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not chunks:
        return []
    for test, take in _NESTED:
        if getattr(pa.types, test, lambda _: False)(kind):
            return take(kind, chunks)
    if pa.types.is_boolean(kind):
        return [_bytes_of("booleans", (piece.cast(pa.uint8()) for piece in _pieces(chunks)), 1)]
    if pa.types.is_float32(kind) or pa.types.is_float64(kind):
        return [_bytes_of("fixed", (_one_nan(piece, pa, pc) for piece in _pieces(chunks)), kind.bit_width // 8)]
    return [_bytes_of("fixed", chunks, kind.bit_width // 8)]


def _one_nan(chunk: Any, pa: Any, pc: Any) -> Any:
    nans = pc.is_nan(chunk)
    return pc.if_else(nans, pa.scalar(float("nan"), chunk.type), chunk) if pc.any(nans).as_py() else chunk


def _pieces(chunks: list[Any]) -> Iterator[Any]:
    """The chunks in pieces that are small enough to be converted in passing."""
    for chunk in chunks:
        for start in range(0, len(chunk), _PIECE_ROWS):
            yield chunk.slice(start, _PIECE_ROWS)


def _bytes_of(tag: str, chunks: Iterable[Any], width: int) -> Done:
    """The digest of the values of fixed-size chunks, without copying them."""
    size_bytes = width * sum(map(len, chunks)) if isinstance(chunks, list) else 0

    def pieces() -> Iterator[memoryview]:
        for chunk in chunks:
            start = chunk.offset * width
            yield memoryview(chunk.buffers()[1])[start : start + len(chunk) * width]

    return bulk(head(tag, width), pieces(), size_bytes=size_bytes)


def _text(kind: Any, chunks: list[Any]) -> list[Any]:
    import pyarrow as pa
    import pyarrow.compute as pc

    lengths = _bytes_of("lengths", (pc.binary_length(piece).cast(pa.int64()) for piece in _pieces(chunks)), 8)
    pieces = [_text_bytes(chunk) for chunk in chunks]
    return [lengths, bulk(head("text"), pieces, size_bytes=sum(map(len, pieces)))]


def _text_bytes(chunk: Any) -> memoryview:
    _, offsets, data = chunk.buffers()
    code, width = ("<q", 8) if str(chunk.type).startswith("large") else ("<i", 4)
    (start,) = struct.unpack_from(code, offsets, chunk.offset * width)
    (stop,) = struct.unpack_from(code, offsets, (chunk.offset + len(chunk)) * width)
    return memoryview(data)[start:stop] if data is not None else memoryview(b"")


def _list(kind: Any, chunks: list[Any]) -> list[Any]:
    import pyarrow as pa
    import pyarrow.compute as pc

    lengths = _bytes_of("lengths", (pc.list_value_length(piece).cast(pa.int64()) for piece in _pieces(chunks)), 8)
    return [lengths, column(kind.value_type, [chunk.flatten() for chunk in chunks])]


def _fixed_list(kind: Any, chunks: list[Any]) -> list[Any]:
    return [column(kind.value_type, [chunk.flatten() for chunk in chunks])]


def _map(kind: Any, chunks: list[Any]) -> list[Any]:
    import pyarrow as pa

    entries = pa.struct([pa.field("key", kind.key_type, False), pa.field("value", kind.item_type)])
    lists = [_as_list(chunk, entries, pa) for chunk in chunks]
    return _list(pa.list_(entries), lists)


def _as_list(chunk: Any, entries: Any, pa: Any) -> Any:
    pairs = pa.StructArray.from_arrays([chunk.keys, chunk.items], fields=list(entries))
    return pa.ListArray.from_arrays(chunk.offsets, pairs)


def _struct(kind: Any, chunks: list[Any]) -> list[Any]:
    fields = [chunk.flatten() for chunk in chunks]
    return [column(kind.field(i).type, [parts[i] for parts in fields]) for i in range(kind.num_fields)]


def _dictionary(kind: Any, chunks: list[Any]) -> list[Any]:
    import pyarrow as pa

    unified = pa.chunked_array(chunks).unify_dictionaries().chunks
    words = unified[0].dictionary
    return [column(kind.index_type, [chunk.indices for chunk in unified]), column(kind.value_type, [words])]


def _run_ends(kind: Any, chunks: list[Any]) -> list[Any]:
    import pyarrow.compute as pc

    return [column(kind.value_type, [pc.run_end_decode(chunk) for chunk in chunks])]


_Take = Callable[[Any, list[Any]], list[Any]]
_NESTED: list[tuple[str, _Take]] = [
    ("is_string", _text),
    ("is_large_string", _text),
    ("is_binary", _text),
    ("is_large_binary", _text),
    ("is_fixed_size_list", _fixed_list),
    ("is_map", _map),
    ("is_list", _list),
    ("is_large_list", _list),
    ("is_list_view", _list),
    ("is_large_list_view", _list),
    ("is_struct", _struct),
    ("is_dictionary", _dictionary),
    ("is_run_end_encoded", _run_ends),
]
