"""Signatures: what an example shows, what may stand for what, and which column is wrong."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import mlflowish as mf
from mlflowish.models import Signature

FRAME = pd.DataFrame({"n": pd.Series([1, 2], dtype="int64"), "x": [0.5, 1.5], "s": ["a", "b"]})
ANSWER = [1.0, 2.0]


def asked(signature, data):
    """What a model of this signature is given for `data`."""
    return mf.Model(lambda given: given, signature).predict(data)


@pytest.mark.parametrize(
    "example",
    [
        FRAME,
        pl.from_pandas(FRAME),
        pl.from_pandas(FRAME).lazy(),
        pa.Table.from_pandas(FRAME, preserve_index=False),
        pa.Table.from_pandas(FRAME, preserve_index=False).to_batches()[0],
        FRAME.to_dict("list"),
        FRAME.to_dict("records"),
    ],
    ids=["pandas", "polars", "lazy", "table", "batch", "dict", "list"],
)
def test_every_container_shows_the_same_schema(example):
    assert str(mf.infer_signature(example)) == "inputs:  n: int64, x: float64, s: string"


@pytest.mark.parametrize(
    ("example", "text"),
    [
        (np.zeros(3), "float64"),
        (np.zeros((3, 2), "float32"), "float32[*, 2]"),
        (np.zeros((3, 4, 5), "uint8"), "uint8[*, 4, 5]"),
        ([[1, 2], [3, 4]], "int64[*, 2]"),
        (["a", None], "string?"),
        (pd.Series([1, 2]), "int64"),
        (pl.Series([1.5]), "float64"),
        ({"image": np.zeros((2, 3, 3), "float32"), "age": [1, 2]}, "image: float32[*, 3, 3], age: int64"),
        (pd.DataFrame({"c": pd.Categorical(["a", "b"])}), "c: categories of string"),
        (pd.DataFrame({"t": pd.to_datetime(["2020-01-01"]).as_unit("us")}), "t: timestamp[us]"),
        (pd.DataFrame({"x": [1.0, np.nan]}), "x: float64?"),
        (pa.table({"l": [[1, 2]], "d": [{"a": 1}]}), "l: list<item: int64>, d: struct<a: int64>"),
    ],
)
def test_an_example_shows_its_types(example, text):
    signature = mf.infer_signature(example)
    assert str(signature) == f"inputs:  {text}"
    assert Signature.from_record(signature.record()) == signature


@pytest.mark.parametrize("example", [object(), 3, {"a": object()}, {"a": [1, "x"]}, pd.DataFrame({1: [2]})])
def test_what_shows_no_schema_is_refused(example):
    with pytest.raises(mf.InvalidInputError):
        mf.infer_signature(example)


def test_an_array_takes_the_names_that_the_model_remembers():
    from sklearn.linear_model import LinearRegression

    model = LinearRegression().fit(FRAME[["n", "x"]], ANSWER)
    assert str(mf.infer_signature(np.zeros((2, 2)), model=model)) == "inputs:  n: float64, x: float64"
    with pytest.raises(mf.InvalidInputError, match="remembers 2"):
        mf.infer_signature(np.zeros((2, 3)), model=model)


def test_nullable_names_must_be_columns():
    assert mf.infer_signature(FRAME, nullable=["x"]).inputs.field("x").nullable
    assert all(field.nullable for field in mf.infer_signature(FRAME, nullable=True).inputs)
    with pytest.raises(mf.InvalidInputError, match="'y', which is no column"):
        mf.infer_signature(FRAME, nullable=["y"])


@pytest.mark.parametrize(
    "data",
    [
        FRAME.astype({"n": "int32"}),
        FRAME.astype({"n": "uint8"}),
        FRAME.astype({"x": "float32"}),
        FRAME[["s", "x", "n"]],
        FRAME.assign(n=FRAME.n.astype("Int64")),
        pl.from_pandas(FRAME).with_columns(pl.col("n").cast(pl.Int16)),
        FRAME.to_dict("records"),
        {"n": [1, 2], "x": [0.5, 1.5], "s": np.array(["a", "b"])},
    ],
)
def test_what_loses_nothing_is_cast_and_put_in_order(data):
    pd.testing.assert_frame_equal(asked(mf.infer_signature(FRAME), data), FRAME)


def test_whole_numbers_become_floats_if_these_hold_them_exactly():
    signature = mf.infer_signature(pd.DataFrame({"x": [0.5]}))
    assert asked(signature, pd.DataFrame({"x": [2**53]})).x.tolist() == [2.0**53]
    with pytest.raises(mf.InvalidInputError, match="'x'"):
        asked(signature, pd.DataFrame({"x": [2**53 + 1]}))


WRONG = {
    "missing": (FRAME.drop(columns="x"), [("x", "missing")]),
    "superfluous": (FRAME.assign(y=1), [("y", "superfluous")]),
    "misspelt": (FRAME.rename(columns={"x": "X"}), [("x", "missing"), ("X", "superfluous")]),
    "float for int": (FRAME.assign(n=[1.5, 2.0]), [("n", "type")]),
    "wide for narrow": (FRAME.assign(n=np.array([1, 2], "uint64")), [("n", "type")]),
    "text for number": (FRAME.assign(x=["1", "2"]), [("x", "type")]),
    "number for text": (FRAME.assign(s=[1, 2]), [("s", "type")]),
    "nulls": (FRAME.assign(x=[None, 1.5], s=["a", None]), [("x", "nulls"), ("s", "nulls")]),
    "all at once": (FRAME.assign(n=["1", "2"], x=[np.nan, 1.0]), [("n", "type"), ("x", "nulls")]),
    "missing in a row": ([{"n": 1, "x": 1.0, "s": "a"}, {"n": 1, "s": "a"}], [("x", "nulls")]),
    "polars": (pl.DataFrame({"n": [1], "x": [None], "s": ["a"]}, schema_overrides={"x": pl.Float64}), [("x", "nulls")]),
}


@pytest.mark.parametrize(("data", "problems"), WRONG.values(), ids=WRONG.keys())
def test_each_column_that_does_not_fit_is_named(data, problems):
    with pytest.raises(mf.InvalidInputError) as caught:
        asked(mf.infer_signature(FRAME), data)
    assert [(problem.column, problem.kind) for problem in caught.value.problems] == problems
    assert all(repr(column) in str(caught.value) for column, _ in problems)
    assert caught.value.column == problems[0][0]


def test_a_table_without_names_is_taken_by_place():
    signature = mf.infer_signature(FRAME[["n", "x"]])
    given = asked(signature, np.array([[1, 2], [3, 4]]))
    pd.testing.assert_frame_equal(given, pd.DataFrame({"n": [1, 3], "x": [2.0, 4.0]}))
    with pytest.raises(mf.InvalidInputError, match="2x3 was given for 2 columns"):
        asked(signature, np.zeros((2, 3)))


@pytest.mark.parametrize("data", ["text", 3, None])
def test_what_has_no_columns_is_refused(data):
    with pytest.raises(mf.InvalidInputError, match="columns with names"):
        asked(mf.infer_signature(FRAME), data)


def test_arrays_are_cast_without_loss_or_refused():
    signature = mf.infer_signature(np.zeros((2, 3), "float32"))
    assert asked(signature, np.ones((5, 3), "int8")).dtype == "float32"
    assert asked(signature, [[1.1, 2.0, 3.0]]).dtype == "float32"
    for data, text in (
        (np.zeros((2, 3)), r"is float64\[\*, 3\], not float32"),
        (np.zeros((2, 4), "float32"), "of shape 2x4"),
        (np.zeros(3, "float32"), "of shape 3"),
        (np.full((1, 3), 2**24 + 1), "cannot hold exactly"),
    ):
        with pytest.raises(mf.InvalidInputError, match=text):
            asked(signature, data)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ([[1], [1, 2]], "rows of the same length"),
        (np.array(3), r"of shape \(\) \(a single value\) was given for 2 columns; give two dimensions"),
        ([1, 2], "of shape 2 was given for 2 columns; give two dimensions, a row for each"),
    ],
)
def test_arrays_that_are_no_rows_of_columns_are_refused_in_words(data, text):
    signature = mf.infer_signature({"a": [1.0], "b": [2.0]})
    with pytest.raises(mf.InvalidInputError, match=text):
        asked(signature, data)


def test_an_array_is_not_copied_when_it_fits():
    data = np.zeros((2, 3))
    assert asked(mf.infer_signature(data), data) is data
    assert asked(mf.infer_signature(FRAME), FRAME) is FRAME


def test_a_frame_stands_for_an_array_of_as_many_columns():
    signature = mf.infer_signature(np.zeros((2, 2)))
    assert asked(signature, FRAME[["n", "x"]]).tolist() == [[1.0, 0.5], [2.0, 1.5]]


def test_sparse_matrices_are_taken_for_arrays():
    scipy_sparse = pytest.importorskip("scipy.sparse")
    matrix = scipy_sparse.csr_matrix(np.eye(3))
    assert asked(mf.infer_signature(np.zeros((2, 3))), matrix) is matrix
    with pytest.raises(mf.InvalidInputError, match="3x3"):
        asked(mf.infer_signature(np.zeros((2, 2))), matrix)


def test_lists_of_texts_are_values():
    signature = mf.infer_signature(["a", "b"])
    assert asked(signature, ["x"]) == ["x"]
    assert asked(signature, pd.Series(["x"])) == ["x"]
    with pytest.raises(mf.InvalidInputError, match="int64, not string"):
        asked(signature, [1])


def test_a_model_is_given_what_it_was_shown():
    for example in (
        FRAME,
        pl.from_pandas(FRAME),
        pa.Table.from_pandas(FRAME, preserve_index=False),
        FRAME.to_dict("list"),
    ):
        for data in (FRAME, pl.from_pandas(FRAME), FRAME.to_dict("records")):
            assert type(asked(mf.infer_signature(example), data)) is type(example)


def test_columns_of_a_dict_stay_what_they_are():
    data = {"image": np.zeros((2, 3, 3), "float32"), "age": np.array([1, 2])}
    given = asked(mf.infer_signature(data), data)
    assert given["image"] is data["image"]
    assert given["age"] is data["age"]
    [cast] = asked(mf.infer_signature({"age": [1]}), {"age": np.array([1], "int8")}).values()
    assert cast == [1]


def test_categories_are_taken_from_texts():
    signature = mf.infer_signature(pd.DataFrame({"c": pd.Categorical(["a", "b"])}))
    for data in (pd.DataFrame({"c": ["a"]}), {"c": ["a"]}, pl.DataFrame({"c": ["a"]})):
        assert isinstance(asked(signature, data).c.dtype, pd.CategoricalDtype)


def test_no_rows_are_rows():
    pd.testing.assert_frame_equal(asked(mf.infer_signature(FRAME), FRAME[:0]), FRAME[:0])
    assert asked(mf.infer_signature(np.zeros((2, 3))), np.zeros((0, 3))).shape == (0, 3)


def test_a_frame_keeps_its_index():
    frame = FRAME.set_axis(["r1", "r2"])
    assert list(asked(mf.infer_signature(FRAME), frame.astype({"n": "int8"})).index) == ["r1", "r2"]


def test_a_signature_that_cannot_be_meant_is_refused():
    with pytest.raises(mf.InvalidInputError, match=r"pyarrow\.Schema"):
        mf.Signature({"a": "int"})
    with pytest.raises(mf.InvalidInputError, match="same name"):
        mf.Signature(pa.schema([("a", pa.int8()), ("a", pa.int8())]))
    with pytest.raises(mf.InvalidInputError, match="container"):
        mf.Signature(pa.schema([]), container="hdf")


def test_the_nearest_of_unknown_columns_is_the_one_that_differs_in_capitals_only():
    signature = mf.infer_signature(pd.DataFrame({"age": [1], "income": [1.0]}))
    with pytest.raises(mf.InvalidInputError, match=r"'income' is missing \(there is 'INCOME'\)"):
        asked(signature, pd.DataFrame({"AGE": [1], "INCOME": [1.0]}))
