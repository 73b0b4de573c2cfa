"""Signatures: what a model takes and gives, as one Arrow schema each.

Tables have a field for each column. An array has one field without a name, whose type is the array's element type, or,
with more than one dimension, a fixed shape tensor: the first dimension is free.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlflowish.errors import IntegrityError, InvalidInputError, nearest

if TYPE_CHECKING:
    import pyarrow as pa

CONTAINERS = ("pandas", "polars", "arrow", "numpy", "structured", "torch", "dict", "list")


@dataclass(frozen=True, slots=True)
class Signature:
    """What a model takes and gives: an Arrow schema each, `outputs` None if not known.

    A field that is not nullable held no missing values in the example; a field of type null may be of any type.
    `container` is what the model was shown ("pandas", "polars", "arrow", "numpy", "structured" numpy array, "torch",
    "dict" of columns, "list" of dicts), and what it is given whatever a caller has.

    >>> import mlflowish as mf
    >>> signature = mf.infer_signature({"age": [31, 40], "name": ["Ada", None]}, [0.5, 1.5])
    >>> print(signature)
    inputs:  age: int64, name: string?
    outputs: float64
    >>> mf.Signature(signature.inputs).outputs is None
    True
    """

    inputs: pa.Schema
    outputs: pa.Schema | None = None
    container: str | None = None

    def __post_init__(self) -> None:
        import pyarrow as pa

        for name, schema in (("inputs", self.inputs), ("outputs", self.outputs)):
            if not isinstance(schema, pa.Schema) and not (name == "outputs" and schema is None):
                raise InvalidInputError(
                    f"The {name} of a signature are a pyarrow.Schema, found {type(schema).__name__}. "
                    "Give one, or let infer_signature find it in an example."
                )
        if self.container is not None and self.container not in CONTAINERS:
            raise InvalidInputError(f"container is one of {', '.join(CONTAINERS)}, found {self.container!r}")
        if len(set(self.inputs.names)) != len(self.inputs.names):
            raise InvalidInputError(f"Two inputs have the same name: {self.inputs.names}")

    def record(self) -> dict[str, Any]:
        """As JSON, for a manifest."""
        is_structured = self.container == "structured"
        return {
            "inputs": _fields_record(self.inputs),
            "outputs": None if self.outputs is None else _fields_record(self.outputs),
            # Versions that do not know structured arrays give the model a plain one.
            "container": "numpy" if is_structured else self.container,
            **({"structured": True} if is_structured else {}),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Signature:
        """From what a manifest says; IntegrityError if it makes no sense."""
        outputs = record.get("outputs")
        try:
            return cls(
                _schema_from_record(record.get("inputs")),
                None if outputs is None else _schema_from_record(outputs),
                "structured" if record.get("structured") is True else record.get("container"),
            )
        except InvalidInputError as error:
            raise IntegrityError(f"A model's signature makes no sense: {error}") from error

    def document(self) -> dict[str, Any]:
        """For programs: name, type and whether values may be missing, of each column; the name of an array is empty."""
        return {
            "inputs": _listed(self.inputs),
            "outputs": None if self.outputs is None else _listed(self.outputs),
        }

    def __repr__(self) -> str:
        given = "" if self.outputs is None else f" -> {_shown(self.outputs)}"
        return f"Signature({_shown(self.inputs)}{given})"

    def __str__(self) -> str:
        lines = [f"inputs:  {_shown(self.inputs)}"]
        if self.outputs is not None:
            lines.append(f"outputs: {_shown(self.outputs)}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from mlflowish.store.display import card

        rows = [("inputs", _shown(self.inputs))]
        if self.outputs is not None:
            rows.append(("outputs", _shown(self.outputs)))
        return card("Signature", rows)


def infer_signature(
    inputs: Any, outputs: Any = None, *, model: Any = None, nullable: Iterable[str] | bool = False
) -> Signature:
    """The signature that an example of a model's inputs, and of what it gives, shows.

    Both are pandas or polars frames or series, Arrow tables, numpy arrays, torch tensors, a dict of columns, a list of
    dicts, or a list of values. `model` lends the names of its columns to an array without any. `nullable`: columns
    that may miss values although the example has them all; True for every column. InvalidInputError if the example
    has no columns that can be told.

    >>> import mlflowish as mf
    >>> import numpy as np
    >>> print(mf.infer_signature(np.zeros((10, 4), "float32"), np.zeros(10)))
    inputs:  float32[*, 4]
    outputs: float64
    """
    from mlflowish.models.containers import container_of, is_structured, schema_of

    schema = schema_of(inputs, what="inputs")
    if model is not None:
        schema = _with_own_names(schema, model)
    schema = _with_nullable(schema, nullable)
    container = "structured" if is_structured(inputs) else container_of(inputs)
    return Signature(schema, None if outputs is None else schema_of(outputs, what="outputs"), container)


def _with_own_names(schema: pa.Schema, model: Any) -> pa.Schema:
    import pyarrow as pa

    from mlflowish.models.flavors import find_flavor
    from mlflowish.models.types import is_tensor

    own = find_flavor(model).own_schema(model)
    if own is None or own.names == [""] or schema.names != [""] or not is_tensor(schema.field(0).type):
        return schema
    kind = schema.field(0).type
    if list(kind.shape) != [len(own)]:
        raise InvalidInputError(
            f"The example has {'x'.join(map(str, kind.shape))} columns, and the model remembers {len(own)}: "
            f"{own.names}. "
            "Give an example of what the model was fitted on.",
            columns=own.names,
        )
    return pa.schema([pa.field(name, kind.value_type, nullable=schema.field(0).nullable) for name in own.names])


def _with_nullable(schema: pa.Schema, nullable: Iterable[str] | bool) -> pa.Schema:
    import pyarrow as pa

    if nullable is False:
        return schema
    wanted = set(schema.names if nullable is True else nullable)
    if unknown := sorted(wanted - set(schema.names)):
        raise InvalidInputError(
            f"nullable= names {unknown[0]!r}, which is no column; there are "
            f"{', '.join(nearest(unknown[0], schema.names))}",
            column=unknown[0],
        )
    return pa.schema([field.with_nullable(field.nullable or field.name in wanted) for field in schema])


def _fields_record(schema: pa.Schema) -> list[dict[str, Any]]:
    from mlflowish.models.categories import recorded
    from mlflowish.models.types import type_record

    return [
        {"name": field.name, "type": type_record(field.type), "nullable": field.nullable, **recorded(field)}
        for field in schema
    ]


def _schema_from_record(record: Any) -> pa.Schema:
    import pyarrow as pa

    from mlflowish.models.categories import from_record
    from mlflowish.models.types import type_from_record

    fields = []
    for described in record if type(record) is list else [record]:
        match described:
            case {"name": str() as name, "type": kind, "nullable": bool() as nullable}:
                field = pa.field(name, type_from_record(kind), nullable=nullable)
                categories = described.get("categories")
                fields.append(field if categories is None else from_record(field, categories))
            case _:
                raise IntegrityError(f"A model's signature has a field that makes no sense: {str(described)[:200]}")
    return pa.schema(fields)


def _listed(schema: pa.Schema) -> list[dict[str, Any]]:
    return [{"name": field.name, "type": type_text(field.type), "nullable": field.nullable} for field in schema]


def _shown(schema: pa.Schema) -> str:
    return ", ".join(map(field_text, schema)) or "nothing"


def field_text(field: pa.Field) -> str:
    """A field in a line: its name, its type, and `?` if values may be missing."""
    text = type_text(field.type) + ("?" if field.nullable else "")
    return f"{field.name}: {text}" if field.name else text


def type_text(kind: pa.DataType) -> str:
    """A type for people: `float32[*, 4]` for a tensor, `categories of string`."""
    import pyarrow as pa

    from mlflowish.models.types import is_tensor, normal

    kind = normal(kind)
    if is_tensor(kind):
        return f"{type_text(kind.value_type)}[{', '.join(['*', *map(str, kind.shape)])}]"
    if pa.types.is_dictionary(kind):
        return f"categories of {type_text(kind.value_type)}"
    names = {pa.float64(): "float64", pa.float32(): "float32", pa.float16(): "float16", pa.null(): "any"}
    return names.get(kind, str(kind))
