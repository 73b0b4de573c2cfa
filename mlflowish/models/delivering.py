"""Arrow tables and columns as what their users hold: frames, arrays, tensors, values of Python."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from mlflowish.errors import missing_extra
from mlflowish.models.containers import container_of
from mlflowish.models.types import is_tensor


def in_container(table: pa.Table, container: str) -> Any:
    """An Arrow table as what its user wants."""
    if container == "pandas":
        return _to_pandas(table)
    if container == "polars":
        return _from_arrow(table)
    if container == "numpy":
        return _to_numpy(table)
    if container == "structured":
        return _to_structured(table)
    if container in ("torch", "dict"):
        return {name: column_in(container, table.column(name)) for name in table.column_names}
    return table.to_pylist() if container == "list" else table


def column_in(container: str | None, column: pa.ChunkedArray, like: Any = None) -> Any:
    """A column as its user holds it: a series (with the index of `like`, if that has one), an array, tensor or list."""
    if container == "pandas":
        series = pandas_column(column)
        return series.set_axis(like.index) if container_of(like) == "pandas" and hasattr(like, "index") else series
    if container == "polars":
        return _from_arrow(column)
    if container == "torch":
        import torch

        return torch.from_numpy(tensor_of(column).copy())
    if container == "arrow":
        return column.combine_chunks()
    return tensor_of(column) if container == "numpy" or is_tensor(column.type) else column.to_pylist()


def tensor_of(column: pa.ChunkedArray) -> Any:
    """A column as a numpy array; with tensors in it, of all their dimensions."""
    array = column.combine_chunks()
    if is_tensor(column.type):
        array = array.chunk(0) if isinstance(array, pa.ChunkedArray) else array
        return array.to_numpy_ndarray()
    return array.to_numpy(zero_copy_only=False)


def _from_arrow(data: pa.Table | pa.ChunkedArray) -> Any:
    try:
        import polars
    except ImportError as error:
        raise missing_extra("polars", needed_for="This model, which takes polars frames,", cause=error) from error
    return polars.from_arrow(data)


def _to_pandas(table: pa.Table) -> Any:
    try:
        import pandas  # noqa: F401  says what is missing
    except ImportError as error:
        raise missing_extra("pandas", needed_for="This model, which takes pandas frames,", cause=error) from error
    frame = table.to_pandas()
    columns = zip(table.column_names, table.columns, strict=True)
    return with_columns(frame, {name: pandas_column(column) for name, column in columns if _is_masked(column)})


def _is_masked(column: pa.ChunkedArray) -> bool:
    return bool(column.null_count) and str(column.type) in _MASKED


MANY = 50
_MASKED = {
    "bool": "BooleanDtype",
    **{
        f"{sign}int{bits}": f"{name}{bits}Dtype"
        for sign, name in (("", "Int"), ("u", "UInt"))
        for bits in (8, 16, 32, 64)
    },
}


def pandas_column(column: pa.ChunkedArray) -> Any:
    """A column as a pandas series. Whole numbers and booleans of which some are missing stay what they are: a float
    does not hold each of them."""
    import pandas

    if not _is_masked(column):
        return column.to_pandas()
    return column.to_pandas(types_mapper={column.type: getattr(pandas, _MASKED[str(column.type)])()}.get)


def _to_structured(table: pa.Table) -> Any:
    import numpy

    columns = {name: tensor_of(column) for name, column in zip(table.column_names, table.columns, strict=True)}
    made = numpy.empty(len(table), dtype=[(name, array.dtype, array.shape[1:]) for name, array in columns.items()])
    for name, array in columns.items():
        made[name] = array
    return made


def _to_numpy(table: pa.Table) -> Any:
    import numpy

    return numpy.column_stack([tensor_of(column) for column in table.columns])


def with_columns(frame: Any, columns: dict[str, Any]) -> Any:
    """The frame with these columns in the place of its own; the caller's stays as it is."""
    if len(columns) > MANY:  # each one that is set takes longer than the one before
        return type(frame)({name: columns.get(name, frame[name]) for name in frame.columns}, index=frame.index)
    if columns:
        frame = frame.copy(deep=False)
        for name, column in columns.items():
            frame[name] = column
    return frame
