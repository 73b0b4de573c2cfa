"""The labels of pandas objects (columns, categories, levels) as members of a stream: short ones as plain values, others
as an Index of their own.
"""

from __future__ import annotations

from typing import Any

from mlflowish.codecs.base import Declined
from mlflowish.codecs.refusals import damaged, not_here

_MOST_INLINE = 10_000
_INDEXES = [
    "Index",
    "RangeIndex",
    "MultiIndex",
    "DatetimeIndex",
    "TimedeltaIndex",
    "PeriodIndex",
    "IntervalIndex",
    "CategoricalIndex",
]


def describe_labels(index: Any) -> Any:
    """Plain tuples for the usual kinds; the Index itself for the others, which a stream takes out as a leaf."""
    import pandas as pd

    require_known(index)
    if type(index) is pd.RangeIndex:
        return "range", index.start, index.stop, index.step, index.name
    if type(index) is not pd.Index or len(index) > _MOST_INLINE:
        return index
    if index.dtype == object:
        return "objects", index.to_numpy(), index.name
    if isinstance(index.dtype, pd.StringDtype):
        return "text", index.tolist(), string_dtype_fields(index.dtype), index.name
    return index


def restore_labels(description: Any) -> Any:
    """The Index that was described."""
    import pandas as pd

    match description:
        case ("range", int() as start, int() as stop, int() as step, name):
            return pd.RangeIndex(start, stop, step, name=name)
        case ("objects", values, name):
            return pd.Index(values, dtype=object, name=name, tupleize_cols=False)
        case ("text", list() as values, (storage, missing), name):
            return pd.Index(values, dtype=string_dtype(storage, missing), name=name, tupleize_cols=False)
        case pd.Index():
            return description
    raise damaged("pandas", "labels of an unknown kind")


def require_known(index: Any) -> None:
    """Declined for an Index of a class of somebody's own."""
    import pandas as pd

    if not any(type(index) is getattr(pd, name) for name in _INDEXES):
        raise Declined(f"an index of type {type(index).__qualname__}")


def string_dtype_fields(dtype: Any) -> tuple[str, str]:
    """(storage, what stands for missing text) of a StringDtype."""
    return dtype.storage, "nan" if isinstance(getattr(dtype, "na_value", None), float) else "NA"


def string_dtype(storage: str, missing: str) -> Any:
    """The StringDtype of these fields."""
    import numpy as np
    import pandas as pd

    try:
        return pd.StringDtype(storage, na_value=np.nan) if missing == "nan" else pd.StringDtype(storage)
    except TypeError as error:
        raise not_here("pandas", f"pandas {pd.__version__} has no text of dtype str") from error
