"""Laws of value digests, over values that Hypothesis makes up."""

from __future__ import annotations

import copy
import datetime as dt
import decimal
import math
import pickle
from itertools import pairwise
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from mlflowish.hashing import digest
from mlflowish.hashing.plain import MAX_DEPTH

QUICK = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
LONG = settings(max_examples=3000, deadline=None, suppress_health_check=list(HealthCheck))

# Few values, and look-alikes among them, so that two made-up values are often nearly the same.
SCALARS = st.sampled_from(
    [None, True, False, 0, 1, -1, 0.0, -0.0, 1.0, 1 + 0j, "", "1", "a", "ab", b"", b"1", b"a", math.nan, 2**40]
)
OTHERS = st.sampled_from(
    [..., range(2), dt.date(2020, 1, 1), decimal.Decimal(1), np.int64(1), np.float64(1), bytearray(b"a")]
)
KEYS = st.sampled_from([None, True, 0, 2, 2.0, "", "a", "b", b"a", (1, 2), (1, (2,))])


def containers(members: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    hashable = st.one_of(KEYS, st.frozensets(KEYS, max_size=3))
    return st.one_of(
        st.lists(members, max_size=3),
        st.lists(members, max_size=3).map(tuple),
        st.dictionaries(KEYS, members, max_size=3),
        st.sets(hashable, max_size=3),
        st.frozensets(hashable, max_size=3),
    )


VALUES = st.recursive(st.one_of(SCALARS, OTHERS), containers, max_leaves=6)


def strict(value: Any) -> Any:
    """What identifies a value, in a form that Python compares: types beside contents, members of sets without order."""
    kind = type(value).__name__
    if isinstance(value, float | np.floating):
        return kind, "nan" if math.isnan(value) else float(value).hex()
    if isinstance(value, dict):
        return kind, tuple((strict(key), strict(part)) for key, part in value.items())
    if isinstance(value, list | tuple):
        return kind, tuple(map(strict, value))
    if isinstance(value, set | frozenset):
        return kind, frozenset(map(strict, value))
    if isinstance(value, complex):
        return kind, strict(value.real), strict(value.imag)
    return kind, bytes(value) if isinstance(value, bytearray) else value


def same_digest_exactly_if_same_value(left: Any, right: Any) -> None:
    assert (digest(left) == digest(right)) == (strict(left) == strict(right))


@QUICK
@given(VALUES, VALUES)
def test_two_values_share_a_digest_exactly_if_they_are_the_same(left: Any, right: Any) -> None:
    same_digest_exactly_if_same_value(left, right)


@pytest.mark.nightly
@LONG
@given(VALUES, VALUES)
def test_many_values_share_a_digest_exactly_if_they_are_the_same(left: Any, right: Any) -> None:
    same_digest_exactly_if_same_value(left, right)


@QUICK
@given(VALUES)
def test_pickling_and_copying_keep_the_digest(value: Any) -> None:
    for copied in (pickle.loads(pickle.dumps(value)), copy.deepcopy(value), copy.copy(value)):
        assert digest(copied) == digest(value)


@QUICK
@given(VALUES)
def test_sharing_is_invisible(value: Any) -> None:
    assert digest([value, value]) == digest([value, copy.deepcopy(value)])


@QUICK
@given(VALUES, VALUES)
def test_a_change_below_changes_everything_above(left: Any, right: Any) -> None:
    assume(strict(left) != strict(right))
    wrapped_left, wrapped_right = left, right
    for depth in range(MAX_DEPTH + 2):
        wrapped_left, wrapped_right = {"k": [wrapped_left, depth]}, {"k": [wrapped_right, depth]}
        assert digest(wrapped_left) != digest(wrapped_right)


@QUICK
@given(st.lists(st.one_of(st.floats(), st.integers(), st.text(), st.none(), st.booleans(), st.binary())))
def test_the_fast_path_sees_what_the_slow_one_sees(members: list[Any]) -> None:
    # A member that is not plain sends the list down the slow path.
    same_digest_exactly_if_same_value([*members, ...], [*pickle.loads(pickle.dumps(members)), ...])
    same_digest_exactly_if_same_value(members, list(reversed(members)))


@QUICK
@given(st.lists(st.integers(0, 4), min_size=2, max_size=8), st.integers(0, 7), st.integers(1, 3))
def test_a_ring_is_the_same_however_long_it_is_written(names: list[int], start: int, times: int) -> None:
    def ring(members: list[int]) -> dict[str, Any]:
        nodes: list[dict[str, Any]] = [{"name": name} for name in members]
        for place, node in enumerate(nodes):
            node["next"] = nodes[(place + 1) % len(nodes)]
        return nodes[start % len(names)]

    def walked(node: dict[str, Any]) -> list[int]:
        seen = []
        for _ in range(24):
            seen.append(node["name"])
            node = node["next"]
        return seen

    assert digest(ring(names)) == digest(ring(names * times))
    other = ring([*names[1:], names[0]])
    assert (digest(other) == digest(ring(names))) == (walked(other) == walked(ring(names)))


# Arrays.

DTYPES = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(endianness="?"),
    hnp.floating_dtypes(endianness="?"),
    hnp.complex_number_dtypes(endianness="?"),
    hnp.datetime64_dtypes(),
    hnp.timedelta64_dtypes(),
    hnp.byte_string_dtypes(max_len=3),
    hnp.unicode_string_dtypes(max_len=3),
)
ARRAYS = DTYPES.flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
)


