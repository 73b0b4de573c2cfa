"""Codec `pandas`: frames, series and indexes, their columns in one Arrow record batch that maps without a copy.

The head (or, when objects make it long, the first part) is a stream as in `tree` of (kind, how to put the columns
together, the IPC stream if it is small); the last part is the IPC stream. What would not come back exactly is
declined, and pickled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlflowish.codecs.base import Declined, Encoded, PartReader
from mlflowish.codecs.columns import ColumnReader, ColumnWriter, Description
from mlflowish.codecs.constructors import NotPlain
from mlflowish.codecs.ipc import ipc_part, read_ipc
from mlflowish.codecs.labels import describe_labels, require_known, restore_labels
from mlflowish.codecs.plain import stream_of, stream_placed
from mlflowish.codecs.refusals import damaged, sense_made
from mlflowish.codecs.slabs import gathered
from mlflowish.codecs.streams import dump_tree, load_tree
from mlflowish.codecs.tree import LeafReader, LeafWriter

_FRAGMENTED = 100
"""From so many blocks on, pandas warns its user, who did nothing wrong."""


class PandasCodec:
    """Stores DataFrame, Series and every Index; not their subclasses."""

    name = "pandas"
    executes_code = False

    def encode(self, value: Any, *, inline_limit: int) -> Encoded:
        import pyarrow as pa

        columns = ColumnWriter()
        try:
            description = _describe(value, columns)
            fields = [pa.field(name, array.type) for name, array in zip(columns.names, columns.arrays, strict=True)]
            schema = pa.schema(fields)
            batches = [pa.record_batch(columns.arrays, schema=schema)] if columns.arrays else []
        except (pa.ArrowException, UnicodeError) as error:
            raise Declined(f"columns that Arrow refuses: {error}") from None
        stream = ipc_part(schema, batches, columns.fillings)
        small = gathered(stream.chunks()) if stream.size_bytes <= inline_limit else None
        leaves = LeafWriter(inline_limit)
        try:
            sink = dump_tree((description, len(value), small), leaves.refer)
        except NotPlain as answer:
            raise Declined(str(answer)) from None
        if leaves.executes_code:
            raise Declined("something in it that only pickle stores")
        head, first = stream_placed(sink, inline_limit)
        return Encoded(self.name, head, (*first, *leaves.parts, *(() if small is not None else (stream,))))

    def decode(self, head: bytes, parts: Sequence[PartReader], *, allow_pickle: bool) -> Any:
        leaves = LeafReader(self.name, parts if head else parts[1:], allow_pickle=allow_pickle)
        found = load_tree(stream_of(self.name, head, parts), leaves.resolve, codec=self.name)
        with sense_made(self.name):
            description, rows, small = found
            if small is None and not parts:
                raise damaged(self.name, "its columns are missing")
            buffer = parts[-1].buffer() if small is None else memoryview(bytearray(small))
            return _restored(description, _reader(buffer, rows), rows)


def _reader(buffer: memoryview, rows: int) -> ColumnReader:
    _, batches = read_ipc(buffer)
    if len(batches) > 1 or any(batch.num_rows != rows for batch in batches):
        raise damaged("pandas", f"{sum(batch.num_rows for batch in batches)} rows instead of {rows}")
    return ColumnReader([column for batch in batches for column in batch.columns], rows, buffer)


def _describe(value: Any, columns: ColumnWriter) -> Description:
    import pandas as pd

    extras = (dict(value.attrs), value.flags.allows_duplicate_labels) if hasattr(value, "attrs") else ()
    if type(value) is pd.DataFrame:
        index = _describe_index(value.index, columns)
        return "frame", describe_labels(value.columns), index, _describe_groups(value, columns), *extras
    if type(value) is pd.Series:
        index = _describe_index(value.index, columns)
        return "series", columns.add(_array_of(value), str(value.name)), value.name, index, *extras
    require_known(value)
    return "index", _describe_index(value, columns)


def _restored(description: Description, columns: ColumnReader, rows: int) -> Any:
    import pandas as pd

    value: Any
    match description:
        case ("frame", labels, index, groups, attrs, duplicates):
            index = _restore_index(index, columns)
            value = _restore_frame(restore_labels(labels), index, groups, columns, rows)
        case ("series", column, name, index, attrs, duplicates):
            index = _restore_index(index, columns)
            values = columns.take(column)
            # With its dtype, or pandas would look at objects and find them to be text.
            value = pd.Series(values, index, dtype=values.dtype, name=name, copy=False)
        case ("index", index):
            attrs, duplicates = {}, True
            value = _restore_index(index, columns)
        case _:
            raise damaged("pandas", "neither a frame, nor a series, nor an index")
    if len(value) != rows:
        raise damaged("pandas", f"{len(value)} rows instead of {rows}")
    if attrs:
        value.attrs = attrs
    return value if duplicates else value.set_flags(allows_duplicate_labels=False)


def _array_of(series: Any) -> Any:
    import numpy as np

    return series.to_numpy() if isinstance(series.dtype, np.dtype) and series.dtype.kind not in "mM" else series.array


def _describe_index(index: Any, columns: ColumnWriter) -> Description:
    import pandas as pd

    require_known(index)
    if type(index) is pd.RangeIndex:
        return ("labels", describe_labels(index))
    if type(index) is pd.MultiIndex:
        codes = tuple(columns.add(codes, f"index level {level}") for level, codes in enumerate(index.codes))
        return "levels", tuple(map(describe_labels, index.levels)), codes, tuple(index.names), index.sortorder
    return "array", columns.add(_array_of(index), "index"), index.name, _freq_text(index)


def _freq_text(index: Any) -> str | None:
    import pandas as pd

    freq = index.freq if type(index) in (pd.DatetimeIndex, pd.TimedeltaIndex) else None
    if freq is None:
        return None
    text: str = freq.freqstr
    try:
        known = pd.tseries.frequencies.to_offset(text) == freq
    except ValueError:
        known = False
    if not known:
        raise Declined(f"an index of frequency {freq!r}")
    return text


def _restore_index(description: Description, columns: ColumnReader) -> Any:
    import pandas as pd

    match description:
        case ("labels", labels):
            return restore_labels(labels)
        case ("levels", levels, codes, names, sortorder):
            return pd.MultiIndex(
                [restore_labels(level) for level in levels],
                [columns.take(code) for code in codes],
                sortorder=sortorder,
                names=names,
            )
        case ("array", column, name, freq):
            values = columns.take(column)
            index = pd.Index(values, dtype=values.dtype, name=name, copy=False, tupleize_cols=False)
            if freq is not None:
                index.freq = pd.tseries.frequencies.to_offset(freq)
            return index
    raise damaged("pandas", "an index of an unknown kind")


def _describe_groups(frame: Any, columns: ColumnWriter) -> list[tuple[list[int], list[Description]]]:
    """(places, columns) of what lies together: columns of one numpy dtype, which pandas keeps in one block; each other
    alone.
    """
    import numpy as np

    arrays = list(frame._iter_column_arrays())
    names = [str(name) for name in frame.columns]
    groups: dict[Any, list[int]] = {}
    for place, values in enumerate(arrays):
        groups.setdefault(values.dtype.str if isinstance(values.dtype, np.dtype) else place, []).append(place)
    return [(places, [columns.add(arrays[place], names[place]) for place in places]) for places in groups.values()]


def _restore_frame(labels: Any, index: Any, groups: Any, columns: ColumnReader, rows: int) -> Any:
    import numpy as np

    placed = sorted(place for places, _ in groups for place in places)
    if placed != list(range(len(labels))) or len(index) != rows:
        raise damaged("pandas", "columns are missing, or twice there")
    blocks: list[tuple[Any, Any]] = []
    for places, descriptions in groups:
        values = [columns.take(description) for description in descriptions]
        if len(values) != len(places) or any(len(column) != rows for column in values):
            raise damaged("pandas", "columns of unequal length")
        joined = _as_block(values, rows)
        if joined is not None:
            blocks.append((joined, np.array(places, np.intp)))
        else:
            blocks += [
                (_alone(column), np.array([place], np.intp)) for column, place in zip(values, places, strict=True)
            ]
    return _frame_of(blocks, index, labels)


def _as_block(values: list[Any], rows: int) -> Any:
    """The columns as rows of one array: a view where they lie at equal distances, as in a stream they do; None to keep
    them apart.
    """
    import numpy as np

    first = values[0]
    if not isinstance(first, np.ndarray):
        return None
    if len(values) == 1:
        return _alone(first)
    starts = [column.__array_interface__["data"][0] for column in values]
    strides = set(np.diff(starts).tolist())
    if first.dtype != object and len(strides) == 1 and (stride := strides.pop()) >= first.nbytes:
        return np.lib.stride_tricks.as_strided(first, (len(values), rows), (stride, first.itemsize))
    return np.stack(values) if first.dtype == object or len(values) >= _FRAGMENTED else None


def _alone(values: Any) -> Any:
    import numpy as np

    return values.reshape(1, -1) if isinstance(values, np.ndarray) else values


def _frame_of(blocks: list[tuple[Any, Any]], index: Any, labels: Any) -> Any:
    import pandas as pd

    try:
        from pandas.api.internals import create_dataframe_from_blocks
    except ImportError:  # pandas before 3
        columns = {place: values for block, places in blocks for place, values in _columns_of(block, places)}
        frame = pd.DataFrame({place: columns[place] for place in sorted(columns)}, index=index, copy=False)
        frame.columns = labels
        # A copy joins what would be too many blocks.
        return frame.copy() if len(columns) >= _FRAGMENTED else frame
    return create_dataframe_from_blocks(blocks, index, labels)


def _columns_of(block: Any, places: Any) -> list[tuple[int, Any]]:
    return list(zip(places.tolist(), block if block.ndim == 2 else [block], strict=True))
