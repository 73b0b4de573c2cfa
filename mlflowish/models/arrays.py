"""Data without names (arrays, tensors, series, lists of values), against a signature of one field without a name."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from mlflowish.models.conforming import Problem, require_no
from mlflowish.models.containers import array_field, as_array, as_numpy, as_table, container_of, is_table
from mlflowish.models.signature import type_text
from mlflowish.models.tables import in_container
from mlflowish.models.types import is_tensor, may_cast


def conformed_array(field: pa.Field, data: Any, container: str) -> Any:
    """`data` of the element type and inner shape of `field`, in this container."""
    if is_table(data):
        data = in_container(as_table(data), "numpy")
    if _is_sparse(data):
        _require_width(field, data)
        return data
    if not is_tensor(field.type) and container_of(data) not in ("numpy", "torch"):
        return _conformed_values(field, data, container)
    array = as_numpy(data)
    if container_of(data) == "list" and array.dtype.kind == "f" and pa.types.is_floating(_element(field.type)):
        array = array.astype(_element(field.type).to_pandas_dtype())  # floats of Python say nothing of their width
    found = array_field(array)
    _require_fit(field, found, array)
    if found.type != field.type and array.dtype.kind in "iufb":
        array = _cast(field, array)
    elif array is not data and container_of(data) == container:
        return data
    return _delivered(array, data, container)


def _is_sparse(data: Any) -> bool:
    return any(base.__module__.startswith("scipy.sparse") for base in type(data).__mro__)


def _require_width(field: pa.Field, data: Any) -> None:
    shape = list(field.type.shape) if is_tensor(field.type) else []
    if list(data.shape[1:]) != shape:
        _refuse(field, "shape", f"the array is of shape {_dims(data.shape)}, not {type_text(field.type)}")


def _require_fit(field: pa.Field, found: pa.Field, array: Any) -> None:
    shapes = [list(kind.shape) if is_tensor(kind) else [] for kind in (found.type, field.type)]
    if shapes[0] != shapes[1] or (array.ndim == 0):
        _refuse(field, "shape", f"the array is of shape {_dims(array.shape)}, not {type_text(field.type)}")
    if not may_cast(found.type, field.type):
        _refuse(field, "type", f"the array is {type_text(found.type)}, not {type_text(field.type)}")


def _cast(field: pa.Field, array: Any) -> Any:
    wanted = array.astype(_element(field.type).to_pandas_dtype())
    if array.dtype.kind in "iu" and not (wanted.astype(array.dtype) == array).all():
        _refuse(field, "type", f"the array has numbers that {type_text(_element(field.type))} cannot hold exactly")
    return wanted


def _conformed_values(field: pa.Field, data: Any, container: str) -> Any:
    try:
        values = as_array(data)
    except (pa.ArrowException, TypeError, ValueError) as error:
        _refuse(field, "type", f"the values must be {type_text(field.type)}: {str(error).splitlines()[0][:120]}")
        raise
    if not may_cast(values.type, field.type):
        _refuse(field, "type", f"the values are {type_text(values.type)}, not {type_text(field.type)}")
    if not field.nullable and values.null_count:
        _refuse(field, "nulls", f"{values.null_count} values are missing and none may be")
    if container_of(data) == container or not container:
        return data
    if container in ("numpy", "torch"):
        return _delivered(values.to_numpy(zero_copy_only=False), data, container)
    if container == "list":
        return values.to_pylist()
    return values.to_pandas() if container == "pandas" else data


def _delivered(array: Any, data: Any, container: str) -> Any:
    if container == "torch" or (not container and container_of(data) == "torch"):
        import torch

        return torch.as_tensor(array)
    return array.tolist() if container == "list" else array


def _element(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if is_tensor(kind) else kind


def _refuse(field: pa.Field, kind: str, text: str) -> None:
    require_no([Problem(field.name, kind, text)], pa.schema([field]))


def _dims(shape: Any) -> str:
    return "x".join(map(str, shape)) or "nothing"
