"""Columns of up to some 65,000 runs in an Arrow IPC file: one record batch of one row, whose columns are lists.

Mapped, not loaded: what a search does not touch is not read. Each column has a check of its own, verified when the
column is first touched.
"""

from __future__ import annotations

import mmap
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import msgpack
import numpy as np
import pyarrow as pa
from blake3 import blake3

from mlflowish.errors import IntegrityError
from mlflowish.tracking.table.columns import Array, Columns, TextColumn, packed, unpacked

_FIXED = ("flags", "records", "sizes", "start", "end")
COLUMNS = (
    ("ids", pa.binary(16)),
    ("by_id", pa.uint32()),
    ("flags", pa.uint8()),
    ("records", pa.uint32()),
    ("sizes", pa.uint64()),
    ("start", pa.float64()),
    ("end", pa.float64()),
    ("number_names", pa.large_binary()),
    ("number_ends", pa.uint64()),
    ("number_rows", pa.uint32()),
    ("number_values", pa.float64()),
    ("text_names", pa.large_binary()),
    ("text_ends", pa.uint64()),
    ("text_rows", pa.uint32()),
    ("text_codes", pa.uint32()),
    ("text_value_ends", pa.uint64()),
    ("text_values", pa.large_binary()),
    ("checks", pa.uint64()),
)

_DTYPES: dict[Any, np.dtype[Any]] = {
    pa.uint8(): np.dtype("u1"),
    pa.uint32(): np.dtype("<u4"),
    pa.uint64(): np.dtype("<u8"),
    pa.int64(): np.dtype("<i8"),
    pa.float64(): np.dtype("<f8"),
}


class Text(Sequence[bytes]):
    """A text column of a part: `rows`, `codes`, and as a sequence its values, sorted."""

    def __init__(self, rows: Array, codes: Array, values: pa.Array) -> None:
        self.rows, self.codes, self.values = rows, codes, values
        self._offsets, self._data = _offsets(values)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, code: Any) -> Any:
        return self._data[self._offsets[code] : self._offsets[code + 1]].tobytes()

    def find(self, value: bytes) -> int:
        """The code of a value; -1 if there is no such value."""
        code = bisect_left(self, value)
        return code if code < len(self) and self[code] == value else -1

    def beginning(self, prefix: bytes) -> tuple[int, int]:
        """The codes [first, last) of values that begin so."""
        first = bisect_left(self, prefix)
        return first, bisect_right(self, prefix, lo=first, key=lambda value: value[: len(prefix)])

    def texts(self) -> list[str]:
        """All values, as texts."""
        return [unpacked(value) for value in self]


