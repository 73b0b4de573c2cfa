"""Codec pandas: frames, series and indexes come back with every dtype, label and flag, and can be worked on at once."""

import datetime
import io
import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflowish.codecs import decode, encode
from mlflowish.errors import IntegrityError
from mlflowish.hashing import digest

N = 5
COLUMNS = {
    "int": np.arange(N),
    "float": np.array([0.5, np.nan, -0.0, np.inf, 1]),
    "bool": np.array([True, False, True, True, False]),
    "half": np.arange(N, dtype="f2"),
    "complex": np.arange(N) * 1j,
    "big endian": np.arange(N, dtype=">i4"),
    "str": ["a", None, "c", "", "é"],
    "objects": pd.Series(["x", None, 1, 2.5, (1, 2)], dtype=object),
    "surrogates": pd.Series(["\ud800"] * N, dtype=object),
    "text objects": pd.Series(list("abcde"), dtype=object),
    "ordered": pd.Categorical(list("aabba"), categories=["b", "a"], ordered=True),
    "categories": pd.Categorical([3, None, 1, 3, 3]),
    "interval categories": pd.Categorical(pd.interval_range(0, N)),
    "date": pd.date_range("2020", periods=N),
    "seconds": pd.date_range("2020", periods=N, unit="s"),
    "NaT": pd.to_datetime(["2020", None, "2021", None, None]),
    "zone": pd.date_range("2020-10-25", periods=N, freq="h", tz="Europe/Paris"),
    "offset zone": pd.date_range("2020", periods=N, tz=datetime.timezone(datetime.timedelta(hours=2))),
    "duration": pd.to_timedelta([1, None, 3, 4, 5], unit="s"),
    "Int64": pd.array([1, None, 3, 4, 5], dtype="Int64"),
    "boolean": pd.array([True, None, False, True, True], dtype="boolean"),
    "Float32": pd.array([1.5, None, 3, 4, 5], dtype="Float32"),
    "string python": pd.array(["a", None, "b", "c", "d"], dtype="string[python]"),
    "string pyarrow": pd.array(["a", None, "b", "c", "d"], dtype="string[pyarrow]"),
    "period": pd.period_range("2020", periods=N, freq="M"),
    "interval": pd.interval_range(0, N),
    "zoned interval": pd.interval_range(pd.Timestamp("2020", tz="UTC"), periods=N),
    "arrow int": pd.array([1, None, 2, 3, 4], dtype=pd.ArrowDtype(pa.int32())),
    "arrow list": pd.array([[1], None, [2, 3], [], [4]], dtype=pd.ArrowDtype(pa.list_(pa.int64()))),
    "arrow date": pd.array([datetime.date(2020, 1, 1)] * N, dtype=pd.ArrowDtype(pa.date32())),
}


def assert_same(back, value):
    assert type(back) is type(value)
    if isinstance(value, pd.DataFrame):
        pd.testing.assert_frame_equal(back, value, check_freq=True, check_column_type=True, check_exact=True)
        assert type(back.index) is type(value.index)
    elif isinstance(value, pd.Series):
        pd.testing.assert_series_equal(back, value, check_freq=True, check_exact=True)
    else:
        pd.testing.assert_index_equal(back, value, exact=True)
    assert digest(back) == digest(value)


@pytest.mark.parametrize("inline_limit", [0, 1 << 16])
@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_of_each_dtype_comes_back(load, name, inline_limit):
    frame = pd.DataFrame({name: COLUMNS[name]})
    for value in (frame, frame[1:4], frame[::2], frame.iloc[:0]):
        encoded = encode(value, inline_limit=inline_limit)
        assert encoded.codec == "pandas"
        assert_same(load(encoded, allow_pickle=False), value)


@pytest.mark.parametrize("name", COLUMNS)
def test_a_series_and_an_index_of_each_dtype_come_back(load, name):
    series = pd.Series(COLUMNS[name], name=name)
    # pandas has no index of half floats.
    for value in (series, pd.Index(series, name=("a", 1))) if name != "half" else (series,):
        encoded = encode(value)
        assert encoded.codec == "pandas"
        assert_same(load(encoded), value)


def frame_with(**changes):
    frame = pd.DataFrame({"a": [1, 2], "b": [0.5, None]})
    for name, value in changes.items():
        setattr(frame, name, value)
    return frame


