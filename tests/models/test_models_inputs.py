"""What a model is given for what a caller has: never another thing than it was shown, never a part of it changed."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import mlflowish as mf
from mlflowish.models import Signature, store_model

BEYOND_FLOATS = 2**60 + 1


def asked(example, data, **options):
    """What a model that was shown `example` is given for `data`."""
    return mf.Model(lambda given: given, mf.infer_signature(example, **options)).predict(data)


@pytest.mark.parametrize(
    "data",
    [
        {"n": [BEYOND_FLOATS, None], "b": [True, None]},
        [{"n": BEYOND_FLOATS, "b": True}, {"n": None}],
        pa.table({"n": [BEYOND_FLOATS, None], "b": [True, None]}),
        pl.DataFrame({"n": [BEYOND_FLOATS, None], "b": [True, None]}),
    ],
    ids=["dict", "rows", "arrow", "polars"],
)
def test_whole_numbers_and_booleans_of_which_some_are_missing_stay_so(data):
    example = pd.DataFrame({"n": pd.array([1, None], dtype="Int64"), "b": pd.array([True, None], dtype="boolean")})
    given = asked(example, data)
    assert [str(kind) for kind in given.dtypes] == ["Int64", "boolean"]
    assert given.n[0] == BEYOND_FLOATS
    assert given.n[1] is pd.NA
    assert given.b[1] is pd.NA


def test_floats_of_pandas_are_the_whole_numbers_that_may_be_missing():
    example = pd.DataFrame({"n": [1, 2]})
    for numbers in ([3.0, None], [3.0, 4.0]):
        given = asked(example, pd.DataFrame({"n": numbers}, index=[7, 9]), nullable=["n"])
        assert given.n.isna().tolist() == [False, numbers[1] is None]
        assert (str(given.n.dtype).lower(), given.n[7], list(given.index)) == ("int64", 3, [7, 9])
    with pytest.raises(mf.InvalidInputError, match="'n' is float64, not int64"):
        asked(example, pd.DataFrame({"n": [3.5, None]}), nullable=["n"])
    with pytest.raises(mf.InvalidInputError, match="'n' has 1 missing"):
        asked(example, pd.DataFrame({"n": [3.0, None]}))


def test_rows_keep_the_keys_that_they_have():
    example = [{"a": 1, "b": "x"}, {"a": 2}]
    assert asked(example, example) == example
    assert asked(example, [{"a": 2}]) == [{"a": 2}]
    assert asked(example, [{"b": None, "a": 3}]) == [{"a": 3, "b": None}]
    assert asked(example, []) == []
    with pytest.raises(mf.InvalidInputError, match="'a' is missing"):
        asked(example, [{"b": "x"}])


def test_nan_is_a_missing_text_in_what_pandas_wrote():
    frame = pd.DataFrame({"s": ["a", None], "c": pd.Categorical(["a", None]), "x": [1.5, None]})
    for data in (frame.to_dict("list"), frame.to_dict("records")):
        given = asked(frame, data)
        assert given.isna().to_numpy().tolist() == [[False] * 3, [True] * 3]
    assert math.isnan(asked({"x": [1.0]}, {"x": [math.nan]})["x"][0])


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        (np.array([1, 2], "int32"), np.array([1, 2], "int64")),
        (pd.Series([1, 2], dtype="int32", index=[5, 6]), pd.Series([1, 2], index=[5, 6])),
        (pd.Index([1, 2], dtype="int32"), pd.Series([1, 2])),
        (pl.Series([1, 2], dtype=pl.Int32), pl.Series([1, 2])),
    ],
    ids=["numpy", "pandas", "index", "polars"],
)
def test_a_column_that_is_cast_stays_of_its_kind(narrow, wide):
    given = asked({"n": [1]}, {"n": narrow})["n"]
    assert type(given) is type(wide)
    assert given.dtype == wide.dtype
    assert given.to_list() == wide.to_list() if hasattr(given, "to_list") else given.tolist() == wide.tolist()
    assert list(getattr(given, "index", [])) == list(getattr(wide, "index", []))


def test_lists_for_a_column_of_arrays_come_as_an_array():
    given = asked({"ids": np.zeros((2, 3), "int64")}, {"ids": [[1, 2, 3]]})["ids"]
    assert isinstance(given, np.ndarray)
    assert given.tolist() == [[1, 2, 3]]


def test_what_pandas_wrote_of_whole_numbers_is_taken_for_them():
    example = pd.DataFrame({"n": pd.array([1, None], dtype="Int64")})
    floats = pd.DataFrame({"n": [2.0, np.nan]})
    for data in (floats, floats.to_dict("list"), floats.to_dict("records")):
        given = asked(example, data).n
        assert str(given.dtype) == "Int64"
        assert given.to_list() == [2, pd.NA]
    with pytest.raises(mf.InvalidInputError, match="'n' is float64, not int64"):
        asked(example, {"n": [2.5, None]})


def test_a_structured_array_stays_one():
    example = np.array([(1, 2.5)], dtype=[("a", "i8"), ("b", "f8")])
    swapped = np.array([(2.5, 1)], dtype=[("b", "f8"), ("a", "i8")])
    for data in (example, swapped, {"a": [1], "b": [2.5]}, pd.DataFrame({"b": [2.5], "a": [1]})):
        given = asked(example, data)
        assert given.dtype.names == ("a", "b")
        assert given.tolist() == [(1, 2.5)]
    signature = mf.infer_signature(example)
    assert signature.container == "structured"
    assert signature.record()["container"] == "numpy"
    assert Signature.from_record(signature.record()) == signature


@pytest.mark.parametrize(
    ("example", "data"),
    [
        (pd.Series([1.5]), np.array([2])),
        (pd.Series([1.5]), [2]),
        (pd.Series([1.5]), pd.Series([2])),
        (pl.Series([1.5]), [2]),
        (pl.Series([1.5]), pd.Series([2])),
        ([1.5], [2]),
        (np.array([1.5]), np.array([2.0], dtype=object)),
    ],
    ids=["series-array", "series-list", "series-series", "polars-list", "polars-series", "list", "objects"],
)
def test_values_without_names_come_as_what_the_model_was_shown(example, data):
    given = asked(example, data)
    assert type(given) is type(example)
    assert list(given) == [2.0]
    assert type(next(iter(given))) is not int
    assert getattr(given, "dtype", None) == getattr(example, "dtype", None)


def test_a_category_that_is_missing_is_no_other_one_in_an_array():
    anything = np.array(["a", 1], dtype=object)
    assert asked(anything, pd.Series(["a", None, "b"], dtype="category")).tolist() == ["a", None, "b"]


@pytest.mark.parametrize(
    ("example", "text"), [(["a"], "hello"), (np.array(["a"]), "hello"), ({"s": ["a"]}, {"s": "hi"})]
)
def test_a_single_text_is_not_taken_for_its_letters(example, text):
    with pytest.raises(mf.InvalidInputError, match=r"a single str was given; give a"):
        asked(example, text)


@pytest.mark.parametrize(
    ("example", "data", "message"),
    [
        (np.array([1]), [2**63], "too large"),
        (np.zeros((1, 2)), [[1, 2], [3]], "no array of"),
        (np.zeros((1, 2)), 5.0, "a single float was given"),
        (np.zeros((1, 2)), np.array([[1, None]], dtype=object), "missing"),
        ({"a": [1]}, {1: [1]}, "column 1 is superfluous"),
        (pd.DataFrame({"a": [1]}), pd.DataFrame({0: [1]}), "column 0 is superfluous"),
        (pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [1.5]}), "Cast what differs"),
        (pd.DataFrame({"a": [1.0]}), pd.DataFrame({"a": [np.nan]}), "Fill what is missing"),
        (pd.DataFrame({"a": [1.0]}), {"a": 1.0}, "a single float was given"),
    ],
    ids=["huge", "ragged", "scalar", "none", "number-as-name", "number-as-column", "type", "nulls", "scalar-column"],
)
def test_what_does_not_fit_is_told_with_what_to_do(example, data, message):
    with pytest.raises(mf.InvalidInputError, match=message):
        asked(example, data)


@pytest.mark.parametrize("wanted", ["us", "ns"])
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_times_of_another_unit_are_taken_where_nothing_is_lost(wanted, unit):
    def frame(unit):
        times = pd.to_datetime(["2024-01-01"]).as_unit(unit)
        return pd.DataFrame({"t": times, "d": (times - times).as_unit(unit)})

    given = asked(frame(wanted), frame(unit))
    assert given.equals(frame(wanted))
    assert (given.dtypes == frame(wanted).dtypes).all()
    assert asked(frame(wanted).t.to_numpy(), frame(unit).t.to_numpy()).dtype == f"datetime64[{wanted}]"
    odd = pd.DataFrame({"t": pd.DatetimeIndex([1], dtype="datetime64[ns]"), "d": pd.to_timedelta([1], unit="ns")})
    if wanted == "us":
        with pytest.raises(mf.InvalidInputError, match=r"'t' is .* 'd' is "):
            asked(frame(wanted), odd)
        with pytest.raises(mf.InvalidInputError, match="cannot hold exactly"):
            asked(frame(wanted).t.to_numpy(), odd.t.to_numpy())


def test_objects_of_any_type_in_an_array():
    assert str(mf.infer_signature(np.array([["a", 1]], dtype=object))) == "inputs:  any[*, 2]?"
    assert str(mf.infer_signature(np.array([[1, 2]], dtype=object))) == "inputs:  int64[*, 2]"
    mixed = np.array([["b", 2.5]], dtype=object)
    assert asked(np.array([["a", 1]], dtype=object), mixed) is mixed


@pytest.mark.parametrize(
    ("example", "message"),
    [({"a": 1}, "a single int was given"), (pd.DataFrame({"": [1]}), "has no name")],
    ids=["scalars", "no-name"],
)
def test_an_example_that_shows_nothing(example, message):
    with pytest.raises(mf.InvalidInputError, match=message):
        mf.infer_signature(example)


@pytest.mark.parametrize(
    "data",
    [
        {"c": ["a", "new", None]},
        [{"c": "a"}, {"c": "new"}, {"c": None}],
        pd.DataFrame({"c": ["a", "new", None]}),
        pa.table({"c": pa.array(["a", "new", None]).dictionary_encode()}),
        pl.DataFrame({"c": pl.Series(["a", "new", None], dtype=pl.Categorical)}),
    ],
    ids=["dict", "rows", "texts", "arrow", "polars"],
)
def test_categories_have_the_numbers_that_the_model_was_shown(data):
    example = pd.DataFrame({"c": pd.Categorical(["b", "a"], categories=["z", "b", "a"], ordered=True)})
    signature = mf.infer_signature(example, nullable=True)
    signature = Signature.from_record(json.loads(json.dumps(signature.record())))
    given = mf.Model(lambda given: given, signature).predict(data).c.cat
    assert given.categories.tolist() == ["z", "b", "a", "new"]
    assert given.ordered
    assert given.codes.tolist() == [2, 3, -1]


def test_categories_of_a_frame_are_left_to_its_maker():
    example = pd.DataFrame({"c": pd.Categorical(["b", "a"])})
    data = pd.DataFrame({"c": pd.Categorical(["b", "x"], categories=["x", "b"])})
    assert asked(example, data) is data


@pytest.mark.parametrize(
    "categories",
    [{"values": ["a", "a"], "ordered": False}, {"values": [1], "ordered": False}, {"values": []}, ["a"], 5],
)
def test_senseless_categories(categories):
    field = {"name": "c", "type": {"categories": "string"}, "nullable": False, "categories": categories}
    with pytest.raises(mf.IntegrityError, match="categories of field 'c'"):
        Signature.from_record({"inputs": [field]})


def test_a_column_called_self():
    assert asked(pd.DataFrame({"self": [1.5]}), pd.DataFrame({"self": [1]})).self.tolist() == [1.0]


def test_a_wide_frame_is_cast_like_a_narrow_one():
    index = pd.Index([3, 3], name="row")
    data = pd.DataFrame({f"c{number}": [number, 2] for number in range(60)}, index=index)[::-1]
    given = asked(data.astype(float), data[data.columns[::-1]])
    pd.testing.assert_frame_equal(given, data.astype(float))


def test_what_is_wrong_with_thousands_of_columns_is_told_in_a_few_lines():
    example = pd.DataFrame({f"c{number}": [1.0] for number in range(3000)})
    with pytest.raises(
        mf.InvalidInputError, match=r"and 5992 more\. It takes c0: float64, .* and 2960 more"
    ) as refused:
        asked(example, example.add_prefix("x"))
    assert len(str(refused.value)) < 2000
    assert len(refused.value.problems) == 6000


def test_one_missing_number_is_found_among_many_columns():
    example = pd.DataFrame({"a": [1.0, 2.0], "b": [1.0, 2.0], "c": [1, 2]})
    with pytest.raises(mf.InvalidInputError) as refused:
        asked(example, example.assign(b=[1.0, np.nan]))
    assert refused.value.columns == ("b",)


def test_a_description_that_no_manifest_holds_is_refused_before_it_is_stored(store):
    with pytest.raises(mf.InvalidInputError, match="more than the 16,777,216 of a manifest"):
        store_model(store, len, metadata={"notes": "x" * (17 << 20)})
    many = pd.DataFrame({f"c{n}": pd.Categorical([f"{i:0100}" for i in range(4000)]) for n in range(5)})
    inputs = mf.infer_signature(many).record()["inputs"]
    assert ["categories" in field for field in inputs] == [True, True, False, False, False]


@pytest.mark.parametrize("nullable", [False, True])
@pytest.mark.parametrize(
    ("given", "wanted"),
    [("int64", "float64"), ("uint64", "float64"), ("int32", "float32"), ("int8", "int64"), ("float32", "float64")],
)
def test_a_wide_frame_is_widened_as_each_of_its_columns_is(monkeypatch, given, wanted, nullable):
    names = [f"c{number}" for number in range(60)]
    values = np.arange(240).reshape(4, 60).astype(given) % 100
    if given in ("int64", "uint64", "int32"):
        digits = 24 if given == "int32" else 53
        values[0, 3], values[1, 4], values[2, 5] = 2**digits, 2**digits + 1, 2 ** (digits + 2)
    if given == "float32":
        values[0, 7], values[0, 8], values[1, 9] = np.nan, np.inf, -0.0
    frame = pd.DataFrame(values, columns=names, index=[3, 3, 1, 0]).assign(s=["a", "b", "a", "b"])
    example = pd.DataFrame({"s": ["a", "b"]} | {name: np.array([1, 2], wanted) for name in reversed(names)})

    def outcome():
        try:
            found = asked(example, frame, nullable=names if nullable else [])
        except mf.InvalidInputError as error:
            return str(error)
        return repr((list(found.dtypes.items()), list(found.index), found.to_dict("list")))

    at_once = outcome()
    monkeypatch.setattr("mlflowish.models.tables.MANY", 10**9)
    assert at_once == outcome()


def refused(example, data, **options):
    """What is said of data that a model does not take, as (column, kind)."""
    with pytest.raises(mf.InvalidInputError) as error:
        asked(example, data, **options)
    return [(problem.column, problem.kind) for problem in error.value.problems]


@pytest.mark.parametrize(
    "values",
    [[1, "x"], [1.0, object()], [1j, 2j], [10**30, 1], np.ones(2, np.longdouble)],
    ids=["mixed", "object", "complex", "beyond 64 bits", "long double"],
)
def test_what_arrow_has_no_column_for_is_refused_by_its_column(values):
    frame = pd.DataFrame({"a": values, "b": [1.0, 2.0]})
    table = {"a": [1, 2], "b": [0.5, 1.0]}
    for example in (pd.DataFrame(table), pl.DataFrame(table), pa.table(table)):
        assert refused(example, frame) == [("a", "type")]
    assert refused(pd.DataFrame(table), frame.to_numpy())[0] == ("a", "type")
    wide = {f"c{number}": [1.0, 2.0] for number in range(60)}
    assert refused(pd.DataFrame(wide), pd.DataFrame(wide | {"c7": values})) == [("c7", "type")]
    with pytest.raises(mf.InvalidInputError, match="No signature can be inferred"):
        mf.infer_signature(frame)
    given = asked(pd.DataFrame(table | {"a": [None, None]}), frame)  # shown nothing but missing values: any type
    assert given.a.tolist() == list(values)


def test_a_column_that_an_arrow_table_has_twice_is_named():
    table = pa.table([[1], [2], [3.0]], names=["a", "a", "b"])
    assert refused(pd.DataFrame({"a": [1], "b": [0.5]}), table) == [("a", "superfluous")]
    with pytest.raises(mf.InvalidInputError, match="Two columns have the same name"):
        mf.infer_signature(table)


def test_whole_numbers_of_python_may_be_as_large_as_the_column():
    example = pd.DataFrame({"n": np.array([1], "uint64")})
    for data in ([{"n": 2**64 - 1}], {"n": [2**64 - 1]}):
        assert asked(example, data).n.tolist() == [2**64 - 1]
    for wrong in (2**64, -1, 2.0**63, True, "1"):
        assert refused(example, [{"n": wrong}, {"n": 2**63}]) == [("n", "type")]


@pytest.mark.parametrize(
    "data",
    [
        np.array([[1, "x"]], dtype=object),
        [[1, object()]],
        np.array([("x", 1)], dtype=[("a", "O"), ("b", "i4")]),
        pl.DataFrame({"a": [1], "b": ["x"]}),
        pd.DataFrame({"a": [1j], "b": [1.0]}),
        np.array([[1j, 1.0]]),
    ],
    ids=["objects", "rows", "structured", "polars", "pandas", "complex"],
)
def test_what_is_no_number_is_refused_for_an_array_of_numbers(data):
    assert refused(np.ones((1, 2)), data) == [("", "type")]


def test_numbers_of_several_kinds_are_an_array_of_numbers():
    mixed = np.array([[1, True], [np.bool_(False), np.float32(3)]], dtype=object)
    assert asked(np.ones((1, 2)), mixed).tolist() == mixed.tolist()
    assert refused(np.ones((1, 2)), np.array([[1, True], [None, 2]], dtype=object)) == [("", "nulls")]


def test_what_a_mask_hides_is_missing():
    masked = np.ma.masked_array([[1.0, 2.0]], mask=[[True, False]])
    frame = pd.DataFrame({"a": [1.0, None], "b": [1.0, 2.0]})
    for given in (asked(frame, masked).to_numpy(), asked(np.ones((1, 2)), masked)):
        assert (np.isnan(given[0, 0]), given[0, 1]) == (True, 2.0)
    with pytest.raises(mf.InvalidInputError, match="masked array of int64"):
        asked(np.ones((1, 2)), np.ma.masked_array([[1, 2]], mask=[[True, False]]))


def test_a_model_of_no_columns_says_so():
    with pytest.raises(mf.InvalidInputError, match=r"an array of shape 3x2 was given for 0 columns"):
        asked(pd.DataFrame(index=range(3)), np.ones((3, 2)))
