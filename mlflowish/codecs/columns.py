"""Columns of pandas as columns of Arrow and back, exactly: the dtype comes back, not one that holds the same values.

Each column is described by a plain tuple whose first member is its kind, and stored in as many Arrow columns as the
kind needs:

    ("numpy", dtype)                  numbers, booleans (as uint8) and times, as they lie in memory
    ("masked", dtype)                 pandas' nullable numbers: values and a validity bitmap
    ("string", storage, na)           `str` and `string` dtypes: large_string
    ("arrow",)                        ArrowDtype: whatever type it has
    ("categorical", dtype of the codes, categories, ordered)    codes; the categories as in `labels`
    ("zoned", unit, zone)             times with a zone: UTC
    ("period", dtype)                 ordinals
    ("interval", left, right, closed)         the columns of both ends
    ("objects", values)               no Arrow column: Python objects, as an object array in the description
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mlflowish.codecs.base import Buffer, Declined
from mlflowish.codecs.ipc import Filling
from mlflowish.codecs.labels import describe_labels, restore_labels, string_dtype, string_dtype_fields
from mlflowish.codecs.refusals import damaged
from mlflowish.codecs.slabs import SLAB_BYTES

Description = tuple[Any, ...]

_GATHER_BYTES = 1 << 20
_TIME_UNITS = ("s", "ms", "us", "ns")


class ColumnWriter:
    """Collects the Arrow columns of one record batch."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.arrays: list[Any] = []
        self.fillings: dict[int, Filling] = {}
        self._placeholders: list[Any] = []

    def add(self, values: Any, name: str) -> Description:
        """The description of a pandas array (or a one-dimensional numpy array), its columns appended. Declined if it
        would not come back.
        """
        import numpy as np

        if isinstance(values, np.ndarray):
            return self._numpy(values, name)
        kind = type(values).__name__
        adders: dict[str, Callable[[Any, str], Description]] = {
            "NumpyExtensionArray": lambda array, name: self._numpy(array.to_numpy(), name),
            "IntegerArray": self._masked,
            "FloatingArray": self._masked,
            "BooleanArray": self._masked,
            "StringArray": self._string,
            "ArrowStringArray": self._string,
            "ArrowStringArrayNumpySemantics": self._string,
            "StringArrayNumpySemantics": self._string,
            "ArrowExtensionArray": self._arrow,
            "Categorical": self._categorical,
            "DatetimeArray": self._times,
            "TimedeltaArray": self._times,
            "PeriodArray": self._period,
            "IntervalArray": self._interval,
        }
        adder = adders.get(kind)
        if adder is None or type(values).__module__.partition(".")[0] != "pandas":
            raise Declined(f"a column of {type(values).__module__}.{kind}")
        return adder(values, name)

    def _append(self, name: str, array: Any) -> None:
        self.names.append(name)
        self.arrays.append(array)

    def _numpy(self, values: Any, name: str) -> Description:
        dtype = values.dtype
        if dtype.kind == "O":
            return "objects", values
        if dtype.kind not in "biufcmM" or dtype.metadata:
            raise Declined(f"a column of dtype {dtype}")
        self._append(name, self._fixed(values, None))
        return "numpy", dtype.str

    def _fixed(self, values: Any, missing: Any) -> Any:
        """Values as an Arrow array that looks into their memory, or into a placeholder where they lie apart."""
        import numpy as np
        import pyarrow as pa

        if missing is None and values.dtype.kind in "mM":
            missing = np.isnat(values)
        validity = None
        if missing is not None and missing.any():
            validity = pa.py_buffer(np.packbits(~missing, bitorder="little"))
        data = pa.py_buffer(self._contiguous(values))
        return pa.Array.from_buffers(arrow_type(values.dtype), len(values), [validity, data])

    def _contiguous(self, values: Any) -> Any:
        import numpy as np

        if values.flags.c_contiguous:
            return values.view(np.uint8)
        if values.nbytes < _GATHER_BYTES:
            return np.ascontiguousarray(values).view(np.uint8)
        placeholder = np.empty(values.nbytes, np.uint8)  # Memory that is never touched is never there.
        self._placeholders.append(placeholder)
        self.fillings[placeholder.ctypes.data] = lambda: _gather(values)
        return placeholder

    def _masked(self, values: Any, name: str) -> Description:
        self._append(name, self._fixed(values._data, values._mask))
        return "masked", values.dtype.name

    def _string(self, values: Any, name: str) -> Description:
        import pyarrow as pa

        dtype = values.dtype
        if dtype.storage == "pyarrow":
            self._append(name, _combined(values._pa_array))
        else:
            try:
                self._append(name, pa.array(values.to_numpy(), pa.large_string(), from_pandas=True))
            except (UnicodeEncodeError, pa.ArrowInvalid) as error:
                raise Declined(f"text that is not Unicode: {error}") from None
        return ("string", *string_dtype_fields(dtype))

    def _arrow(self, values: Any, name: str) -> Description:
        self._append(name, _combined(values._pa_array))
        return ("arrow",)

    def _categorical(self, values: Any, name: str) -> Description:
        self._append(name, self._fixed(values.codes, None))
        return "categorical", values.codes.dtype.str, describe_labels(values.categories), bool(values.ordered)

    def _times(self, values: Any, name: str) -> Description:
        import pandas as pd

        self._append(name, self._fixed(values._ndarray, None))
        if isinstance(values.dtype, pd.DatetimeTZDtype):
            return "zoned", values.dtype.unit, values.dtype.tz
        return "numpy", values.dtype.str

    def _period(self, values: Any, name: str) -> Description:
        import pandas as pd

        # The dtype's name has the spelling of periods ("M"), where the offset's has another ("ME").
        if pd.api.types.pandas_dtype(values.dtype.name) != values.dtype:
            raise Declined(f"periods of {values.dtype.freq!r}")
        self._append(name, self._fixed(values.asi8, None))
        return "period", values.dtype.name

    def _interval(self, values: Any, name: str) -> Description:
        if getattr(values.left, "freq", None) is not None or getattr(values.right, "freq", None) is not None:
            # Before pandas 3 the ends of an interval_range kept its frequency.
            raise Declined("intervals whose ends have a frequency")
        left = self.add(values.left.array, f"{name}.left")
        right = self.add(values.right.array, f"{name}.right")
        return "interval", left, right, values.closed


