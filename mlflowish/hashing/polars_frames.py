"""polars: frames, series and their types, through Arrow. A lazy frame is refused: its data is outside of it."""

from __future__ import annotations

from typing import Any

from mlflowish.hashing.arrow import content
from mlflowish.hashing.builtin import key_text
from mlflowish.hashing.tree import Expand, Walk
from mlflowish.hashing.writer import Done, Node, head, leaf, silent


def expander_for(cls: type) -> Expand | None:
    """The expander for a class of polars."""
    import polars as pl

    if issubclass(cls, pl.DataFrame):
        return _frame
    if issubclass(cls, pl.Series):
        return _series
    if issubclass(cls, pl.LazyFrame):
        return _lazy
    if issubclass(cls, pl.DataType):
        return _dtype
    return None


def _frame(value: Any, walk: Walk) -> Node:
    import polars as pl

    names = value.columns
    identity = () if type(value) is pl.DataFrame else walk.identity(type(value))
    columns = [_column(value.to_series(i), walk) for i in range(len(names))]
    return Node(
        head("polars frame", value.height, tuple(names), *identity), columns, lambda i: f"[{key_text(names[i])}]"
    )


def _series(value: Any, walk: Walk) -> Node:
    import polars as pl

    identity = () if type(value) is pl.Series else walk.identity(type(value))
    return Node(head("polars series", value.name, *identity), (_column(value, walk),), silent)


def _lazy(value: Any, walk: Walk) -> Node:
    walk.refuse(value, "a lazy frame is a plan, whose data may be in files that change; call .collect() first")


def _dtype(value: Any, walk: Walk) -> Done:
    return leaf("polars dtype", dtype_fields(value))


def dtype_fields(dtype: Any) -> tuple[Any, ...]:
    """A polars dtype as plain tuples: its class and parameters, down to the inner ones."""
    import polars as pl

    name = type(dtype).__name__ if isinstance(dtype, pl.DataType) else dtype.__name__
    if isinstance(dtype, pl.Struct):
        return (name, tuple((field.name, dtype_fields(field.dtype)) for field in dtype.fields))
    if isinstance(dtype, pl.Enum):
        return (name, tuple(dtype.categories.to_list()))
    if isinstance(dtype, pl.Categorical):
        return (name, *_named_categories(dtype))
    details = tuple(
        getattr(dtype, detail, None) for detail in ("time_unit", "time_zone", "precision", "scale", "shape")
    )
    inner = getattr(dtype, "inner", None)
    return (name, details, None if inner is None else dtype_fields(inner))


def _named_categories(dtype: Any) -> tuple[str, str]:
    """The name and namespace of a set of categories; empty for the global one, and before polars had named ones."""
    categories: Any = getattr(dtype, "categories", None)
    return (categories.name(), categories.namespace()) if hasattr(categories, "namespace") else ("", "")


def _column(series: Any, walk: Walk) -> Node:
    import polars as pl
    import pyarrow as pa

    record_head = head("polars column", dtype_fields(series.dtype), len(series))
    if series.dtype == pl.Object:
        return Node(record_head, (series.to_list(),), silent)
    if _has_categories(series.dtype):
        series = series.cast(_as_text(series.dtype))  # the codes depend on what else was read in the process
    try:
        data = series.to_arrow()
    except pa.ArrowInvalid:  # integers of 128 bits
        return Node(record_head, (series.to_list(),), silent)
    return Node(record_head, content(data.type, [data]), silent)


def _has_categories(dtype: Any) -> bool:
    import polars as pl

    if isinstance(dtype, pl.Categorical | pl.Enum):
        return True
    if isinstance(dtype, pl.Struct):
        return any(_has_categories(field.dtype) for field in dtype.fields)
    return getattr(dtype, "inner", None) is not None and _has_categories(dtype.inner)


def _as_text(dtype: Any) -> Any:
    import polars as pl

    if isinstance(dtype, pl.Categorical | pl.Enum):
        return pl.String()
    if isinstance(dtype, pl.Struct):
        return pl.Struct([pl.Field(field.name, _as_text(field.dtype)) for field in dtype.fields])
    if isinstance(dtype, pl.List):
        return pl.List(_as_text(dtype.inner))
    if isinstance(dtype, pl.Array):
        return pl.Array(_as_text(dtype.inner), dtype.shape[0])
    return dtype
