"""Signatures in MLflow's words and back (https://mlflow.org/docs/latest/ml/model/signatures/).

MLflow knows fewer types: what it has no word for leaves the whole schema out. It does not say whether a value may be
missing, so what comes from it may miss any.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from mlflowish.errors import IntegrityError
from mlflowish.models.signature import Signature
from mlflowish.models.types import UNFIT, is_tensor, normal, tensor_element

_NAMES = {
    pa.bool_(): "boolean",
    **dict.fromkeys([pa.int8(), pa.int16(), pa.int32(), pa.uint8(), pa.uint16()], "integer"),
    **dict.fromkeys([pa.int64(), pa.uint32()], "long"),
    pa.float32(): "float",
    pa.float64(): "double",
    pa.string(): "string",
    pa.binary(): "binary",
    pa.date32(): "datetime",
}
_TYPES = {
    "boolean": pa.bool_(),
    "integer": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "string": pa.string(),
    "binary": pa.binary(),
    "datetime": pa.timestamp("ns"),
    "any": pa.null(),
}
_DEEPEST = 32


class _NoWord(Exception):
    """MLflow has no word for a type."""


def to_mlflow(signature: Signature | None, *, takes_tensors: bool = False) -> dict[str, str] | None:
    """The entry `signature` of an MLmodel; None if MLflow has no words for the inputs. `takes_tensors`: a model that is
    given its columns one by one, as tensors."""
    if signature is None or (inputs := _schema(signature.inputs, as_tensors=takes_tensors)) is None:
        return None
    outputs = None if signature.outputs is None else _schema(signature.outputs)
    found = {"inputs": inputs, "outputs": outputs}
    return {name: json.dumps(columns) for name, columns in found.items() if columns is not None}


def _schema(schema: pa.Schema, *, as_tensors: bool = False) -> list[dict[str, Any]] | None:
    # MLflow has either columns or tensors.
    as_tensors = as_tensors or any(is_tensor(field.type) for field in schema) or schema.names == [""]
    try:
        return [_tensor(field) if as_tensors else _column(field) for field in schema]
    except _NoWord:
        return None


def _column(field: pa.Field) -> dict[str, Any]:
    return {"name": field.name, "required": True, **_type(field.type)}


def _type(kind: pa.DataType) -> dict[str, Any]:
    kind = normal(kind)
    if kind in _NAMES:
        return {"type": _NAMES[kind]}
    if pa.types.is_timestamp(kind):
        return {"type": "datetime"}
    # MLflow calls categories strings, and then refuses a column that has them: such a schema is left out.
    if pa.types.is_list(kind):
        return {"type": "array", "items": _type(kind.value_type)}
    if pa.types.is_struct(kind):
        members = {member.name: {**_type(member.type), "required": not member.nullable} for member in kind}
        return {"type": "object", "properties": members}
    raise _NoWord


def _tensor(field: pa.Field) -> dict[str, Any]:
    kind = tensor_element(field.type)
    try:
        dtype = "str" if kind == pa.string() else str(pa.array([], kind).to_numpy(zero_copy_only=False).dtype)
    except pa.ArrowException as error:
        raise _NoWord from error
    if dtype == "object":
        raise _NoWord
    shape = [-1, *(field.type.shape if is_tensor(field.type) else ())]
    named = {"name": field.name} if field.name else {}
    return {"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": shape}, **named}


def from_mlflow(record: Any, *, columns_in: str | None = None) -> Signature | None:
    """The signature that an MLmodel tells; None without one, or with one that has no inputs. `columns_in`: what a
    model is given columns in, which MLflow gives in a frame of pandas; what its flavor says if None.
    """
    if not isinstance(record, Mapping) or not record.get("inputs"):
        return None
    inputs, outputs = _parsed(record["inputs"]), record.get("outputs")
    container = "numpy" if inputs.names == [""] else columns_in if _has_columns(record["inputs"]) else None
    return Signature(inputs, _parsed(outputs) if outputs else None, container)


def _has_columns(text: Any) -> bool:
    described = json.loads(text) if isinstance(text, str) else text
    return all(one["type"] != "tensor" for one in described)


def _parsed(text: Any) -> pa.Schema:
    try:
        described = json.loads(text) if isinstance(text, str) else text
        return pa.schema([_field(one, number) for number, one in enumerate(described)])
    except (*UNFIT, KeyError, AttributeError, ImportError, RecursionError) as error:
        raise IntegrityError(f"The signature in an MLmodel makes no sense: {str(error)[:200]}") from error


def _field(described: Any, number: int) -> pa.Field:
    name = described.get("name")
    if described["type"] != "tensor":
        return pa.field("" if name is None else str(name), _arrow_type(described), nullable=True)
    import numpy

    spec = described["tensor-spec"]
    kind = pa.string() if spec["dtype"] in ("str", "object") else pa.from_numpy_dtype(numpy.dtype(spec["dtype"]))
    shape = [int(length) for length in spec["shape"][1:]]
    if any(length < 0 for length in shape):
        kind, shape = pa.null(), []  # a dimension beside the first is free, which a schema of ours has no word for
    return pa.field(str(name or ""), pa.fixed_shape_tensor(kind, shape) if shape else kind, nullable=False)


def _arrow_type(described: Any, depth: int = 0) -> pa.DataType:
    if depth > _DEEPEST:
        raise ValueError("it is nested too deeply")
    kind = described["type"]
    if kind == "array":
        return pa.list_(_arrow_type(described["items"], depth + 1))
    if kind == "object":
        members = described["properties"].items()
        return pa.struct([pa.field(str(name), _arrow_type(inner, depth + 1)) for name, inner in members])
    return _TYPES[kind]
