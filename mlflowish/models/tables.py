"""Data with named columns, against a schema with named columns."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from mlflowish.errors import InvalidInputError
from mlflowish.models.categories import recoded
from mlflowish.models.conforming import Problem, names_problems, no_column, require_no
from mlflowish.models.containers import (
    as_array,
    as_table,
    columns_table,
    container_of,
    is_structured,
    is_table,
    row_names,
)
from mlflowish.models.delivering import MANY, column_in, in_container, pandas_column, with_columns
from mlflowish.models.signature import type_text
from mlflowish.models.types import UNFIT, is_number, is_tensor, may_cast, normal, numpy_type
from mlflowish.models.widening import widened_numbers


def conformed_table(schema: pa.Schema, data: Any, container: str) -> Any:
    """`data` with the columns of `schema`, in its order and of its types, in this container."""
    kind = container_of(data)
    if kind == "pandas" and container == "pandas" and is_table(data):
        return _conformed_pandas(schema, data)
    if kind == "list" and not data:
        table = schema.empty_table()
    elif kind in ("dict", "list") and is_table(data):
        table = _python_table(schema, data)
    elif is_table(data):
        table = _arrow_table(schema, data)
    elif kind in ("numpy", "torch", "list"):
        table = _named_array(schema, data)
    else:
        raise _no_table(schema, data)
    cast = _cast_table(schema, table)
    if kind == container == "dict":
        return {name: _kept(data[name], table.column(name), cast.column(name)) for name in schema.names}
    if container == "structured" and is_structured(data) and cast.schema.equals(table.schema):
        return data if list(data.dtype.names) == schema.names else data[schema.names]
    rows = in_container(cast, container or kind or "arrow")
    if kind == container == "list":
        # A key that a row does not have is not one whose value is missing.
        return [{name: row[name] for name in row if name in given} for row, given in zip(rows, data, strict=True)]
    return rows


def _kept(values: Any, before: pa.ChunkedArray, after: pa.ChunkedArray) -> Any:
    """The caller's own values where nothing had to be cast, else such as they were."""
    origin = container_of(values)
    if before.type == after.type and not (is_tensor(after.type) and origin == "list"):
        return values
    return after if origin == "arrow" else column_in(origin, after, values)


def _no_table(schema: pa.Schema, data: Any) -> InvalidInputError:
    return InvalidInputError(
        f"The model takes columns with names ({', '.join(schema.names[:8])}), found {type(data).__qualname__}. Give "
        "a pandas or polars frame, an Arrow table, a dict of columns, a list of dicts, or a two-dimensional array.",
        type=type(data).__qualname__,
    )


def _arrow_table(schema: pa.Schema, data: Any) -> pa.Table:
    try:
        table = as_table(data)
    except InvalidInputError:
        raise
    except UNFIT as error:
        require_no(_unfit_columns(schema, data), schema)
        raise InvalidInputError(f"The data are no table: {str(error)[:200]}") from error
    require_no(names_problems(schema, table.column_names), schema)
    return table


def _unfit_columns(schema: pa.Schema, data: Any) -> list[Problem]:
    """What is wrong with data that are no Arrow table, by column."""
    names = list(data.dtype.names) if is_structured(data) else list(getattr(data, "columns", ()))
    if problems := names_problems(schema, names):
        return problems
    for field in schema:
        try:
            as_array(data[field.name])
        except UNFIT as error:
            problems.append(no_column(field, error))
    return problems


def _python_table(schema: pa.Schema, data: Any) -> pa.Table:
    """Values of Python take the types of the schema where they can."""
    is_rows = container_of(data) == "list"
    names = row_names(data) if is_rows else list(data)
    # What may be missing in a row may be missing in all that are there.
    optional = [field.name for field in schema if is_rows and field.nullable and field.name not in names]
    require_no(names_problems(schema, [*names, *optional]), schema)
    problems: list[Problem] = []
    columns: dict[str, pa.Array] = {}
    for field in schema:
        values = [row.get(field.name) for row in data] if is_rows else data[field.name]
        try:
            columns[field.name] = _whole(_python_column(values, field), field)
        except UNFIT as error:
            problems.append(no_column(field, error))
    require_no(problems, schema)
    return columns_table(columns)


def _python_column(values: Any, field: pa.Field) -> pa.Array:
    kind = normal(field.type)
    if is_tensor(kind) or pa.types.is_dictionary(kind) or container_of(values) != "list":
        if is_tensor(kind) and container_of(values) == "list":
            import numpy

            values = numpy.asarray(values, dtype=kind.value_type.to_pandas_dtype())
        return as_array(values, nan_is_missing=True)
    is_missing = not pa.types.is_floating(kind)
    try:
        found = as_array(values, nan_is_missing=is_missing)
    except OverflowError:  # beyond int64, which Arrow takes whole numbers of Python for
        if kind != pa.uint64() or not all(value is None or type(value) is int for value in values):
            raise
        return as_array(values, kind)
    # Of Python's own types only floats say nothing of their width; booleans are no numbers, numbers no texts.
    return as_array(values, kind, nan_is_missing=is_missing) if _same_family(found.type, kind) else found


def _same_family(found: pa.DataType, wanted: pa.DataType) -> bool:
    if pa.types.is_floating(wanted):
        return bool(pa.types.is_floating(found) or pa.types.is_integer(found))
    if pa.types.is_integer(wanted):
        return bool(pa.types.is_integer(found))
    return bool(may_cast(found, wanted)) or pa.types.is_temporal(wanted) or pa.types.is_decimal(wanted)


