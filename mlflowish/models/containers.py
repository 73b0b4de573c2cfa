"""What callers hold their data in: which container it is, its schema, and its columns as Arrow arrays.

Nothing is imported that the data do not come from. Missing values are nulls; NaN is one in a pandas column, where it
is how a missing value looks, and a number in an array.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from mlflowish.errors import InvalidInputError
from mlflowish.models.categories import remembered
from mlflowish.models.types import UNFIT, normal

_LIBRARIES = {"pandas": "pandas", "polars": "polars", "pyarrow": "arrow", "numpy": "numpy", "torch": "torch"}


def container_of(data: Any) -> str | None:
    """The name of the container that `data` are in; None for one that is not known."""
    for base in type(data).__mro__:
        if (name := _LIBRARIES.get(base.__module__.partition(".")[0])) is not None:
            return name
    if isinstance(data, Mapping):
        return "dict"
    return "list" if isinstance(data, (list, tuple)) else None


def is_table(data: Any) -> bool:
    """Have the data columns with names?"""
    kind = container_of(data)
    if type(data).__name__ == "LazyFrame":
        return kind == "polars"
    if kind in ("pandas", "polars", "arrow"):
        return hasattr(data, "columns") and getattr(data, "ndim", 2) == 2
    if kind == "list":
        return bool(data) and all(isinstance(row, Mapping) for row in data)
    if kind == "numpy":
        return is_structured(data)
    return kind == "dict" or hasattr(data, "__arrow_c_stream__")


def is_structured(data: Any) -> bool:
    """Is it a numpy array whose columns have names?"""
    return container_of(data) == "numpy" and getattr(getattr(data, "dtype", None), "names", None) is not None


def schema_of(data: Any, *, what: str) -> pa.Schema:
    """The schema of an example: fields with nulls are nullable. InvalidInputError if it has none that can be told."""
    try:
        if is_table(data):
            table = as_table(data)
            if len(set(table.column_names)) < len(table.column_names):
                raise ValueError(f"Two columns have the same name: {table.column_names}")
            if table.column_names == [""]:
                raise ValueError("its one column has no name. Name it, or give it as an array")
            fields = [_field(name, table.column(name)) for name in table.column_names]
            if container_of(data) == "pandas":
                fields = remembered(fields, table)
            return pa.schema(fields)
        if container_of(data) is not None:
            return pa.schema([array_field(data)])
    except UNFIT as error:
        raise InvalidInputError(f"No signature can be inferred from these {what}: {error}") from error
    raise InvalidInputError(
        f"No signature can be inferred from {what} of type {type(data).__module__}.{type(data).__qualname__}. "
        "Give a frame, an Arrow table, an array, a dict of columns or a list of dicts, or make a Signature of Arrow "
        "schemas.",
        type=type(data).__qualname__,
    )


def _field(name: str, column: pa.ChunkedArray) -> pa.Field:
    kind = normal(column.type)
    return pa.field(name, kind, nullable=bool(column.null_count) or kind == pa.null())


def as_table(data: Any) -> pa.Table:
    """Data with named columns as an Arrow table, its nulls as they are."""
    kind = container_of(data)
    if kind == "pandas":
        _require_text_names(data.columns)
        return pa.Table.from_pandas(data, preserve_index=False).replace_schema_metadata(None)
    if kind == "polars":
        return (data.collect() if hasattr(data, "collect") else data).to_arrow()
    if kind == "arrow":
        return data if isinstance(data, pa.Table) else pa.Table.from_batches([data])
    if kind == "numpy":
        return pa.table({name: as_array(data[name]) for name in data.dtype.names})
    if kind == "dict":
        return columns_table({name: as_array(values) for name, values in data.items()})
    if kind == "list":
        return columns_table({name: as_array([row.get(name) for row in data]) for name in row_names(data)})
    return pa.table(data)


def columns_table(columns: Mapping[str, pa.Array]) -> pa.Table:
    """A table of these columns; InvalidInputError if they are not of one length, or a name is no text."""
    _require_text_names(columns)
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise InvalidInputError(f"The columns must be of one length, found {lengths}", lengths=lengths)
    return pa.table(dict(columns))


def row_names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys of a list of dicts, in the order in which they come first."""
    return list(dict.fromkeys(name for row in rows for name in row))


def _require_text_names(names: Iterable[Any]) -> None:
    if wrong := [name for name in names if not isinstance(name, str)]:
        raise InvalidInputError(
            f"Columns must have texts as names, found {wrong[0]!r} ({type(wrong[0]).__name__}). Rename it.",
            column=wrong[0],
        )


