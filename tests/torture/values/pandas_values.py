"""pandas: indexes, names, dtypes, categories, missing values, extension arrays, scalars."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
from groups import Groups

groups = Groups()

WORDS = ["a", "b", "a"]


def frame(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame(columns)


def base() -> pd.DataFrame:
    return pd.DataFrame({"a": [1, 2, 3], "b": [1.0, 2.0, 3.0], "c": ["x", "y", "z"]})


def with_attrs(**attrs: Any) -> pd.DataFrame:
    made = base()
    made.attrs.update(attrs)
    return made


def column_by_column() -> pd.DataFrame:
    made = pd.DataFrame(index=range(3))
    made["a"] = [1, 2, 3]
    made["b"] = [1.0, 2.0, 3.0]
    made["c"] = ["x", "y", "z"]
    return made


def used() -> pd.DataFrame:
    made = base()
    _ = made["a"], made.loc[1], made.describe(), made.index.is_unique, made.index.get_loc(1), made.columns.get_loc("b")
    return made


def multi(names: Any = ("x", "y"), second: Any = ("p", "q")) -> pd.MultiIndex:
    return pd.MultiIndex.from_product([[1, 2], list(second)], names=list(names))


def with_hidden(number: int) -> pd.Series:
    return pd.Series(pd.arrays.IntegerArray(np.array([1, number, 3]), np.array([False, True, False])))


class Special(pd.DataFrame):
    _metadata = ["unit"]  # noqa: RUF012  # what pandas asks for

    @property
    def _constructor(self) -> type:
        return Special


def special(unit: str) -> Special:
    made = Special({"a": [1]})
    made.unit = unit
    return made


groups.distinct(
    "frames",
    base,
    lambda: base()[["b", "a", "c"]],
    lambda: base().rename(columns={"a": "d"}),
    lambda: base().astype({"a": "int32"}),
    lambda: base().astype({"a": "float64"}),
    lambda: base().astype({"b": "int64"}),
    lambda: base().astype({"c": "category"}),
    lambda: base().astype({"c": object}),
    lambda: base().astype({"a": "Int64"}),
    lambda: base().astype({"a": "int64[pyarrow]"}),
    lambda: base().set_axis([1, 2, 3]),
    lambda: base().set_axis(list("xyz")),
    lambda: base().rename_axis("i"),
    lambda: base().rename_axis(columns="i"),
    lambda: base().iloc[::-1],
    lambda: base().iloc[:2],
    lambda: base().set_index("a"),
    lambda: base().T,
    lambda: with_attrs(unit="m"),
    lambda: with_attrs(unit="s"),
    lambda: base().set_flags(allows_duplicate_labels=False),
    lambda: base().to_dict("list"),
    lambda: base()["a"],
    lambda: base().to_numpy(),
    lambda: special("m"),
)
groups.alike(
    "blocks, caches and copies",
    base,
    column_by_column,
    used,
    lambda: base().copy(),
    lambda: pd.concat([base()[["a"]], base()[["b", "c"]]], axis=1),
    lambda: pd.concat([base().iloc[:1], base().iloc[1:]]),
    lambda: base()[["c", "b", "a"]][["a", "b", "c"]],
    lambda: pd.concat([base(), base()]).iloc[:3],
)
groups.distinct(
    "dtypes exchanged between columns",
    lambda: frame(a=[1], b=[2.0], c=[3]),
    lambda: frame(a=[1], b=[2], c=[3.0]),
    lambda: frame(a=[1.0], b=[2], c=[3]),
)
groups.distinct(
    "values exchanged between columns",
    lambda: frame(a=[1, 2], b=[3, 4]),
    lambda: frame(a=[3, 4], b=[1, 2]),
    lambda: frame(a=[1, 3], b=[2, 4]),
    lambda: frame(a=[1, 2, 3, 4]),
)
groups.alike(
    "one block and many",
    lambda: pd.DataFrame(np.arange(6.0).reshape(3, 2), columns=["a", "b"]),
    lambda: frame(a=[0.0, 2.0, 4.0], b=[1.0, 3.0, 5.0]),
    lambda: pd.DataFrame(np.asfortranarray(np.arange(6.0).reshape(3, 2)), columns=["a", "b"]),
)
groups.distinct(
    "columns of one name",
    lambda: pd.DataFrame([[1, 2]], columns=["a", "a"]),
    lambda: pd.DataFrame([[2, 1]], columns=["a", "a"]),
    lambda: pd.DataFrame([[1, 2]], columns=["a", "b"]),
)
groups.distinct(
    "types of column names",
    lambda: pd.DataFrame([[1, 2]], columns=[0, 1]),
    lambda: pd.DataFrame([[1, 2]], columns=["0", "1"]),
    lambda: pd.DataFrame([[1, 2]], columns=[0.0, 1.0]),
    lambda: pd.DataFrame([[1, 2]], columns=[False, True]),
)
groups.distinct(
    "empty frames",
    lambda: pd.DataFrame(),
    lambda: pd.DataFrame(index=[0]),
    lambda: pd.DataFrame(columns=["a"]),
    lambda: pd.DataFrame({"a": pd.Series(dtype="int64")}),
    lambda: pd.DataFrame({"a": pd.Series(dtype="float64")}),
    lambda: pd.DataFrame(index=range(3)),
    lambda: pd.DataFrame({"b": pd.Series(dtype="int64")}),
)
groups.alike(
    "integer indexes",
    lambda: pd.RangeIndex(3),
    lambda: pd.Index([0, 1, 2]),
    lambda: pd.RangeIndex(0, 3, 1),
    lambda: pd.Index(np.arange(6)[::2] // 2),
)
groups.alike("stepped integer indexes", lambda: pd.RangeIndex(5, -4, -3), lambda: pd.Index([5, 2, -1]))
groups.alike(
    "empty integer indexes", lambda: pd.RangeIndex(0), lambda: pd.RangeIndex(5, 5), lambda: pd.Index([], dtype="int64")
)
groups.distinct(
    "indexes",
    lambda: pd.Index([0, 1, 2]),
    lambda: pd.Index([0, 1, 3]),
    lambda: pd.Index([0, 2, 1]),
    lambda: pd.Index([1, 1, 1]),
    lambda: pd.Index([0, 1, 2], dtype="int32"),
    lambda: pd.Index([0.0, 1, 2]),
    lambda: pd.Index(["0", "1", "2"]),
    lambda: pd.Index([0, 1, 2], name="i"),
    lambda: pd.RangeIndex(3, name=0),
    lambda: pd.Index([0, 1, 2], dtype=object),
    lambda: pd.Series([0, 1, 2]),
    lambda: [0, 1, 2],
    lambda: pd.Index([0, 1, 2], dtype="category"),
)
groups.distinct(
    "wrapping integer indexes",
    lambda: pd.Index([0, 2**62, -(2**63), -(2**62)]),
    lambda: pd.Index([0, 2**62]),
    lambda: pd.Index([0, 2**62, 2**63 - 1]),
)
groups.distinct(
    "many-level indexes",
    lambda: multi(),
    lambda: multi(names=("y", "x")),
    lambda: multi(names=(None, None)),
    lambda: multi(second="qp"),
    lambda: multi(second="pr"),
    lambda: multi().swaplevel(),
    lambda: multi().to_flat_index(),
    lambda: multi()[:2],
    lambda: multi()[::-1],
)
groups.alike(
    "spellings of a many-level index",
    lambda: multi(),
    lambda: pd.MultiIndex.from_tuples([(1, "p"), (1, "q"), (2, "p"), (2, "q")], names=["x", "y"]),
)
groups.distinct(
    "many-level frames",
    lambda: pd.DataFrame({"v": range(4)}, index=multi()),
    lambda: pd.DataFrame([range(4)], columns=multi()),
    lambda: pd.DataFrame({"v": range(4)}, index=multi()).reset_index(),
)
groups.distinct(
    "series",
    lambda: pd.Series([1, 2]),
    lambda: pd.Series([1, 2], name="a"),
    lambda: pd.Series([1, 2], name=0),
    lambda: pd.Series([1, 2], index=[1, 2]),
    lambda: pd.Series([1.0, 2.0]),
    lambda: pd.Series([1, 2]).to_frame(),
    lambda: pd.Series([1, 2]).array,
    lambda: pd.Series([True, False]),
    lambda: pd.Series([1, 2], dtype=object),
    lambda: pd.Series([2, 1]),
    lambda: pd.Series(["1", "2"]),
)
groups.distinct(
    "kinds of missing",
    *[
        lambda v=v: pd.Series([1, v], dtype=object)
        for v in (None, np.nan, pd.NA, pd.NaT, "nan", "None", np.datetime64("NaT", "s"))
    ],
)
groups.alike(
    "every NaN in a column",
    lambda: pd.Series([1.0, np.nan]),
    lambda: pd.Series([1.0, -np.nan]),
    lambda: pd.Series([1.0, None]),
)
groups.distinct(
    "missing among floats",
    lambda: pd.Series([1.0, np.nan]),
    lambda: pd.Series([1.0, pd.NA], dtype="Float64"),
    lambda: pd.Series([np.nan, 1.0]),
    lambda: pd.Series([1.0, 0.0]),
)
groups.alike("values under a missing one", lambda: with_hidden(2), lambda: with_hidden(99))
groups.distinct(
    "nullable dtypes",
    *[
        lambda t=t: pd.Series([1, 0, 1], dtype=t)
        for t in (
            "int64",
            "Int64",
            "Int32",
            "UInt8",
            "Float64",
            "Float32",
            "boolean",
            "bool",
            "int64[pyarrow]",
            "bool[pyarrow]",
            "Sparse[int]",
            "category",
        )
    ],
    lambda: pd.Series([1, None, 1], dtype="Int64"),
    lambda: pd.Series([1, None, 1], dtype="boolean"),
)
groups.distinct(
    "text dtypes",
    *[
        lambda t=t: pd.Series(["ab", "c"], dtype=t)
        for t in (object, "string[python]", "string[pyarrow]", "str", "category", "large_string[pyarrow]")
    ],
    lambda: pd.Series(["a", "bc"], dtype="string[pyarrow]"),
    lambda: pd.Series(["a", "bc"], dtype=object),
)
groups.distinct(
    "missing text",
    lambda: pd.Series(["a", None], dtype="string[python]"),
    lambda: pd.Series(["a", ""], dtype="string[python]"),
    lambda: pd.Series([None, "a"], dtype="string[python]"),
    lambda: pd.Series(["a", None], dtype="string[pyarrow]"),
    lambda: pd.Series(["a", "<NA>"], dtype="string[pyarrow]"),
    lambda: pd.Series(["a", None], dtype="str"),
)
groups.distinct(
    "categories",
    lambda: pd.Categorical(WORDS),
    lambda: pd.Categorical(WORDS, ordered=True),
    lambda: pd.Categorical(WORDS, categories=["b", "a"]),
    lambda: pd.Categorical(WORDS, categories=["a", "b", "c"]),
    lambda: pd.Categorical(["x", "y", "x"]),
    lambda: pd.Categorical(["a", "b", None]),
    lambda: pd.Categorical([0, 1, 0]),
    lambda: pd.Series(WORDS, dtype="category"),
    lambda: pd.CategoricalIndex(WORDS),
    lambda: pd.Categorical(WORDS, categories=["b", "a"], ordered=True),
)
groups.distinct(
    "times",
    lambda: pd.Series(pd.to_datetime(["2020-01-01"])),
    lambda: pd.Series(pd.to_datetime(["2020-01-01"])).dt.as_unit("ns"),
    lambda: pd.Series(pd.to_datetime(["2020-01-01"])).dt.as_unit("s"),
    lambda: pd.Series(pd.to_datetime(["2020-01-01"])).dt.tz_localize("UTC"),
    lambda: pd.Series(pd.to_datetime(["2020-01-01"])).dt.tz_localize("Europe/Berlin"),
    lambda: pd.Series([None], dtype="datetime64[us]"),
    lambda: pd.Series(pd.to_timedelta(["1D"])),
    lambda: pd.Series(pd.to_datetime(["2020-01-01"])).dt.to_period("D"),
    lambda: pd.Series(pd.to_datetime(["2020-01-01"])).dt.to_period("M"),
    lambda: pd.Series([dt.date(2020, 1, 1)], dtype=object),
    lambda: pd.Series(["2020-01-01"]),
)
groups.alike(
    "one instant in one zone",
    lambda: pd.Series(pd.to_datetime(["2020-01-01T12:00Z"])).dt.tz_convert("Europe/Berlin"),
    lambda: pd.Series(pd.to_datetime(["2020-01-01T13:00"])).dt.tz_localize("Europe/Berlin"),
)
groups.distinct(
    "frequencies",
    lambda: pd.date_range("2020", periods=3),
    lambda: pd.DatetimeIndex(list(pd.date_range("2020", periods=3))),
    lambda: pd.date_range("2020", periods=3, freq="2D"),
    lambda: pd.date_range("2020", periods=3, tz="UTC"),
    lambda: pd.date_range("2020", periods=3, name="t"),
    lambda: pd.period_range("2020", periods=3, freq="D"),
)
groups.distinct(
    "intervals",
    lambda: pd.interval_range(0, 3),
    lambda: pd.interval_range(0, 3, closed="left"),
    lambda: pd.interval_range(0.0, 3.0),
    lambda: pd.Interval(0, 1),
    lambda: pd.Interval(0, 1, "both"),
    lambda: pd.Interval(0.0, 1.0),
    lambda: pd.arrays.IntervalArray.from_breaks([0, 1, 2, 3]),
)
groups.distinct(
    "sparse columns",
    lambda: pd.Series([0, 0, 1], dtype="Sparse[int]"),
    lambda: pd.Series([0, 1, 0], dtype="Sparse[int]"),
    lambda: pd.Series([0, 0, 1], dtype=pd.SparseDtype(int, 1)),
    lambda: pd.Series([0, 0, 1], dtype="Sparse[float]"),
    lambda: pd.Series([0, 0, 1]),
)
groups.distinct(
    "Arrow columns",
    *[lambda t=t: pd.Series([1, None, 3], dtype=f"{t}[pyarrow]") for t in ("int64", "int32", "float64")],
    lambda: pd.Series([1, 2, 3], dtype="int64[pyarrow]"),
    lambda: pd.Series([1, None, 3], dtype="Int64"),
)
groups.alike(
    "chunks of an Arrow column",
    lambda: pd.Series([1, None, 3], dtype="int64[pyarrow]"),
    lambda: pd.concat(
        [pd.Series([1], dtype="int64[pyarrow]"), pd.Series([None, 3], dtype="int64[pyarrow]")], ignore_index=True
    ),
)
groups.alike(
    "chunks of text",
    lambda: pd.Series(["a", None, "ccc"], dtype="str"),
    lambda: pd.concat([pd.Series(["a"], dtype="str"), pd.Series([None, "ccc"], dtype="str")], ignore_index=True),
    lambda: pd.Series(["x", "a", None, "ccc"], dtype="str").iloc[1:].reset_index(drop=True),
)
groups.distinct(
    "scalars",
    lambda: pd.Timestamp("2020"),
    lambda: pd.Timestamp("2020").as_unit("ns"),
    lambda: pd.Timestamp("2020", tz="UTC"),
    lambda: pd.Timestamp("2020", tz="Europe/Berlin"),
    lambda: pd.Timestamp(2024, 10, 27, 2, 30, tz="Europe/Berlin", fold=0),
    lambda: pd.Timestamp(2024, 10, 27, 2, 30, tz="Europe/Berlin", fold=1),
    lambda: dt.datetime(2020, 1, 1),
    lambda: np.datetime64("2020-01-01"),
    lambda: pd.Timedelta("1D"),
    lambda: pd.Timedelta("1D").as_unit("s"),
    lambda: dt.timedelta(1),
    lambda: pd.Period("2020", "D"),
    lambda: pd.Period("2020", "Y"),
    lambda: pd.NaT,
    lambda: pd.NA,
    lambda: None,
    lambda: float("nan"),
)
groups.distinct(
    "offsets",
    lambda: pd.offsets.MonthEnd(1),
    lambda: pd.offsets.MonthEnd(2),
    lambda: pd.offsets.MonthBegin(1),
    lambda: pd.offsets.Day(1),
    lambda: pd.DateOffset(months=1),
    lambda: pd.DateOffset(days=1),
    lambda: pd.offsets.BusinessDay(1),
)
groups.distinct(
    "dtypes as values",
    lambda: pd.CategoricalDtype(["a", "b"]),
    lambda: pd.CategoricalDtype(["b", "a"]),
    lambda: pd.CategoricalDtype(["a", "b"], ordered=True),
    lambda: pd.Int64Dtype(),
    lambda: pd.Int32Dtype(),
    lambda: pd.StringDtype("python"),
    lambda: pd.StringDtype("pyarrow"),
    lambda: pd.StringDtype("python", na_value=np.nan),
    lambda: pd.DatetimeTZDtype("ns", "UTC"),
    lambda: pd.PeriodDtype("D"),
    lambda: pd.IntervalDtype("int64"),
    lambda: pd.SparseDtype("int64"),
    lambda: np.dtype("int64"),
)
groups.distinct(
    "objects in cells",
    lambda: frame(a=[[1], {"k": 1}]),
    lambda: frame(a=[[1], {"k": 2}]),
    lambda: frame(a=[(1,), {"k": 1}]),
    lambda: frame(a=[np.array([1]), {"k": 1}]),
)
groups.distinct(
    "mixed cells",
    lambda: frame(a=[1, "1"]),
    lambda: frame(a=["1", 1]),
    lambda: frame(a=["1", "1"]),
    lambda: frame(a=[1.0, "1"]),
    lambda: frame(a=[True, "1"]),
)
groups.distinct(
    "text that Arrow cannot hold",
    lambda: pd.Series(["\ud800", "a"], dtype="string[python]"),
    lambda: pd.Series(["\ud801", "a"], dtype="string[python]"),
    lambda: pd.Series(["\ud800", "a"], dtype=object),
)
groups.distinct("subclasses of frames", lambda: special("m"), lambda: special("s"), lambda: frame(a=[1]))
groups.distinct(
    "one different cell in a large frame",
    lambda: frame(a=np.zeros(200_000), b=np.arange(200_000)),
    lambda: frame(a=_poked(), b=np.arange(200_000)),
)


def _poked() -> Any:
    array = np.zeros(200_000)
    array[123_457] = 1e-300
    return array