def _named_array(schema: pa.Schema, data: Any) -> pa.Table:
    """A two-dimensional array, its columns by their place."""
    from mlflowish.models.containers import as_numpy

    array = as_numpy(data)
    if array.ndim != 2 or array.shape[1] != len(schema):
        shape = "x".join(map(str, array.shape)) or "() (a single value)"
        wanted = "1 column" if len(schema) == 1 else f"{len(schema)} columns"
        hint = "" if array.ndim == 2 else "; give two dimensions, a row for each prediction"
        text = f"an array of shape {shape} was given for {wanted}{hint}"
        require_no([Problem(schema.names[0] if schema.names else "", "shape", text)], schema)
    problems: list[Problem] = []
    columns: dict[str, pa.Array] = {}
    for place, field in enumerate(schema):
        try:
            columns[field.name] = pa.array(array[:, place])
        except UNFIT as error:
            problems.append(no_column(field, error))
    require_no(problems, schema)
    return pa.table(columns)


def _cast_table(schema: pa.Schema, table: pa.Table) -> pa.Table:
    problems: list[Problem] = []
    columns = {}
    for field in schema:
        columns[field.name] = recoded(_cast(table.column(field.name), field, problems), field)
    require_no(problems, schema)
    return pa.table(columns)


def _cast(column: pa.ChunkedArray, field: pa.Field, problems: list[Problem]) -> pa.ChunkedArray:
    wanted = normal(field.type)
    if not field.nullable and column.null_count:
        count = column.null_count
        text = f"column {field.name!r} has {count} missing value{'' if count == 1 else 's'} and may have none"
        problems.append(Problem(field.name, "nulls", text))
    if normal(column.type) == wanted or wanted == pa.null():
        return column
    if not may_cast(column.type, wanted):
        text = f"column {field.name!r} is {type_text(column.type)}, not {type_text(wanted)}"
        problems.append(Problem(field.name, "type", text))
        return column
    try:
        return recoded(cast_values(column, wanted), field)
    except pa.ArrowException as error:
        reason = str(error).splitlines()[0][:120]
        text = f"column {field.name!r} is {type_text(column.type)} and cannot be {type_text(wanted)}: {reason}"
        problems.append(Problem(field.name, "type", text))
        return column


def cast_values(column: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    """The column as one of type `wanted`; ArrowInvalid if a value cannot be that without loss."""
    if pa.types.is_dictionary(wanted):
        plain = column.cast(normal(column.type).value_type) if pa.types.is_dictionary(column.type) else column
        return plain.cast(wanted.value_type, safe=True).dictionary_encode()
    if is_tensor(wanted):
        chunks = [_cast_tensor(chunk, wanted) for chunk in column.chunks]
        return pa.chunked_array(chunks, type=wanted)
    return column.cast(wanted, safe=True)


def _cast_tensor(chunk: pa.Array, wanted: pa.DataType) -> pa.Array:
    flat = chunk.storage.flatten().cast(wanted.value_type, safe=True)
    size = wanted.storage_type.list_size
    return pa.ExtensionArray.from_storage(wanted, pa.FixedSizeListArray.from_arrays(flat, size))


def _conformed_pandas(schema: pa.Schema, data: Any) -> Any:
    """A pandas frame stays one: only columns that must be cast are made anew."""
    require_no(names_problems(schema, data.columns), schema)
    problems: list[Problem] = []
    changed: dict[str, Any] = {}
    exact = _exact_columns(schema, data)
    if len(schema) - len(exact) > MANY:
        data, widened = widened_numbers(schema, data, exact)
        exact |= widened
    for field in schema:
        if field.name in exact:
            continue
        column = data[field.name]
        try:
            array = pa.chunked_array([pa.Array.from_pandas(column)])
        except UNFIT as error:
            if field.type != pa.null():  # else of any type, also of one that Arrow does not have
                problems.append(no_column(field, error))
            continue
        cast = _cast(_whole(array, field), field, problems)
        if cast is not array or _is_masked_number(column, cast):
            changed[field.name] = pandas_column(cast).set_axis(data.index)
    require_no(problems, schema)
    if list(data.columns) != schema.names:
        data = data[schema.names]
    return with_columns(data, changed)


def _whole(column: Any, field: pa.Field) -> Any:
    """Floats as the whole numbers that may be missing: a column of which some are missing pandas reads as floats, and
    writes as such into dicts."""
    if not (field.nullable and pa.types.is_integer(field.type) and pa.types.is_floating(column.type)):
        return column
    try:
        return column.cast(field.type, safe=True)
    except pa.ArrowInvalid:  # some are not whole
        return column


def _exact_columns(schema: pa.Schema, data: Any) -> set[str]:
    """The numpy columns of the very type, and without missing values where they may have none. Told for all at once:
    to look at each column of thousands takes a second."""
    numpy_dtype, arrow = _numpy().dtype, {}
    dtypes = dict(zip(data.columns, data.dtypes, strict=True))
    exact, unsure = set(), []
    for field in schema:
        dtype = dtypes[field.name]
        if not isinstance(dtype, numpy_dtype) or dtype.kind not in "iufb":
            continue
        if dtype not in arrow:
            arrow[dtype] = numpy_type(dtype)
        if arrow[dtype] == field.type:
            exact.add(field.name)
            if dtype.kind == "f" and not field.nullable:
                unsure.append(field.name)
    if unsure:
        missing = data[unsure].isna().to_numpy().any(axis=0)
        exact.difference_update(name for name, is_missing in zip(unsure, missing, strict=True) if is_missing)
    return exact


def _is_masked_number(column: Any, cast: pa.ChunkedArray) -> bool:
    """Is it of one of pandas' own types for numbers that may be missing, although none is?"""
    kind = cast.type
    return is_number(kind) and not cast.null_count and not isinstance(column.dtype, _numpy().dtype)


def _numpy() -> Any:
    import numpy

    return numpy
