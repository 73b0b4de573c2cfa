"""Data without names (arrays, tensors, series, lists of values), against a signature of one field without a name."""

from __future__ import annotations

from decimal import Decimal
from numbers import Real
from typing import Any

import pyarrow as pa

from mlflowish.errors import InvalidInputError
from mlflowish.models.conforming import Problem, require_no
from mlflowish.models.containers import array_field, as_array, as_numpy, as_table, container_of, is_masked, is_table
from mlflowish.models.delivering import column_in, in_container
from mlflowish.models.signature import type_text
from mlflowish.models.tables import cast_values
from mlflowish.models.types import UNFIT, is_number, is_tensor, may_cast, normal


def conformed_array(field: pa.Field, data: Any, container: str) -> Any:
    """`data` of the element type and inner shape of `field`, in this container."""
    if is_table(data):
        data = in_container(_table(field, data), "numpy")
    if _is_sparse(data):
        _require_width(field, data)
        return data
    if not is_tensor(field.type) and container_of(data) not in ("numpy", "torch"):
        return _conformed_values(field, data, container)
    array = _array(field, data)
    if container_of(data) == "list" and array.dtype.kind == "f" and pa.types.is_floating(_element(field.type)):
        array = array.astype(_element(field.type).to_pandas_dtype())  # floats of Python say nothing of their width
    try:
        found = array_field(array)
    except UNFIT as error:
        _refuse(field, "type", f"the values are no array of {type_text(field.type)}: {str(error)[:120]}")
        raise
    _require_fit(field, found, array)
    is_object = array.dtype.kind == "O" and is_number(_element(found.type)) and _element(field.type) != pa.null()
    if is_object:
        array = array.astype(_element(found.type).to_pandas_dtype())
    if found.type != field.type and array.dtype.kind in "iufbmM" and _element(field.type) != pa.null():
        array = _cast(field, array)
    elif array is not data and container_of(data) == container and not is_object and not is_masked(data):
        return data
    return _delivered(array, data, container)


def _table(field: pa.Field, data: Any) -> pa.Table:
    try:
        return as_table(data)
    except InvalidInputError:
        raise
    except UNFIT as error:
        _refuse(field, "type", f"the values are no array of {type_text(field.type)}: {str(error)[:120]}")
        raise


def _array(field: pa.Field, data: Any) -> Any:
    if container_of(data) == "list" and not data and is_tensor(field.type):
        import numpy

        return numpy.empty((0, *field.type.shape), dtype=_element(field.type).to_pandas_dtype())
    try:
        array = as_numpy(data)
    except UNFIT as error:
        _refuse(field, "shape", f"the values are no array of {type_text(field.type)}: {str(error)[:120]}")
        raise
    if array.ndim == 0:
        text = f"a single {type(data).__name__} was given; give an array or a list, with a place for each row"
        _refuse(field, "shape", text)
    return array


def _is_sparse(data: Any) -> bool:
    return any(base.__module__.startswith("scipy.sparse") for base in type(data).__mro__)


def _require_width(field: pa.Field, data: Any) -> None:
    shape = list(field.type.shape) if is_tensor(field.type) else []
    if list(data.shape[1:]) != shape:
        _refuse(field, "shape", f"the array is of shape {_dims(data.shape)}, not {type_text(field.type)}")


def _require_fit(field: pa.Field, found: pa.Field, array: Any) -> None:
    shapes = [list(kind.shape) if is_tensor(kind) else [] for kind in (found.type, field.type)]
    if shapes[0] != shapes[1]:
        _refuse(field, "shape", f"the array is of shape {_dims(array.shape)}, not {type_text(field.type)}")
    if array.dtype.kind == "O" and _element(found.type) == pa.null() != _element(field.type):
        _require_numbers(field, array)
    if not may_cast(found.type, field.type):
        _refuse(field, "type", f"the array is {type_text(found.type)}, not {type_text(field.type)}")
    if found.nullable and not field.nullable and _element(found.type) != pa.null():
        _refuse(field, "nulls", "values are missing and none may be")


def _require_numbers(field: pa.Field, array: Any) -> None:
    """Objects that Arrow has no one type for are numbers of several kinds, or missing, or fit no type."""
    import numpy

    if not all(value is None or isinstance(value, (Real, Decimal, numpy.bool_)) for value in array.flat):
        _refuse(field, "type", f"the array has values of no one type, not {type_text(field.type)}")
    if not field.nullable and any(value is None for value in array.flat):
        _refuse(field, "nulls", "values are missing and none may be")


def _cast(field: pa.Field, array: Any) -> Any:
    wanted = array.astype(_element(field.type).to_pandas_dtype())
    if array.dtype.kind in "mM":
        if not ((wanted.astype(array.dtype) == array) | (array != array)).all():
            _refuse(field, "type", f"the array has times that {type_text(_element(field.type))} cannot hold exactly")
    elif array.dtype.kind in "iu" and not (wanted.astype(array.dtype) == array).all():
        _refuse(field, "type", f"the array has numbers that {type_text(_element(field.type))} cannot hold exactly")
    return wanted


def _conformed_values(field: pa.Field, data: Any, container: str) -> Any:
    try:
        values = as_array(data)
    except UNFIT as error:
        _refuse(field, "type", f"the values must be {type_text(field.type)}: {str(error).splitlines()[0][:120]}")
        raise
    if not may_cast(values.type, field.type):
        _refuse(field, "type", f"the values are {type_text(values.type)}, not {type_text(field.type)}")
    if not field.nullable and values.null_count:
        _refuse(field, "nulls", f"{values.null_count} values are missing and none may be")
    wanted = normal(field.type)
    is_other = normal(values.type) != wanted and wanted != pa.null()
    if not is_other and (container_of(data) == container or not container):
        return data
    column = pa.chunked_array([values])
    if is_other:
        try:
            column = cast_values(column, wanted)
        except pa.ArrowException as error:
            text = f"the values are {type_text(values.type)} and cannot be {type_text(wanted)}: {str(error)[:120]}"
            _refuse(field, "type", text)
    return column_in(container or container_of(data) or "list", column, data)


def _delivered(array: Any, data: Any, container: str) -> Any:
    if container == "torch" or (not container and container_of(data) == "torch"):
        import torch

        return torch.as_tensor(array)
    if container in ("pandas", "polars", "arrow") and array.ndim == 1:
        return column_in(container, pa.chunked_array([pa.array(array)]))
    return array.tolist() if container == "list" else array


def _element(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if is_tensor(kind) else kind


def _refuse(field: pa.Field, kind: str, text: str) -> None:
    require_no([Problem(field.name, kind, text)], pa.schema([field]))


def _dims(shape: Any) -> str:
    return "x".join(map(str, shape)) or "nothing"