def arrow_type(dtype: Any) -> Any:
    """The Arrow type whose values lie in memory as those of a numpy dtype do."""
    import pyarrow as pa

    if not dtype.isnative or dtype.kind == "c" or dtype.itemsize > 8:
        return pa.binary(dtype.itemsize)
    if dtype.kind == "b":
        return pa.uint8()
    if dtype.kind in "mM":
        unit = dtype.str.partition("[")[2].rstrip("]")
        if unit not in _TIME_UNITS:
            return pa.int64()
        return pa.timestamp(unit) if dtype.kind == "M" else pa.duration(unit)
    return pa.from_numpy_dtype(dtype)


def _combined(chunked: Any) -> Any:
    import pyarrow as pa

    if chunked.num_chunks == 1:
        return chunked.chunk(0)
    return pa.concat_arrays(chunked.chunks) if chunked.num_chunks else pa.array([], chunked.type)


def _gather(values: Any) -> Iterator[Buffer]:
    import numpy as np

    items = max(1, SLAB_BYTES // values.itemsize)
    for start in range(0, len(values), items):
        yield np.ascontiguousarray(values[start : start + items]).view(np.uint8).data


class ColumnReader:
    """Gives columns of one record batch back, in the order in which they were added."""

    def __init__(self, columns: Sequence[Any], rows: int, buffer: memoryview) -> None:
        import pyarrow as pa

        self._columns = iter(columns)
        self._rows = rows
        self._buffer = buffer
        self._address = pa.py_buffer(buffer).address

    def take(self, description: Description) -> Any:
        """The next column, as a numpy array that the caller may write to, or a pandas array."""
        takers: dict[str, Callable[..., Any]] = {
            "numpy": self._numpy,
            "objects": self._objects,
            "masked": self._masked,
            "string": self._string,
            "arrow": self._arrow,
            "categorical": self._categorical,
            "zoned": self._zoned,
            "period": self._period,
            "interval": self._interval,
        }
        kind, *details = description
        if kind not in takers:
            raise damaged("pandas", f"a column of unknown kind {kind!r}")
        return takers[kind](*details)

    def _fixed(self, dtype: Any) -> tuple[Any, Any]:
        """(the values, the column's Arrow array). A view of the buffer itself: Arrow's own cannot be written to."""
        import numpy as np

        column = next(self._columns)
        if column.type != arrow_type(dtype):
            raise damaged("pandas", f"a column of {column.type} instead of {dtype}")
        data = column.buffers()[1]
        if not self._rows:
            return np.empty(0, dtype), column
        start = data.address - self._address
        values = np.frombuffer(self._buffer, dtype, self._rows, start + column.offset * dtype.itemsize)
        return (values if values.flags.aligned else values.copy()), column

    def _numpy(self, text: str) -> Any:
        import numpy as np

        return self._fixed(np.dtype(text))[0]

    def _objects(self, values: Any) -> Any:
        if values.dtype != object or values.shape != (self._rows,):
            raise damaged("pandas", "a column of objects has another shape")
        return values

    def _masked(self, name: str) -> Any:
        import numpy as np
        import pandas as pd

        dtype = pd.api.types.pandas_dtype(name)
        values, column = self._fixed(np.dtype(bool) if name == "boolean" else dtype.numpy_dtype)
        missing = np.zeros(self._rows, dtype=bool)
        if column.null_count:
            bits = np.frombuffer(column.buffers()[0], np.uint8)
            missing = ~np.unpackbits(bits, bitorder="little")[column.offset : column.offset + self._rows].view(bool)
        return dtype.construct_array_type()(values, missing)

    def _string(self, storage: str, missing: str) -> Any:
        return string_dtype(storage, missing).__from_arrow__(_chunked(next(self._columns)))

    def _arrow(self) -> Any:
        import pandas as pd

        return pd.arrays.ArrowExtensionArray(_chunked(next(self._columns)))

    def _categorical(self, codes_dtype: str, categories: Any, ordered: bool) -> Any:
        import numpy as np
        import pandas as pd

        codes = self._fixed(np.dtype(codes_dtype))[0]
        return pd.Categorical.from_codes(codes, dtype=pd.CategoricalDtype(restore_labels(categories), ordered))

    def _zoned(self, unit: str, zone: Any) -> Any:
        import numpy as np
        import pandas as pd

        values = self._fixed(np.dtype(f"M8[{unit}]"))[0]
        # The constructor that pandas gives to others copies.
        return pd.arrays.DatetimeArray._simple_new(values, dtype=pd.DatetimeTZDtype(unit, zone))

    def _period(self, name: str) -> Any:
        import numpy as np
        import pandas as pd

        return pd.arrays.PeriodArray(
            self._fixed(np.dtype("i8"))[0], dtype=pd.PeriodDtype(name.removeprefix("period[").removesuffix("]"))
        )

    def _interval(self, left: Description, right: Description, closed: Any) -> Any:
        import pandas as pd

        return pd.arrays.IntervalArray.from_arrays(self.take(left), self.take(right), closed)


def _chunked(column: Any) -> Any:
    import pyarrow as pa

    return pa.chunked_array([column])
