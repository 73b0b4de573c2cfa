"""Codec numpy: arrays come back exactly, writable, and rest as files that numpy itself reads."""

import io
import mmap

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlflowish.codecs import decode, encode
from mlflowish.errors import IntegrityError
from mlflowish.hashing import digest

dtypes = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(endianness="?"),
    hnp.floating_dtypes(endianness="?"),
    hnp.complex_number_dtypes(),
    hnp.datetime64_dtypes(),
    hnp.timedelta64_dtypes(),
    hnp.unicode_string_dtypes(min_len=1, max_len=4),
    hnp.byte_string_dtypes(min_len=1, max_len=4),
    st.just(np.dtype([("a", "<f8"), ("b", "i2", (2,)), ("c", [("d", "U2")])])),
)
arrays = hnp.arrays(dtypes, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5))


# Digests look for nan with a dot product, which may overflow without harm.
@pytest.mark.filterwarnings("ignore:overflow encountered in dot:RuntimeWarning")
@settings(max_examples=150, deadline=None)
@given(
    array=arrays,
    inline_limit=st.sampled_from([0, 1 << 16]),
    transposed=st.booleans(),
    every=st.sampled_from([1, 2, -1]),
)
def test_any_array_comes_back_equal_in_digest(load, array, inline_limit, transposed, every):
    if array.ndim:
        array = array[::every]
    if transposed:
        array = array.T
    encoded = encode(array, inline_limit=inline_limit)
    back = load(encoded, allow_pickle=False)
    assert encoded.codec == "numpy"
    assert (back.dtype, back.shape, back.dtype.str) == (array.dtype, array.shape, array.dtype.str)
    assert back.flags.writeable
    assert back.flags.aligned
    assert digest(back) == digest(array)


def test_a_large_array_rests_as_a_file_that_numpy_reads(store_part):
    array = np.random.default_rng(0).random((300, 70))
    encoded = encode(array)
    [part] = encoded.parts
    assert part.suffix == ".npy"
    assert np.array_equal(np.load(io.BytesIO(bytes(store_part(part).buffer()))), array)
    assert len(encoded.head) % 64 == 0


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, 3), [("é", "<f4"), ("名", "U3")]),
        np.zeros(3, [(f"field_{n}_{'x' * 60}", "f8") for n in range(1200)]),
        np.zeros(4, np.dtype({"names": ["a", "b"], "formats": ["i1", "f8"], "offsets": [0, 16], "itemsize": 32})),
        np.array(["", "abc"]),
        np.zeros((0, 4)),
        np.array(3.5),
        np.zeros((2, 2), "V5"),
        np.array([1.5, np.nan], np.longdouble),
    ],
    ids=["unicode field names", "long header", "padding", "text", "empty", "0-d", "void", "longdouble"],
)
def test_unusual_arrays_come_back(roundtrip, array):
    back = roundtrip(array, inline_limit=0)
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert digest(back) == digest(array)


@pytest.mark.parametrize(("version", "dtype"), [(1, "<f8"), (2, [("x" * 70000, "f8")]), (3, [("名", "f8")])])
def test_the_header_is_of_the_version_that_it_needs(version, dtype):
    assert encode(np.zeros(2, dtype)).head[6] == version


def test_fortran_order_is_kept(roundtrip):
    back = roundtrip(np.asfortranarray(np.arange(6.0).reshape(2, 3)))
    assert back.flags.f_contiguous
    assert not back.flags.c_contiguous


def test_strided_and_contiguous_arrays_have_the_same_bytes():
    array = np.arange(100.0)
    assert encode(array[::2]).head == encode(array[::2].copy()).head


def test_a_caller_who_writes_to_a_loaded_array_changes_nobody_elses(load):
    for inline_limit in (0, 1 << 16):
        encoded = encode(np.arange(5), inline_limit=inline_limit)
        load(encoded)[:] = -1
        assert load(encoded).tolist() == [0, 1, 2, 3, 4]


class MappedPart:
    """A part in a file, mapped copy-on-write as a local store does."""

    def __init__(self, path, part):
        path.write_bytes(b"".join(part.chunks()))
        self.path = path
        self.size_bytes = path.stat().st_size

    def buffer(self):
        with self.path.open("rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))


def test_a_mapped_array_is_a_view_of_the_file_and_writes_do_not_reach_it(tmp_path):
    encoded = encode(np.arange(100_000.0))
    part = MappedPart(tmp_path / "part", encoded.parts[0])
    before = part.path.read_bytes()
    back = decode("numpy", encoded.head, [part])
    assert not back.flags.owndata
    back[:] = 7
    assert part.path.read_bytes() == before
    assert decode("numpy", encoded.head, [part])[3] == 3


def test_a_memory_map_comes_back_as_an_array(tmp_path, roundtrip):
    mapped = np.memmap(tmp_path / "m", dtype="f8", mode="w+", shape=(4,))
    assert type(roundtrip(mapped)) is np.ndarray


@pytest.mark.parametrize(
    "value",
    [
        np.ma.masked_array([1, 2], [False, True]),
        np.rec.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
        np.array(["a", "ü" * 30], dtype=np.dtypes.StringDType()),
        np.array([1, None, {"a": object}], dtype=object),
        np.zeros(2, np.dtype([("a", "i1"), ("b", "f8")], align=True)),
    ],
    ids=["masked", "recarray", "StringDType", "objects", "aligned struct"],
)
def test_what_the_file_format_cannot_say_is_pickled_and_keeps_its_type(load, value):
    encoded = encode(value)
    assert encoded.codec == "pickle"
    back = load(encoded)
    assert type(back) is type(value)
    assert back.dtype == value.dtype


def test_encoding_holds_no_copy_of_the_array():
    array = np.arange(100_000.0)
    [part] = encode(array).parts
    _, *data = part.chunks()
    assert np.shares_memory(np.frombuffer(data[0], "u1"), array)


BAD_HEADERS = {
    "other magic": b"\x93NUMPX",
    "objects": b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
    "code": b"{'descr': __import__('os').getcwd(), 'fortran_order': False, 'shape': (1,), }",
    "negative": b"{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }",
    "huge": b"{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999, 9999999), }",
    "missing": b"{'descr': '<f8', 'shape': (1,), }",
    "fields of objects": b"{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (1,), }",
    "not a tuple": b"{'descr': '<f8', 'fortran_order': False, 'shape': [1], }",
}


@pytest.mark.parametrize("name", BAD_HEADERS)
def test_a_damaged_header_is_refused(name):
    text = BAD_HEADERS[name] + b"\n"
    head = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(8)
    if name == "other magic":
        head = text + bytes(100)
    with pytest.raises(IntegrityError):
        decode("numpy", head, [])


def test_a_part_of_another_array_is_refused(bytes_part, store_part):
    one, other = encode(np.zeros(9000)), encode(np.zeros(9001))
    with pytest.raises(IntegrityError, match="header"):
        decode("numpy", one.head, [store_part(other.parts[0])])
    cut = bytes(store_part(one.parts[0]).buffer())[:-8]
    with pytest.raises(IntegrityError):
        decode("numpy", one.head, [bytes_part(cut)])
    with pytest.raises(IntegrityError):
        decode("numpy", one.head, [store_part(one.parts[0])] * 2)