class Part:
    """Rows of runs, in a file or in memory. Safe for many threads. IntegrityError when what is touched is damaged."""

    def __init__(self, batch: pa.RecordBatch, name: str = "") -> None:
        self.name = name
        self._lists = {field.name: batch.column(place).values for place, field in enumerate(batch.schema)}
        self.ids = _ids(self._lists["ids"])
        self.by_id, self.flags, self.records = self._array("by_id"), self._array("flags"), self._array("records")
        self.sizes, self.start, self.end = self._array("sizes"), self._array("start"), self._array("end")
        self._checks = self._array("checks")
        number_names, text_names = self._names("number_names"), self._names("text_names")
        if int(self._checks[0]) != _base_check(self._lists):
            raise self._damaged("its head")
        self._number_at = {name: place for place, name in enumerate(number_names)}
        self._text_at = {name: place for place, name in enumerate(text_names)}
        self._number_ends, self._text_ends = self._array("number_ends").tolist(), self._array("text_ends").tolist()
        self._value_ends = self._array("text_value_ends").tolist()
        self._numbers: dict[str, tuple[Array, Array]] = {}
        self._texts: dict[str, Text] = {}

    def __len__(self) -> int:
        return len(self.flags)

    @cached_property
    def sorted_ids(self) -> Array:
        """The ids in order, as `by_id` finds their rows."""
        return self.ids[self.by_id]

    @property
    def number_names(self) -> list[str]:
        """Names of metrics, hardware's included."""
        return list(self._number_at)

    @property
    def text_names(self) -> list[str]:
        """Names of text columns: `params.lr`, `attributes.status`."""
        return list(self._text_at)

    def number(self, name: str) -> tuple[Array, Array] | None:
        """Rows and values of a metric; None if no run has it."""
        found = self._numbers.get(name)
        if found is None and (place := self._number_at.get(name)) is not None:
            found = self._number_at_place(name, place)
            self._numbers[name] = found
        return found

    def text(self, name: str) -> Text | None:
        """A text column; None if no run has it."""
        found = self._texts.get(name)
        if found is None and (place := self._text_at.get(name)) is not None:
            found = self._text_at_place(name, place)
            self._texts[name] = found
        return found

    def _number_at_place(self, name: str, place: int) -> tuple[Array, Array]:
        span = _span(self._number_ends, place)
        try:
            found = self._array("number_rows")[span], self._array("number_values")[span]
            is_right = int(self._checks[1 + place]) == _check(*found)
        except (ValueError, TypeError, IndexError) as error:
            raise self._damaged(f"the metric {name}") from error
        if not is_right:
            raise self._damaged(f"the metric {name}")
        return found

    def _text_at_place(self, name: str, place: int) -> Text:
        span, values = _span(self._text_ends, place), _span(self._value_ends, place)
        try:
            found = Text(
                self._array("text_rows")[span],
                self._array("text_codes")[span],
                self._lists["text_values"].slice(values.start, values.stop - values.start),
            )
            is_right = int(self._checks[1 + len(self._number_at) + place]) == _text_check(found)
        except (ValueError, TypeError, IndexError) as error:
            raise self._damaged(f"the texts of {name}") from error
        if not is_right:
            raise self._damaged(f"the texts of {name}")
        return found

    def columns(self) -> Columns:
        """All of it, to be merged with others."""
        numbers = {name: pair for name in self.number_names if (pair := self.number(name)) is not None}
        texts = {
            name: TextColumn(text.rows, text.codes, list(text))
            for name in self.text_names
            if (text := self.text(name)) is not None
        }
        return Columns(self.ids, self.flags, self.records, self.sizes, self.start, self.end, numbers, texts)

    def locate(self, ids: Array) -> Array:
        """The rows (int64) of ids, -1 where it has none."""
        places = np.searchsorted(self.sorted_ids, ids)
        places[places == len(self)] = 0
        rows = self.by_id[places].astype(np.int64)
        rows[self.sorted_ids[places] != ids] = -1
        return rows

    def _array(self, name: str) -> Array:
        return _unwrapped(self._lists[name])

    def _names(self, name: str) -> list[str]:
        self._lists[name].validate(full=True)  # damaged offsets lead out of the file: that is no exception, but the end
        return [unpacked(value) for value in self._lists[name].to_pylist()]

    def _damaged(self, what: str) -> IntegrityError:
        return IntegrityError(
            f"The table of runs {self.name} is damaged: {what} is not as it was written. It is made anew from the "
            "journals; `mlflowish fsck` looks at the rest of the store.",
            path=self.name,
        )

    def verify(self) -> None:
        """Read everything; IntegrityError if it is not as it was written."""
        for name in self.number_names:
            self.number(name)
        for name in self.text_names:
            self.text(name)


def batch_of(columns: Columns) -> pa.RecordBatch:
    """The one record batch of a part."""
    numbers, texts = sorted(columns.numbers.items()), sorted(columns.texts.items())
    values = [binaries(text.values) for _, text in texts]
    lists = {
        "ids": pa.Array.from_buffers(pa.binary(16), len(columns), [None, pa.py_buffer(columns.ids.tobytes())]),
        "by_id": np.argsort(columns.ids, kind="stable"),
        **{field: getattr(columns, field) for field in _FIXED},
        "number_names": binaries([packed(name) for name, _ in numbers]),
        "number_ends": _ends([len(rows) for _, (rows, _) in numbers]),
        "number_rows": _joined([rows for _, (rows, _) in numbers]),
        "number_values": _joined([values for _, (_, values) in numbers]),
        "text_names": binaries([packed(name) for name, _ in texts]),
        "text_ends": _ends([len(text.rows) for _, text in texts]),
        "text_rows": _joined([text.rows for _, text in texts]),
        "text_codes": _joined([text.codes for _, text in texts]),
        "text_value_ends": _ends([len(text.values) for _, text in texts]),
        "text_values": pa.concat_arrays(values) if values else binaries([]),
    }
    arrays = {
        name: lists[name] if isinstance(lists[name], pa.Array) else _wrapped(lists[name], kind)
        for name, kind in COLUMNS[:-1]
    }
    checks = [_check(*pair) for _, pair in numbers]
    checks += [_text_check(Text(text.rows, text.codes, found)) for (_, text), found in zip(texts, values, strict=True)]
    base = _base_check({**arrays, "checks": _wrapped(np.array([0, *checks], np.uint64), pa.uint64())})
    arrays["checks"] = _wrapped(np.array([base, *checks], np.uint64), pa.uint64())
    whole = [
        pa.LargeListArray.from_arrays(_wrapped(np.array([0, len(array)]), pa.int64()), array)
        for array in arrays.values()
    ]
    return pa.record_batch(whole, names=list(arrays))


