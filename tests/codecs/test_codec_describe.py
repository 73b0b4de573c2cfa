"""Descriptions are short, cheap and safe: no user's code runs, nothing is imported, nothing raises."""

import datetime
import functools
import math
import pathlib
import threading

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflowish.codecs import describe

SEEN = {
    "None": None,
    "0.1": 0.1,
    "nan": math.nan,
    "'abc'": "abc",
    "b'abc'": b"abc",
    "True": True,
    "10": 10,
    "int of 4,000 bits": 2**3999,
    "empty list": [],
    "[1, 'a']": [1, "a"],
    "(1,)": (1,),
    "{'a': 1, 'b': list of 2}": {"a": 1, "b": [1, 2]},
    "{1}": {1},
    "frozenset {1}": frozenset({1}),
    "list of 10,000": list(range(10_000)),
    "dict of 5": dict.fromkeys(range(5)),
    "range(0, 5, 1)": range(5),
    "class int": int,
    "ndarray float64 (1000, 20)": np.zeros((1000, 20)),
    "ndarray <U1 ()": np.array("a"),
    "MaskedArray float64 (2,)": np.ma.zeros(2),
    "float64 0.5": np.float64(0.5),
    "DataFrame 2x2: a int64, b float64": pd.DataFrame({"a": [1, 2], "b": [0.5, 1]}),
    "DataFrame 0x0": pd.DataFrame(),
    "Series x int64 (1,)": pd.Series([1], name="x"),
    "Index str (1,)": pd.Index(["a"]),
    "Timestamp 2020-01-01 00:00:00": pd.Timestamp("2020"),
    "DataFrame 1x1: a Int64": pl.DataFrame({"a": [1]}),
    "Table 1x1: a int64": pa.table({"a": [1]}),
    "csr_array float64 (3, 3), 3 stored": scipy.sparse.csr_array(np.eye(3)),
    "date 2020-01-01": datetime.date(2020, 1, 1),
    "PurePosixPath('a/b')": pathlib.PurePosixPath("a/b"),
}


@pytest.mark.parametrize("text", SEEN)
def test_values_are_described_in_a_few_words(text):
    assert describe(SEEN[text]) == text


def test_long_strings_are_cut_and_counted():
    assert describe("x" * 5000) == f"{'x' * 60!r}… (str of 5,000 characters)"
    assert describe(bytearray(5000)).endswith("(bytearray of 5,000 bytes)")


def test_wide_frames_name_their_first_columns():
    text = describe(pd.DataFrame(np.zeros((3, 500)), columns=[f"column_{n}" * 10 for n in range(500)]))
    assert text.startswith("DataFrame 3x500: column_0")
    assert len(text) <= 200


def trap(*arguments, **options):
    raise AssertionError("a user's code was called")


HOSTILE_METHODS = [
    "__repr__",
    "__str__",
    "__len__",
    "__iter__",
    "__getattribute__",
    "__format__",
    "__bool__",
    "__eq__",
    "__hash__",
]


@pytest.mark.parametrize("base", [object, list, dict, int, str, Exception, threading.Thread])
def test_no_method_of_a_users_class_is_called(base):
    kind = type("Mine", (base,), dict.fromkeys(HOSTILE_METHODS, trap))
    value = kind.__new__(kind)
    assert "Mine" in describe(value)
    assert "Mine" in describe([value])
    assert "Mine" in describe({"a": value})


def test_a_class_that_poses_as_one_of_a_library_is_not_believed():
    kind = type("DataFrame", (), {"__module__": "pandas", "shape": property(trap), "__str__": trap})
    assert describe(kind()) == "pandas.DataFrame"


def test_functions_and_partials_are_named():
    assert "trap" in describe(trap)
    assert describe(functools.partial(trap)) == "functools.partial"


def test_frames_with_odd_labels_are_described():
    value = pd.DataFrame([[1, 2, 3]], columns=[("a", 1), None, type("L", (), {"__str__": trap, "__repr__": trap})()])
    assert describe(value) == "DataFrame 1x3: tuple int64, None int64, L int64"


@settings(max_examples=50, deadline=None)
@given(
    st.recursive(
        st.none() | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_description_is_one_short_line(value):
    text = describe(value)
    assert 0 < len(text) <= 200
    assert "\n" not in text
