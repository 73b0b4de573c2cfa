"""pandas: frames, series, indexes, their extension arrays, dtypes and scalars. Column by column, never block by block.

What a user can see counts: order and names of columns, index and its names, dtypes with categories, time zones and
storage, `attrs`, the `freq` of an index (it decides what `shift` does, and models of time series use it). What they
cannot see does not: blocks, caches, whether an index of consecutive integers is a `RangeIndex`, the value under an
NA.
"""

from __future__ import annotations

from itertools import chain
from typing import Any

from mlflowish.hashing.arrays import array_part, dtype_fields, integers_part
from mlflowish.hashing.builtin import key_text
from mlflowish.hashing.instances import attributes_part
from mlflowish.hashing.tree import Expand, Walk
from mlflowish.hashing.writer import Done, Node, head, leaf, silent


def expander_for(cls: type) -> Expand | None:
    """The expander for a class of pandas, or for a class derived from a frame, a series or an index."""
    import pandas as pd

    exact: dict[type, Expand] = {
        type(pd.NaT): _missing,
        type(pd.NA): _missing,
        pd.Timestamp: _timestamp,
        pd.Timedelta: _timedelta,
        pd.Period: _period,
        pd.Interval: _interval,
    }
    if cls in exact:
        return exact[cls]
    kinds: list[tuple[type, Expand]] = [
        (pd.DataFrame, _frame),
        (pd.Series, _series),
        (pd.Index, _index),
        (pd.api.extensions.ExtensionArray, _array),
        (pd.api.extensions.ExtensionDtype, _dtype),
    ]
    for base, expand in kinds:
        if issubclass(cls, base):
            return expand
    return None


def _frame(value: Any, walk: Walk) -> Node:
    import pandas as pd

    names = list(value.columns)
    columns = (_column(array, walk) for array in value._iter_column_arrays())
    own = (value.columns, value.index, _extras(value, pd.DataFrame, walk))
    record_head = head("pandas frame", len(value), len(names), _class_name(value, pd.DataFrame, walk))
    return Node(
        record_head,
        chain(own, columns),
        lambda i: (".columns", ".index", "")[i] if i < 3 else f"[{key_text(names[i - 3])}]",
    )


def _series(value: Any, walk: Walk) -> Node:
    import pandas as pd

    parts = (value.name, value.index, _extras(value, pd.Series, walk), _column(value.array, walk))
    record_head = head("pandas series", _class_name(value, pd.Series, walk))
    return Node(record_head, parts, lambda i: (".name", ".index", "", "")[i])


def _class_name(value: Any, base: type, walk: Walk) -> tuple[Any, ...]:
    return () if type(value) is base else walk.identity(type(value))


def _extras(value: Any, base: type, walk: Walk) -> Node | Done:
    state: dict[str, Any] = {"attrs": value.attrs, "unique_labels": not value.flags.allows_duplicate_labels}
    if type(value) is not base:
        state.update({f"_{name}": getattr(value, name, None) for name in value._metadata if name != "_name"})
    return attributes_part(state)


def _index(value: Any, walk: Walk) -> Node:
    import pandas as pd

    if isinstance(value, pd.MultiIndex):
        return _multi_index(value, walk)
    own = () if _is_pandas(type(value)) else walk.identity(type(value))
    freq = getattr(value, "freqstr", None) if isinstance(value, pd.DatetimeIndex | pd.TimedeltaIndex) else None
    data = _integer_range(value) or _column(value.array, walk)
    return Node(head("pandas index", freq, *own), (value.name, data), lambda i: (".name", "")[i])


def _multi_index(value: Any, walk: Walk) -> Node:
    # Levels as they are: code that reads `index.levels` sees their order, and those that no row uses.
    codes = (integers_part("codes", _as_array(codes)) for codes in value.codes)
    levels = value.nlevels
    return Node(
        head("pandas multi-index", len(value), levels),
        (list(value.names), *value.levels, *codes),
        lambda i: ".names" if i == 0 else f".levels[{(i - 1) % levels}]",
    )


def _as_array(values: Any) -> Any:
    import numpy as np

    return np.asarray(values)


def _integer_range(index: Any) -> Done | None:
    """The digest of an int64 index of evenly spaced numbers, which a `RangeIndex` holds without writing them out."""
    import numpy as np
    import pandas as pd

    if isinstance(index, pd.RangeIndex):
        return _range_leaf(index.start, index.step, len(index))
    if index.dtype != np.dtype("int64") or not isinstance(index.dtype, np.dtype):
        return None
    values = index.to_numpy()
    if len(values) < 2:
        return _range_leaf(int(values[0]) if len(values) else 0, 1, len(values))
    start, step = int(values[0]), int(values[1]) - int(values[0])
    # The last value first: it is exact in Python, where differences of int64 may wrap.
    if step == 0 or int(values[-1]) != start + step * (len(values) - 1) or not (np.diff(values) == step).all():
        return None
    return _range_leaf(start, step, len(values))


def _range_leaf(start: int, step: int, length: int) -> Done:
    if length == 0:
        start = 0
    if length < 2:
        step = 1
    return leaf("integers", int(start), int(step), length)


def _array(value: Any, walk: Walk) -> Node:
    return Node(head("pandas array"), (_column(value, walk),), silent)