def file_of(batch: pa.RecordBatch) -> pa.Buffer:
    """The bytes of a part's file."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def part_in(data: bytes | mmap.mmap, name: str) -> Part:
    """The part in a file; IntegrityError if it is none."""
    try:
        batch = pa.ipc.open_file(pa.py_buffer(data)).get_batch(0)
        batch.validate()
        wanted = [(name, pa.large_list(kind)) for name, kind in COLUMNS]
        if batch.num_rows != 1 or [(field.name, field.type) for field in batch.schema] != wanted:
            raise ValueError("it has other columns")
        return Part(batch, name)
    except (pa.ArrowException, OSError, ValueError, LookupError, TypeError, OverflowError) as error:
        raise IntegrityError(f"The table of runs {name} cannot be read: {error}", path=name) from error


def binaries(values: Sequence[bytes]) -> pa.Array:
    """Byte strings as Arrow holds them. Not by `pa.array`, which imports pandas to see whether they are of it."""
    offsets = np.zeros(len(values) + 1, np.int64)
    np.cumsum([len(value) for value in values], out=offsets[1:])
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(values))]
    return pa.Array.from_buffers(pa.large_binary(), len(values), buffers)


def _wrapped(array: Array, kind: pa.DataType) -> pa.Array:
    data = np.ascontiguousarray(array, _DTYPES[kind])
    return pa.Array.from_buffers(kind, len(data), [None, pa.py_buffer(data)])


def _unwrapped(array: pa.Array) -> Array:
    """The numbers of an Arrow array, as they rest. Not by `to_numpy`, which imports pandas."""
    dtype = _DTYPES[array.type]
    if not len(array):
        return np.empty(0, dtype)
    return np.frombuffer(array.buffers()[1], dtype, len(array), dtype.itemsize * array.offset)


def _joined(arrays: Sequence[Array]) -> Array:
    return np.concatenate(arrays) if arrays else np.empty(0)


def _ends(lengths: Sequence[int]) -> Array:
    return np.cumsum(np.array(lengths, np.uint64), dtype=np.uint64)


def _span(ends: Sequence[int], place: int) -> slice:
    return slice(ends[place - 1] if place else 0, ends[place])


def _ids(array: pa.Array) -> Array:
    return np.frombuffer(array.buffers()[1], "S16", len(array), 16 * array.offset)


def _offsets(values: pa.Array) -> tuple[Array, Array]:
    """Where the texts of an array begin and end, and their bytes."""
    buffers = values.buffers()
    offsets = (
        np.frombuffer(buffers[1], np.int64, len(values) + 1, 8 * values.offset) if len(values) else np.zeros(1, int)
    )
    data = np.frombuffer(buffers[2], np.uint8) if buffers[2] is not None and buffers[2].size else np.empty(0, np.uint8)
    return offsets, data


def _check(*arrays: Array) -> int:
    hasher = blake3(b"mlf1.column\0")
    for array in arrays:
        hasher.update(np.ascontiguousarray(array).data.cast("B") if len(array) else b"")
    return int.from_bytes(hasher.digest(8), "little")


def _text_check(text: Text) -> int:
    offsets, data = text._offsets, text._data
    lengths = np.diff(offsets)
    return _check(text.rows, text.codes, lengths, data[int(offsets[0]) : int(offsets[-1])])


def _base_check(lists: dict[str, pa.Array]) -> int:
    """Over what is read whenever a part is opened, and the other checks."""
    names = msgpack.packb([lists["number_names"].to_pylist(), lists["text_names"].to_pylist()])
    fixed = ("by_id", *_FIXED, "number_ends", "text_ends", "text_value_ends")
    head, ids = np.frombuffer(names, np.uint8), _ids(lists["ids"]).view(np.uint8)
    return _check(head, ids, *(_unwrapped(lists[name]) for name in fixed), _unwrapped(lists["checks"])[1:])
