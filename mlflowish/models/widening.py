"""Numbers of wide pandas frames, widened for all columns of a type at once: each column by itself takes 0.3 ms."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pyarrow as pa

from mlflowish.models.types import may_cast, numpy_type


def widened_numbers(schema: pa.Schema, data: Any, exact: Collection[str]) -> tuple[Any, set[str]]:
    """The frame with its numpy numbers as those of the schema where nothing is lost by that, and which columns these
    are, without the `exact` ones. What is left is for whoever looks at each column, and tells what is wrong with it.
    """
    import pandas

    frames, done = [], set()
    for (dtype, wanted), fields in _alike(schema, data, exact).items():
        block = data[[field.name for field in fields]].to_numpy()
        is_lossy = _is_lossy(block, dtype, wanted)
        is_missing = (block != block).any(axis=0)
        names = [
            field.name
            for field, lossy, missing in zip(fields, is_lossy, is_missing, strict=True)
            if not lossy and (field.nullable or not missing)
        ]
        if len(names) < len(fields):
            block = data[names].to_numpy()
        frames.append(pandas.DataFrame(block.astype(wanted.to_pandas_dtype()), index=data.index, columns=names))
        done.update(names)
    if not done:
        return data, done
    rest = [name for name in data.columns if name not in done]
    return pandas.concat([data[rest], *frames], axis=1) if rest else pandas.concat(frames, axis=1), done


def _alike(schema: pa.Schema, data: Any, exact: Collection[str]) -> dict[tuple[Any, pa.DataType], list[pa.Field]]:
    """The fields by the type that their columns have and the wider one that they are to have."""
    import numpy

    found: dict[tuple[Any, pa.DataType], list[pa.Field]] = {}
    dtypes = dict(zip(data.columns, data.dtypes, strict=True))
    for field in schema:
        dtype = dtypes[field.name]
        if field.name not in exact and isinstance(dtype, numpy.dtype) and dtype.kind in "iuf":
            found.setdefault((dtype, field.type), []).append(field)
    return {(dtype, wanted): fields for (dtype, wanted), fields in found.items() if _is_wider(dtype, wanted)}


def _is_wider(dtype: Any, wanted: pa.DataType) -> bool:
    given = numpy_type(dtype)
    is_number = pa.types.is_integer(wanted) or pa.types.is_floating(wanted)
    return bool(is_number and given is not None and given != wanted and may_cast(given, wanted))


def _is_lossy(block: Any, dtype: Any, wanted: pa.DataType) -> Any:
    """Which columns have whole numbers beyond those that a float tells from their neighbours."""
    import numpy

    if dtype.kind == "f" or pa.types.is_integer(wanted):
        return numpy.zeros(block.shape[1], dtype=bool)
    most = 1 << (numpy.finfo(wanted.to_pandas_dtype()).nmant + 1)
    if numpy.iinfo(dtype).max <= most:
        return numpy.zeros(block.shape[1], dtype=bool)
    is_beyond = block > most
    return (is_beyond | (block < -most) if dtype.kind == "i" else is_beyond).any(axis=0)