def as_array(values: Any, kind: pa.DataType | None = None, *, nan_is_missing: bool = False) -> pa.Array:
    """One column as an Arrow array; values of Python become `kind` where they can without loss.

    A float of Python is rounded to a float32 that is wanted: it says nothing of its width. `nan_is_missing`: NaN among
    values of Python is how pandas writes a missing one, of any type.
    """
    if isinstance(values, pa.ChunkedArray):
        return values.combine_chunks()
    if isinstance(values, pa.Array):
        return values
    origin = container_of(values)
    if origin == "pandas":
        return pa.Array.from_pandas(values)
    if origin == "polars":
        return values.to_arrow()
    if origin in ("numpy", "torch"):
        return array_of_tensor(as_numpy(values))
    if kind is None and isinstance(values, (list, tuple)) and values and container_of(values[0]) in ("numpy", "torch"):
        return array_of_tensor(as_numpy(values))
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise TypeError(f"a single {type(values).__name__} was given; give a list of values, or of dicts that are rows")
    return pa.array(list(values), type=None if kind == pa.null() else kind, from_pandas=nan_is_missing)


def as_numpy(data: Any) -> Any:
    """Data without names as a numpy array."""
    import numpy

    if container_of(data) == "torch":
        try:
            return data.detach().cpu().numpy()
        except TypeError as error:
            raise TypeError(
                f"Arrow has no type for {data.dtype}. A model stored without signature and input example takes any"
            ) from error
    if is_masked(data):
        if data.dtype.kind != "f":
            raise InvalidInputError(
                f"A masked array of {data.dtype} has values that are missing, and no number that says so. Give floats "
                "with NaN, or a frame."
            )
        return data.filled(numpy.nan)
    if hasattr(data, "to_numpy"):
        return data.to_numpy()
    try:
        return numpy.asarray(data)
    except ValueError as error:
        raise InvalidInputError(
            f"A {type(data).__name__} of this shape is no array: {str(error)[:200]}. Give rows of the same length."
        ) from error


def is_masked(data: Any) -> bool:
    """Is it a masked array of numpy with a value behind its mask? Libraries look behind it."""
    return container_of(data) == "numpy" and hasattr(data, "mask") and bool(data.mask.any())


def array_of_tensor(array: Any) -> pa.Array:
    """A numpy array as an Arrow one: with more than one dimension, an array of tensors."""
    import numpy

    if array.ndim <= 1:
        return pa.array(array.reshape(-1))
    flat = pa.array(numpy.ascontiguousarray(array).reshape(-1))
    shape = array.shape[1:]
    size = int(numpy.prod(shape))
    kind = pa.fixed_shape_tensor(flat.type, shape)
    return pa.ExtensionArray.from_storage(kind, pa.FixedSizeListArray.from_arrays(flat, size))


def array_field(data: Any) -> pa.Field:
    """The field without a name that describes data without names."""
    if container_of(data) in ("numpy", "torch") or _is_nested(data):
        array = as_numpy(data)
        if array.dtype.kind == "O":
            return _object_field(array)
        return pa.field("", tensor_type(array.dtype, array.shape), nullable=False)
    values = as_array(data)
    kind = normal(values.type)
    return pa.field("", kind, nullable=bool(values.null_count) or kind == pa.null())


def _object_field(array: Any) -> pa.Field:
    """What Python objects in an array are: of one type, or of any."""
    try:
        values = pa.array(array.reshape(-1), from_pandas=True)
        kind, is_missing = normal(values.type), bool(values.null_count)
    except (pa.ArrowException, OverflowError):
        kind, is_missing = pa.null(), True
    shaped = kind if array.ndim <= 1 else pa.fixed_shape_tensor(kind, array.shape[1:])
    return pa.field("", shaped, nullable=is_missing or kind == pa.null())


def _is_nested(data: Any) -> bool:
    return isinstance(data, (list, tuple)) and bool(data) and container_of(data[0]) in ("numpy", "torch", "list")


def tensor_type(dtype: Any, shape: tuple[int, ...]) -> pa.DataType:
    """The type of an array of this dtype and shape, the first dimension left out."""
    kind = pa.string() if dtype.kind in "UO" or str(dtype) == "StringDType()" else pa.from_numpy_dtype(dtype)
    return kind if len(shape) <= 1 else pa.fixed_shape_tensor(kind, shape[1:])