FRAMES = {
    "everything": pd.DataFrame(COLUMNS),
    "nothing": pd.DataFrame(),
    "rows only": pd.DataFrame(index=[1, 2, 3]),
    "columns only": pd.DataFrame({"a": [], "b": pd.Series([], dtype="Int8")}),
    "column names twice": pd.DataFrame([[1, 2.0, 3]], columns=["a", "a", "b"]),
    "column names of all kinds": pd.DataFrame([[1, 2, 3, 4, 5]], columns=["a", 8, ("a", 2), None, 1.5]),
    "columns of levels": pd.DataFrame(
        np.eye(2), columns=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["x", None])
    ),
    "columns of dates": pd.DataFrame(np.eye(2), columns=pd.date_range("2020", periods=2)),
    "columns of categories": pd.DataFrame(np.eye(2), columns=pd.CategoricalIndex(["b", "a"])),
    "named columns": frame_with(columns=pd.Index(["a", "b"], name="names")),
    "index of levels": pd.DataFrame(
        {"x": range(4)},
        index=pd.MultiIndex.from_product([["a", "b"], pd.to_datetime(["2020", "2021"])], names=["p", None]),
    ),
    "index of levels with holes": pd.DataFrame({"x": [1, 2]}, index=pd.MultiIndex.from_arrays([["a", None], [1, 2]])),
    "index with steps": frame_with(index=pd.RangeIndex(10, 4, -3, name="r")),
    "index of floats": frame_with(index=pd.Index([0.5, np.nan])),
    "index of bytes": frame_with(index=pd.Index([1, 2], dtype="uint8")),
    "index with frequency": frame_with(index=pd.date_range("2020-01-03", periods=2, freq="B")),
    "index of business hours": frame_with(
        index=pd.date_range("2020-01-03 10:00", periods=2, freq=pd.offsets.BusinessHour())
    ),
    "attrs": frame_with(attrs={"unit": ["m", {"scale": 2}]}),
    "array in attrs": frame_with(attrs={"weights": np.arange(3)}),
    "no duplicate labels": pd.DataFrame({"a": [1]}).set_flags(allows_duplicate_labels=False),
    "transposed": pd.DataFrame(np.random.default_rng(0).random((4, 3))).T,
    "a view of a C-ordered array": pd.DataFrame(np.arange(12.0).reshape(4, 3), copy=False),
    "wide": pd.DataFrame(np.random.default_rng(0).random((3, 250))),
    "wide and mixed": pd.DataFrame({n: [n] if n % 2 else [n / 2] for n in range(250)}),
    "arrays in cells": pd.DataFrame({"a": [np.arange(3), np.arange(2)]}),
}


@pytest.mark.parametrize("inline_limit", [0, 1 << 16])
@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_comes_back_with_its_labels_and_flags(load, name, inline_limit):
    value = FRAMES[name]
    encoded = encode(value, inline_limit=inline_limit)
    back = load(encoded)
    assert encoded.codec == "pandas" or name == "index of business hours"
    if name != "array in attrs":
        assert_same(back, value)
        assert back.attrs == value.attrs
    assert back.flags == value.flags
    assert digest(back) == digest(value)


cells = {
    "int64": st.integers(-(2**63), 2**63 - 1),
    "float64": st.floats(),
    "object": st.none() | st.text(max_size=3) | st.integers() | st.floats(),
    "str": st.none() | st.text(max_size=3),
    "Int64": st.none() | st.integers(-5, 5),
    "boolean": st.none() | st.booleans(),
    "category": st.sampled_from(["a", "b", None]),
    "datetime64[ns]": st.datetimes(datetime.datetime(1700, 1, 1), datetime.datetime(2200, 1, 1)),
}
labels = st.one_of(
    st.text(max_size=2), st.integers(-3, 3), st.tuples(st.integers(0, 2), st.text(max_size=1)), st.none()
)


@st.composite
def frames(draw):
    rows = draw(st.integers(0, 4))
    dtypes = draw(st.lists(st.sampled_from(sorted(cells)), max_size=4))
    data = [pd.Series(draw(st.lists(cells[d], min_size=rows, max_size=rows)), dtype=d) for d in dtypes]
    frame = pd.concat(data, axis=1) if data else pd.DataFrame(index=range(rows))
    frame.columns = pd.Index(draw(st.lists(labels, min_size=len(data), max_size=len(data))), tupleize_cols=False)
    if draw(st.booleans()):
        frame.index = pd.Index(draw(st.lists(labels, min_size=rows, max_size=rows)), tupleize_cols=False)
    return frame