@QUICK
@given(ARRAYS, st.randoms())
def test_layout_is_invisible(array: Any, random: Any) -> None:
    axes = list(range(array.ndim))
    random.shuffle(axes)
    turned = np.ascontiguousarray(array.transpose(axes)).transpose(np.argsort(axes)) if axes else array.copy()
    spread = np.empty([2 * side for side in array.shape], array.dtype)[(..., *(slice(None, None, 2) for _ in axes))]
    spread[...] = array
    assert digest(turned) == digest(spread) == digest(array)


@QUICK
@given(ARRAYS, ARRAYS)
def test_two_arrays_share_a_digest_exactly_if_they_are_the_same(left: Any, right: Any) -> None:
    same = left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()
    nans = left.dtype.kind in "fc" and bool(np.isnan(left).any())
    assert (digest(left) == digest(right)) == same or nans


@QUICK
@given(ARRAYS)
def test_dtype_and_shape_count(array: Any) -> None:
    assert digest(array) != digest(array.reshape(1, *array.shape))
    assert digest(array) != digest(array.tobytes())
    assert digest(array) != digest(array.tolist())
    if array.dtype.byteorder in "<>=" and array.dtype.itemsize > 1:
        assert digest(array) != digest(array.astype(array.dtype.newbyteorder()))


@QUICK
@given(hnp.arrays(np.float64, st.integers(0, 20), elements=st.floats(allow_nan=True)))
def test_a_changed_element_changes_the_digest(array: Any) -> None:
    for place in range(len(array)):
        changed = array.copy()
        changed[place] = 1.0 if array[place] != 1.0 else 2.0
        assert digest(changed) != digest(array)


# Frames and Arrow.

COLUMNS = st.dictionaries(
    st.sampled_from("abcd"),
    st.one_of(
        st.lists(st.one_of(st.integers(-3, 3), st.none()), min_size=4, max_size=4),
        st.lists(st.one_of(st.floats(width=16), st.none()), min_size=4, max_size=4),
        st.lists(st.one_of(st.text(max_size=3), st.none()), min_size=4, max_size=4),
        st.lists(
            st.one_of(st.lists(st.one_of(st.integers(0, 3), st.none()), max_size=3), st.none()), min_size=4, max_size=4
        ),
    ),
    min_size=1,
)


def arrow(columns: dict[str, list[Any]]) -> Any:
    kinds = {"i": pa.int64(), "f": pa.float64(), "s": pa.string(), "l": pa.list_(pa.int64()), "n": pa.null()}
    return pa.table({name: pa.array(values, kinds[kind_of(values)]) for name, values in columns.items()})


def kind_of(values: list[Any]) -> str:
    found = [type(value) for value in values if value is not None]
    return {int: "i", float: "f", str: "s", list: "l"}[found[0]] if found else "n"


@QUICK
@given(COLUMNS, st.lists(st.integers(0, 4), max_size=3).map(sorted), st.integers(0, 3))
def test_chunks_and_slices_are_invisible(columns: dict[str, list[Any]], cuts: list[int], before: int) -> None:
    table = arrow(columns)
    bounds = [0, *cuts, 4]
    chunks = [table[start:stop] for start, stop in pairwise(bounds)]
    longer = pa.concat_tables([table[:before], *chunks, table])
    assert digest(pa.concat_tables(chunks)) == digest(longer[before : before + 4]) == digest(table)
    assert digest(table.combine_chunks()) == digest(table)


@QUICK
@given(COLUMNS, COLUMNS)
def test_two_tables_share_a_digest_exactly_if_they_are_the_same(left: dict[str, Any], right: dict[str, Any]) -> None:
    same = strict(left) == strict(right) and arrow(left).schema == arrow(right).schema
    assert (digest(arrow(left)) == digest(arrow(right))) == same


@QUICK
@given(COLUMNS)
def test_a_polars_frame_is_the_same_in_chunks(columns: dict[str, list[Any]]) -> None:
    frame = pl.DataFrame(columns, strict=False)
    assert digest(pl.concat([frame[:1], frame[1:]], rechunk=False)) == digest(frame) == digest(frame.clone().rechunk())


@QUICK
@given(COLUMNS)
def test_a_pandas_frame_is_the_same_after_pickle_copy_and_reassembly(columns: dict[str, list[Any]]) -> None:
    frame = pd.DataFrame(columns)
    again = pd.concat([frame[[name]] for name in frame.columns], axis=1)
    for copied in (pickle.loads(pickle.dumps(frame)), frame.copy(), again):
        assert digest(copied) == digest(frame)


@QUICK
@given(COLUMNS, st.permutations(range(4)))
def test_the_order_of_rows_counts(columns: dict[str, list[Any]], order: list[int]) -> None:
    frame = pd.DataFrame(columns)
    assert (digest(frame.iloc[order]) == digest(frame)) == (order == [0, 1, 2, 3])
