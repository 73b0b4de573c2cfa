"""Arrow: chunks, slices, nulls, dictionaries, nested types, metadata."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from groups import Groups

groups = Groups()

INTS = [1, None, 3, 4, None, 6, 7, 8, 9, 10]
TEXT = ["a", None, "", "dddd", "é", "ffffffffffffffffffff"]
TABLE = {"a": [1, 2, 3], "b": ["x", "y", None]}


def garbage(under: int) -> Any:
    values = pa.py_buffer(np.array([1, under, 3], "i8"))
    return pa.Array.from_buffers(pa.int64(), 3, [pa.py_buffer(b"\x05"), values])


def garbage_text(under: bytes) -> Any:
    data = b"a" + under + b"c"
    offsets = np.array([0, 1, 1 + len(under), len(data)], "i4")
    return pa.Array.from_buffers(pa.string(), 3, [pa.py_buffer(b"\x05"), pa.py_buffer(offsets), pa.py_buffer(data)])


def chunked(values: list[Any], *cuts: int, kind: Any = None) -> Any:
    whole = pa.array(values, kind)
    bounds = [0, *cuts, len(values)]
    return pa.chunked_array([whole[start:stop] for start, stop in pairwise(bounds)], whole.type)


def nested_cases() -> list[tuple[Any, list[Any]]]:
    return [
        (pa.list_(pa.int64()), [[1, 2], None, [], [3, None]]),
        (pa.large_list(pa.string()), [["a"], None, [], ["b", None, "cc"]]),
        (pa.list_(pa.int8(), 2), [[1, 2], None, [3, 4], [5, None]]),
        (
            pa.struct([("a", pa.int64()), ("b", pa.string())]),
            [{"a": 1, "b": None}, None, {"a": None, "b": "x"}, {"a": 3, "b": "y"}],
        ),
        (pa.map_(pa.string(), pa.int64()), [[("a", 1)], None, [], [("b", None), ("c", 3)]]),
        (pa.list_(pa.list_(pa.bool_())), [[[True]], None, [[], None], [[False, None]]]),
        (pa.decimal128(9, 2), [1, None, 3, -4]),
        (pa.binary(2), [b"ab", None, b"cd", b"\0\0"]),
        (pa.bool_(), [True, None, False, True]),
        (pa.timestamp("us", "UTC"), [1, None, 3, 4]),
        (pa.date32(), [1, None, 3, 4]),
        (pa.month_day_nano_interval(), [(1, 2, 3), None, (0, 0, 0), (4, 5, 6)]),
        (pa.float32(), [1.0, None, float("nan"), -0.0]),
        (pa.float16(), [1.0, None, 2.0, -0.0]),
        (pa.string_view(), ["a", None, "a text longer than twelve bytes", ""]),
        (pa.large_binary(), [b"a", None, b"", b"bc"]),
        (pa.null(), [None, None, None, None]),
        (pa.dictionary(pa.int8(), pa.string()), ["a", None, "b", "a"]),
    ]


groups.alike(
    "chunks",
    lambda: chunked(INTS),
    lambda: chunked(INTS, 1),
    lambda: chunked(INTS, 3, 3, 7),
    lambda: chunked(INTS, *range(1, 10)),
)
groups.alike(
    "chunks of text",
    lambda: chunked(TEXT),
    lambda: chunked(TEXT, 1),
    lambda: chunked(TEXT, 2, 2, 3, 5),
    lambda: chunked(TEXT, *range(1, 6)),
)
groups.alike(
    "slices and fresh arrays",
    lambda: pa.array(INTS)[2:7],
    lambda: pa.array(INTS[2:7]),
    lambda: pa.array([None, *INTS])[3:8],
)
groups.distinct(
    "different slices",
    lambda: pa.array(range(10)).slice(0, 3),
    lambda: pa.array(range(10)).slice(3, 3),
    lambda: pa.array(range(10)).slice(0, 4),
    lambda: pa.array(["a", "b", "c"])[:2],
    lambda: pa.array(["a", "b", "c"])[1:],
)
groups.alike("what lies under a null", lambda: garbage(0), lambda: garbage(99), lambda: pa.array([1, None, 3]))
groups.alike(
    "text that lies under a null",
    lambda: garbage_text(b""),
    lambda: garbage_text(b"xyz"),
    lambda: pa.array(["a", None, "c"]),
)
groups.alike(
    "absent and full validity",
    lambda: pa.array([1, 2, 3]),
    lambda: pa.Array.from_buffers(pa.int64(), 3, [pa.py_buffer(b"\xff"), pa.array([1, 2, 3]).buffers()[1]]),
    lambda: pa.array([1, 2, 3, None])[:3],
)
groups.distinct(
    "nulls",
    lambda: pa.array([1, None]),
    lambda: pa.array([None, 1]),
    lambda: pa.array([1, 0]),
    lambda: pa.array([1]),
    lambda: pa.array([None], pa.int64()),
    lambda: pa.nulls(1),
    lambda: pa.nulls(2),
    lambda: pa.array([1, None, None]),
)
groups.distinct(
    "missing and empty text",
    lambda: pa.array(["a", None]),
    lambda: pa.array(["a", ""]),
    lambda: pa.array(["", "a"]),
    lambda: pa.array(["a"]),
    lambda: pa.array([None, "a"]),
)
groups.distinct(
    "types of one and zero",
    *[
        lambda t=t: pa.array([1, 0], t)
        for t in (
            pa.int8(),
            pa.int16(),
            pa.int32(),
            pa.int64(),
            pa.uint8(),
            pa.uint64(),
            pa.float32(),
            pa.float64(),
            pa.date32(),
            pa.date64(),
            pa.time32("s"),
            pa.time32("ms"),
            pa.time64("us"),
            pa.timestamp("s"),
            pa.timestamp("ns"),
            pa.timestamp("s", "UTC"),
            pa.timestamp("s", "Europe/Berlin"),
            pa.duration("s"),
            pa.duration("ms"),
            pa.decimal128(5, 2),
            pa.decimal128(6, 2),
            pa.decimal128(5, 1),
            pa.decimal256(5, 2),
        )
    ],
    lambda: pa.array([True, False]),
)
groups.distinct(
    "types of text",
    *[
        lambda t=t: pa.array(["ab", "c"], t)
        for t in (pa.string(), pa.large_string(), pa.binary(), pa.large_binary(), pa.string_view(), pa.binary_view())
    ],
    lambda: pa.array(["a", "bc"]),
    lambda: pa.array(["ab", "c"]).dictionary_encode(),
)
groups.distinct(
    "zeros and NaN",
    lambda: pa.array([0.0]),
    lambda: pa.array([-0.0]),
    lambda: pa.array([float("nan")]),
    lambda: pa.array([None], pa.float64()),
)
groups.alike(
    "every NaN",
    lambda: pa.array([float("nan"), 1.0]),
    lambda: pa.array(np.array([-np.nan, 1.0])),
    lambda: pa.array([2.0, -float("nan"), 1.0])[1:],
)
for kind, values in nested_cases():
    groups.alike(
        f"slices of {kind}",
        lambda k=kind, v=values: pa.array(v[1:3], k),
        lambda k=kind, v=values: pa.array(v, k)[1:3] if not pa.types.is_dictionary(k) else pa.array(v[1:3], k),
    )
    groups.alike(
        f"chunks of {kind}",
        lambda k=kind, v=values: chunked(v, kind=k),
        lambda k=kind, v=values: chunked(v, 1, 2, kind=k),
        lambda k=kind, v=values: chunked(v, 3, kind=k),
    )
    if not pa.types.is_null(kind):
        groups.distinct(
            f"orders of {kind}",
            lambda k=kind, v=values: pa.array(v, k),
            lambda k=kind, v=values: pa.array(v[::-1], k),
            lambda k=kind, v=values: pa.array(v[:3], k),
            lambda k=kind, v=values: pa.array(v[:2] + v[3:] + v[2:3], k),
        )
groups.distinct(
    "nesting",
    lambda: pa.array([[1], [2, 3]]),
    lambda: pa.array([[1, 2], [3]]),
    lambda: pa.array([[[1], [2, 3]]]),
    lambda: pa.array([[1, 2, 3]]),
    lambda: pa.array([[1], [2, 3], []]),
    lambda: pa.array([[1], None, [2, 3]]),
    lambda: pa.array([[1], [], [2, 3]]),
)
groups.distinct(
    "names of fields",
    lambda: pa.array([{"a": 1}]),
    lambda: pa.array([{"b": 1}]),
    lambda: pa.array([{"a": None}], pa.struct([("a", pa.int64())])),
    lambda: pa.array([None], pa.struct([("a", pa.int64())])),
    lambda: pa.array([{"a": 1, "b": 2}]),
    lambda: pa.array([{"b": 2, "a": 1}]),
)
groups.distinct(
    "dictionaries",
    lambda: pa.array(["a", "b", "a"]).dictionary_encode(),
    lambda: pa.DictionaryArray.from_arrays([1, 0, 1], ["b", "a"]),
    lambda: pa.DictionaryArray.from_arrays([0, 1, 0], ["a", "b"], ordered=True),
    lambda: pa.DictionaryArray.from_arrays([0, 1, 0], ["a", "b", "c"]),
    lambda: pa.DictionaryArray.from_arrays(pa.array([0, 1, 0], pa.int8()), ["a", "b"]),
    lambda: pa.array(["a", "b", "a"]),
)
groups.distinct(
    "arrays and relatives",
    lambda: pa.array([1]),
    lambda: pa.chunked_array([[1]]),
    lambda: pa.scalar(1),
    lambda: pa.table({"a": [1]}),
    lambda: pa.record_batch({"a": [1]}),
    lambda: [1],
    lambda: np.array([1]),
    lambda: pa.int64(),
    lambda: pa.py_buffer(b"a"),
    lambda: b"a",
)
groups.distinct(
    "tables",
    lambda: pa.table(TABLE),
    lambda: pa.table({"b": TABLE["b"], "a": TABLE["a"]}),
    lambda: pa.table({"a": TABLE["a"], "c": TABLE["b"]}),
    lambda: pa.table(TABLE).replace_schema_metadata({"k": "v"}),
    lambda: pa.table(TABLE).replace_schema_metadata({"k": "w"}),
    lambda: pa.table(TABLE).slice(1),
    lambda: pa.table(TABLE).select(["a"]),
    lambda: pa.table(TABLE).to_batches()[0],
    lambda: pa.table(TABLE, schema=pa.schema([pa.field("a", pa.int64(), False), ("b", pa.string())])),
    lambda: pa.table(TABLE, schema=pa.schema([pa.field("a", pa.int64(), metadata={"u": "m"}), ("b", pa.string())])),
)
groups.alike(
    "tables in chunks and slices",
    lambda: pa.table(TABLE),
    lambda: pa.concat_tables([pa.table(TABLE)[:1], pa.table(TABLE)[1:]]),
    lambda: pa.concat_tables([pa.table(TABLE)] * 2)[3:],
    lambda: pa.Table.from_batches(pa.table(TABLE).to_batches(max_chunksize=1)),
)
groups.alike(
    "metadata in any order",
    lambda: pa.schema([("a", pa.int8())], {"k": "v", "l": "w"}),
    lambda: pa.schema([("a", pa.int8())], {"l": "w", "k": "v"}),
)
groups.distinct(
    "schemas",
    lambda: pa.schema([("a", pa.int8())]),
    lambda: pa.schema([("a", pa.int16())]),
    lambda: pa.schema([("b", pa.int8())]),
    lambda: pa.schema([("a", pa.int8())], {"k": "v"}),
    lambda: pa.field("a", pa.int8()),
    lambda: pa.field("a", pa.int8(), False),
    lambda: pa.schema([]),
    lambda: pa.struct([("a", pa.int8())]),
)
groups.distinct(
    "types",
    *[
        lambda t=t: t
        for t in (
            pa.int8(),
            pa.list_(pa.int8()),
            pa.large_list(pa.int8()),
            pa.list_(pa.int8(), 2),
            pa.list_(pa.int8(), 3),
            pa.list_(pa.field("x", pa.int8())),
            pa.list_(pa.field("item", pa.int8(), False)),
            pa.map_(pa.int8(), pa.int8()),
            pa.map_(pa.int8(), pa.int8(), keys_sorted=True),
            pa.struct([("a", pa.int8())]),
            pa.dictionary(pa.int8(), pa.string()),
            pa.dictionary(pa.int8(), pa.string(), ordered=True),
            pa.timestamp("s"),
            pa.timestamp("s", "UTC"),
        )
    ],
)
groups.distinct(
    "empty columns",
    lambda: pa.array([], pa.int8()),
    lambda: pa.array([], pa.string()),
    lambda: pa.array([], pa.null()),
    lambda: pa.table({}),
    lambda: pa.table({"a": pa.array([], pa.int8())}),
    lambda: pa.chunked_array([], pa.int8()),
)
groups.alike(
    "no chunks and empty ones",
    lambda: pa.chunked_array([], pa.int8()),
    lambda: pa.chunked_array([pa.array([], pa.int8())] * 2),
)
groups.distinct(
    "unions",
    lambda: pa.UnionArray.from_sparse(pa.array([0, 1], pa.int8()), [pa.array([1, 2]), pa.array(["a", "b"])]),
    lambda: pa.UnionArray.from_sparse(pa.array([1, 0], pa.int8()), [pa.array([1, 2]), pa.array(["a", "b"])]),
    lambda: pa.UnionArray.from_dense(
        pa.array([0, 1], pa.int8()), pa.array([0, 0], pa.int32()), [pa.array([1]), pa.array(["b"])]
    ),
)
groups.distinct(
    "run ends",
    lambda: pa.RunEndEncodedArray.from_arrays([2, 3], [1, 2]),
    lambda: pa.RunEndEncodedArray.from_arrays([1, 3], [1, 2]),
    lambda: pa.array([1, 1, 2]),
)
groups.distinct(
    "scalars",
    lambda: pa.scalar(1),
    lambda: pa.scalar(1.0),
    lambda: pa.scalar(None, pa.int64()),
    lambda: pa.scalar("1"),
    lambda: pa.scalar(1, pa.int8()),
    lambda: pa.scalar([1]),
    lambda: pa.scalar({"a": 1}),
)
