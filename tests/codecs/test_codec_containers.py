"""Containers keep large leaves as parts of their own, which they share with other results that hold the same."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflowish.codecs import decode, encode
from mlflowish.errors import IntegrityError
from mlflowish.hashing import digest

leaves = st.one_of(
    st.integers(),
    st.text(max_size=5),
    st.sampled_from([b"x" * 100_000, "é" * 100_000, bytearray(b"y" * 70_000)]),
    st.sampled_from([np.arange(3), np.zeros((100, 200)), np.float32(2)]),
    st.sampled_from([pd.DataFrame({"a": [1]}), pd.Series(np.arange(20_000)), pa.table({"a": [1, None]})]),
)
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.tuples(inner, inner), st.dictionaries(st.text(max_size=2), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=80, deadline=None)
@given(value=trees, inline_limit=st.sampled_from([0, 1 << 16]))
def test_any_container_of_plain_values_and_leaves_comes_back_without_pickle(load, value, inline_limit):
    encoded = encode(value, inline_limit=inline_limit)
    assert not encoded.executes_code
    assert digest(load(encoded, allow_pickle=False)) == digest(value)


def test_the_parts_of_a_pair_are_those_of_its_members(store_part):
    x, y = np.random.default_rng(0).random((100, 100)), pd.Series(np.arange(50_000.0))
    pair = [bytes(store_part(part).buffer()) for part in encode((x, y)).parts]
    alone = [bytes(store_part(part).buffer()) for value in (x, y) for part in encode(value).parts]
    assert pair == alone


def test_an_array_that_comes_twice_is_stored_once_and_comes_back_as_one(load):
    x = np.zeros(100_000)
    encoded = encode({"train": x, "test": [x]})
    assert len(encoded.parts) == 1
    back = load(encoded)
    assert back["train"] is back["test"][0]


def test_large_strings_in_a_list_are_parts_and_equal_neighbours_stay_inline(load):
    value = ["a" * 200_000, "b", b"c" * 200_000]
    encoded = encode(value)
    assert (encoded.codec, [part.size_bytes for part in encoded.parts]) == ("tree", [200_000, 200_000])
    assert load(encoded) == value


def test_many_small_arrays_lie_together(load):
    value = [np.arange(n % 7) for n in range(2000)]
    encoded = encode(value)
    assert len(encoded.parts) == 1
    assert digest(load(encoded)) == digest(value)


@pytest.mark.parametrize("value", [b"b" * 70_000, bytearray(b"a" * 70_000), "s" * 70_000, "\ud800é" * 70_000])
def test_a_long_string_is_a_part_of_nothing_but_itself(load, store_part, value):
    encoded = encode(value)
    assert encoded.codec == "bytes"
    back = load(encoded)
    assert type(back) is type(value)
    assert back == value
    raw = value if not isinstance(value, str) else value.encode("utf-8", "surrogatepass")
    assert bytes(store_part(encoded.parts[0]).buffer()) == raw


def test_a_dictionary_with_an_array_in_a_cycle_comes_back_so(roundtrip):
    value = {"x": np.arange(3)}
    value["self"] = value
    back = roundtrip(value)
    assert back["self"] is back


def test_missing_or_foreign_parts_are_refused(store_part):
    encoded = encode((np.zeros(10_000), np.zeros(20_000)))
    parts = [store_part(part) for part in encoded.parts]
    for wrong in ([], parts[:1], parts[::-1]):
        with pytest.raises(IntegrityError):
            decode(encoded.codec, encoded.head, wrong)