# Digests look for nan with a dot product, which may overflow without harm.
@pytest.mark.filterwarnings("ignore:overflow encountered in dot:RuntimeWarning")
@settings(max_examples=60, deadline=None)
@given(frame=frames(), inline_limit=st.sampled_from([0, 1 << 16]))
def test_any_frame_comes_back_equal_in_digest(load, frame, inline_limit):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        back = load(encode(frame, inline_limit=inline_limit))
        pd.testing.assert_frame_equal(back, frame, check_exact=True)
    assert digest(back) == digest(frame)


def test_the_columns_rest_in_a_stream_that_arrow_reads(store_part):
    encoded = encode(pd.DataFrame({"a": [1, 2], "when": pd.to_datetime(["2020", None])}), inline_limit=0)
    table = pa.ipc.open_stream(io.BytesIO(bytes(store_part(encoded.parts[-1]).buffer()))).read_all()
    assert table["a"].to_pylist() == [1, 2]
    assert table["when"].to_pylist() == [datetime.datetime(2020, 1, 1), None]


def test_columns_of_numbers_are_written_from_the_frames_memory_and_mapped_on_load(store_part):
    frame = pd.DataFrame({"a": np.arange(100_000.0), "b": np.arange(100_000.0), "c": np.arange(100_000)})
    encoded = encode(frame)
    slabs = [np.frombuffer(slab, "u1") for slab in encoded.parts[-1].chunks() if len(slab) > 1000]
    assert all(any(np.shares_memory(slab, frame[name].to_numpy()) for slab in slabs) for name in frame)

    class Kept(store_part):
        def buffer(self):
            self.given = super().buffer()
            return self.given

    parts = [Kept(part) for part in encoded.parts]
    back = decode(encoded.codec, encoded.head, parts)
    assert all(np.shares_memory(np.frombuffer(parts[-1].given, "u1"), back[name].to_numpy()) for name in back)
    assert len(back._mgr.blocks) == 2


def test_a_loaded_frame_can_be_worked_on_like_a_computed_one(load):
    frame = pd.DataFrame({"a": [1, 2], "b": [0.5, 1.5], "c": pd.array([1, None], dtype="Int64"), "s": ["x", "y"]})
    for inline_limit in (0, 1 << 16):
        encoded = encode(frame, inline_limit=inline_limit)
        back = load(encoded)
        back.loc[0, "a"] = 7
        back.iloc[1, 1] = 8.5
        back["c"] = back["c"].fillna(0)
        back.loc[1, "s"] = "z"
        back["new"] = back["a"] * 2
        back["s"] = back["s"].str.upper()
        assert back.to_numpy().tolist() == [[7, 0.5, 1, "X", 14], [2, 8.5, 0, "Z", 4]]
        assert_same(load(encoded), frame)


def test_a_wide_loaded_frame_is_not_fragmented(roundtrip):
    back = roundtrip(FRAMES["wide"])
    back["new"] = 1
    back = roundtrip(pd.DataFrame({f"{n}": [n, "x"] for n in range(150)}))
    back["new"] = 1


@pytest.mark.parametrize(
    "value",
    [
        pd.DataFrame({"a": pd.arrays.SparseArray([0, 0, 1])}),
        frame_with(index=pd.Index([1, 2], name=print)),
        type("Mine", (pd.DataFrame,), {})({"a": [1]}),
    ],
    ids=["sparse", "a function as a name", "subclass"],
)
def test_what_arrow_cannot_say_is_pickled(load, value):
    encoded = encode(value)
    assert encoded.codec == "pickle"
    assert type(load(encoded)).__name__ == type(value).__name__


def test_damage_is_refused(bytes_part, store_part):
    encoded = encode(FRAMES["everything"], inline_limit=0)
    parts = [store_part(part) for part in encoded.parts]
    with pytest.raises(IntegrityError):
        decode("pandas", encoded.head, parts[:-1])
    with pytest.raises(IntegrityError):
        decode("pandas", encoded.head, [])
    cut = bytes(parts[-1].buffer())[:-200]
    with pytest.raises(IntegrityError):
        decode("pandas", encoded.head, [*parts[:-1], bytes_part(cut)])
    other = encode(pd.DataFrame({"x": [1, 2, 3]}), inline_limit=0)
    with pytest.raises(IntegrityError):
        decode("pandas", encoded.head, [*parts[:-1], store_part(other.parts[-1])])