def _column(array: Any, walk: Walk) -> Any:
    """The data of a column, an index or an extension array, with its dtype."""
    import pandas as pd

    if hasattr(array, "to_numpy") and type(array).__name__ in ("NumpyExtensionArray", "PandasArray"):
        return array_part("pandas column", array.to_numpy(), walk)
    if isinstance(array, pd.api.extensions.ExtensionArray):
        return _extension(array, walk)
    return array_part("pandas column", array, walk)


def _extension(array: Any, walk: Walk) -> Any:
    import pandas as pd

    dtype = array.dtype
    known: list[tuple[Any, Any]] = [
        (pd.CategoricalDtype, _categorical),
        (pd.DatetimeTZDtype, _instants),
        (pd.PeriodDtype, _instants),
        (pd.IntervalDtype, _intervals),
        (pd.SparseDtype, _sparse),
        (pd.StringDtype, _strings),
        (pd.ArrowDtype, _arrow),
    ]
    for kind, take in known:
        if isinstance(dtype, kind):
            return Node(head("pandas column", len(array)), (dtype, *take(array, walk)), silent)
    if isinstance(array, pd.arrays.DatetimeArray | pd.arrays.TimedeltaArray):
        return array_part("pandas column", array._ndarray, walk)
    if hasattr(array, "_data") and hasattr(array, "_mask") and _is_pandas(type(array)):
        return Node(head("pandas column", len(array)), (dtype, *_nullable(array, walk)), silent)
    return Node(head("pandas column", *walk.identity(type(array))), (dtype, list(array)), silent)


def _categorical(array: Any, walk: Walk) -> tuple[Any, ...]:
    return (integers_part("codes", _as_array(array.codes)),)


def _instants(array: Any, walk: Walk) -> tuple[Any, ...]:
    return (array_part("instants", array.asi8, walk),)


def _intervals(array: Any, walk: Walk) -> tuple[Any, ...]:
    return (array.left, array.right)


def _sparse(array: Any, walk: Walk) -> tuple[Any, ...]:
    places = array.sp_index.to_int_index().indices
    return (integers_part("places", places), array_part("values", _as_array(array.sp_values), walk))


def _strings(array: Any, walk: Walk) -> tuple[Any, ...]:
    if hasattr(array, "_pa_array"):
        return _text_parts(array._pa_array)
    import pyarrow as pa

    objects = array.to_numpy(dtype=object, na_value=None)
    try:
        return _text_parts(pa.chunked_array([pa.array(objects, type=pa.large_string(), from_pandas=True)]))
    except (UnicodeEncodeError, pa.ArrowInvalid):  # half a surrogate pair: Python text that Arrow cannot hold
        return (objects,)


def _text_parts(chunked: Any) -> tuple[Any, ...]:
    from mlflowish.hashing.arrow import content

    return tuple(content(chunked.type, chunked.chunks))


def _arrow(array: Any, walk: Walk) -> tuple[Any, ...]:
    from mlflowish.hashing.arrow import column

    chunked = array._pa_array if hasattr(array, "_pa_array") else array.__arrow_array__()
    return (column(chunked.type, chunked.chunks if hasattr(chunked, "chunks") else [chunked]),)


def _nullable(array: Any, walk: Walk) -> tuple[Any, ...]:
    data, mask = array._data, array._mask
    if mask.any():
        data = data.copy()
        data[mask] = 0
    return (array_part("data", data, walk), array_part("mask", mask, walk))


# Dtypes and scalars.


def _dtype(value: Any, walk: Walk) -> Node:
    import pandas as pd

    if isinstance(value, pd.CategoricalDtype):
        return Node(head("category", bool(value.ordered)), (value.categories,), lambda i: ".categories")
    if isinstance(value, pd.DatetimeTZDtype):
        return Node(head("datetimetz", value.unit, str(value.tz)), (), silent)
    if isinstance(value, pd.PeriodDtype):
        return Node(head("period", value.freq.freqstr), (), silent)
    if isinstance(value, pd.IntervalDtype):
        return Node(head("interval", value.closed), (value.subtype,), silent)
    if isinstance(value, pd.SparseDtype):
        return Node(head("sparse", dtype_fields(value.subtype)), (value.fill_value,), silent)
    if isinstance(value, pd.StringDtype):
        return Node(head("string", value.storage), (getattr(value, "na_value", pd.NA),), silent)
    if isinstance(value, pd.ArrowDtype):
        return Node(head("arrow dtype"), (value.pyarrow_dtype,), silent)
    if _is_pandas(type(value)):
        return Node(head("pandas dtype", type(value).__name__, value.name), (), silent)
    return Node(
        head("extension dtype", *walk.identity(type(value)), value.name), (attributes_part(dict(vars(value))),), silent
    )


def _missing(value: Any, walk: Walk) -> Done:
    return leaf("pandas", type(value).__name__)


def _timestamp(value: Any, walk: Walk) -> Done:
    zone = None if value.tz is None else str(value.tz)
    return leaf("pd.Timestamp", int(value.asm8.view("int64")), value.unit, value.fold, zone)


def _timedelta(value: Any, walk: Walk) -> Done:
    return leaf("pd.Timedelta", int(value.asm8.view("int64")), value.unit)


def _period(value: Any, walk: Walk) -> Done:
    return leaf("pd.Period", int(value.ordinal), value.freqstr)


def _interval(value: Any, walk: Walk) -> Node:
    return Node(head("pd.Interval", value.closed), (value.left, value.right), lambda i: (".left", ".right")[i])


def _is_pandas(cls: type) -> bool:
    return cls.__module__.partition(".")[0] == "pandas"
