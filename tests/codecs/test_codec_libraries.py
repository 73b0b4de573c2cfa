"""Arrow, polars, scipy.sparse and torch: open formats, exact types, no pickle."""

import datetime
import decimal
import io
import sys

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflowish.codecs import decode, encode
from mlflowish.errors import IntegrityError, MissingExtraError
from mlflowish.hashing import digest

LIMITS = [0, 1 << 16]

TABLE = pa.table(
    {
        "i": [1, 2, None],
        "s": ["x", None, "z"],
        "d": pa.array(["a", "b", "a"]).dictionary_encode(),
        "l": [[1], [], None],
        "st": [{"a": 1}, None, {"a": 2}],
        "dec": [decimal.Decimal("1.10")] * 3,
        "when": pa.array([datetime.datetime(2020, 1, 1)] * 3, pa.timestamp("us", "Europe/Paris")),
        "m": pa.array([[("k", 1)]] * 3, pa.map_(pa.string(), pa.int8())),
    }
).replace_schema_metadata({"made": "by hand"})

ARROW = {
    "table": TABLE,
    "slice": TABLE.slice(1),
    "no columns": pa.table({}),
    "no rows": TABLE.slice(0, 0),
    "batch": TABLE.to_batches()[0],
    "chunked": pa.chunked_array([[1], [], [2, None]]),
    "chunks with dictionaries of their own": pa.chunked_array(
        [pa.array(["a"]).dictionary_encode(), pa.array(["b"]).dictionary_encode()]
    ),
    "two chunks": pa.concat_tables([TABLE.drop(["d"]), TABLE.drop(["d"]).slice(1)]),
    "array": pa.array([1.5, None]),
    "text": pa.array(["é", None]),
    "views": pa.array(["a" * 20, "b"], pa.string_view()),
    "nulls": pa.nulls(3),
    "sliced booleans": pa.array([True, False, None] * 5).slice(3, 7),
    "schema": TABLE.schema,
}


@pytest.mark.parametrize("inline_limit", LIMITS)
@pytest.mark.parametrize("name", ARROW)
def test_arrow_data_comes_back(load, name, inline_limit):
    value = ARROW[name]
    encoded = encode(value, inline_limit=inline_limit)
    assert encoded.codec == "arrow"
    back = load(encoded, allow_pickle=False)
    assert type(back) is type(value)
    assert back.equals(value)
    assert digest(back) == digest(value)


def test_arrow_columns_are_written_from_their_memory_and_mapped_on_load(store_part):
    table = pa.table({"a": np.arange(100_000.0), "b": np.arange(100_000)})
    encoded = encode(table)
    first = table["a"].chunk(0).buffers()[1].address
    addresses = [np.frombuffer(slab, "u1").ctypes.data for slab in encoded.parts[0].chunks() if len(slab) > 1000]
    assert first in addresses
    part = store_part(encoded.parts[0])
    buffer = part.buffer()
    part.buffer = lambda: buffer
    back = decode(encoded.codec, encoded.head, [part])
    begin = np.frombuffer(buffer, "u1").ctypes.data
    assert begin < back["b"].chunk(0).buffers()[1].address < begin + len(buffer)
    assert pa.ipc.open_stream(io.BytesIO(bytes(buffer))).read_all().equals(table)


@pytest.mark.parametrize("value", [pa.scalar(3), pa.int64(), pa.field("a", pa.int8())], ids=str)
def test_other_things_of_arrow_are_pickled(load, value):
    encoded = encode(value)
    assert encoded.codec == "pickle"
    assert load(encoded) == value


def test_an_arrow_stream_whose_offsets_lead_outside_is_refused(bytes_part, store_part):
    encoded = encode(pa.array(["abc", "defg"] * 10), inline_limit=0)
    data = bytearray(store_part(encoded.parts[0]).buffer())
    place = bytes(data).index((3).to_bytes(4, "little") + (7).to_bytes(4, "little"))
    data[place : place + 4] = (2_000_000).to_bytes(4, "little")
    with pytest.raises(IntegrityError):
        decode("arrow", encoded.head, [bytes_part(data)])


POLARS = pl.DataFrame(
    {
        "i": [1, None, 3],
        "s": ["a", None, "c" * 30],
        "cat": pl.Series(["a", "b", None], dtype=pl.Categorical),
        "enum": pl.Series(["x", "y", "x"], dtype=pl.Enum(["y", "x"])),
        "d": [datetime.date(2020, 1, 1)] * 3,
        "t": pl.Series([datetime.datetime(2020, 1, 1)] * 3).dt.replace_time_zone("Europe/Paris"),
        "time": [datetime.time(1)] * 3,
        "du": [datetime.timedelta(1)] * 3,
        "l": [[1], [], None],
        "st": [{"a": 1, "b": "x"}] * 3,
        "ar": pl.Series([[1, 2]] * 3, dtype=pl.Array(pl.Int8, 2)),
        "dec": [decimal.Decimal("1.1")] * 3,
        "bin": [b"a"] * 3,
        "null": [None] * 3,
        "b": [True, None, False],
        "i128": pl.Series([1, 2, 3], dtype=pl.Int128),
        "f": [float("nan"), 1.0, None],
    }
)
FRAMES = {
    "everything": POLARS,
    "arrow types": POLARS.drop("i128"),
    "no rows": POLARS.clear(),
    "nothing": pl.DataFrame(),
    "filtered": POLARS.filter(pl.col("i") == 3),
    "chunks": pl.concat([POLARS, POLARS], rechunk=False),
    "series": POLARS["s"],
    "enum": POLARS["enum"],
    "i128": POLARS["i128"],
}


@pytest.mark.parametrize("inline_limit", LIMITS)
@pytest.mark.parametrize("name", FRAMES)
def test_polars_frames_and_series_come_back(load, name, inline_limit):
    value = FRAMES[name]
    encoded = encode(value, inline_limit=inline_limit)
    assert encoded.codec == "polars"
    back = load(encoded, allow_pickle=False)
    assert type(back) is type(value)
    assert back.equals(value, null_equal=True)
    assert (back.schema if isinstance(value, pl.DataFrame) else (back.name, back.dtype)) == (
        value.schema if isinstance(value, pl.DataFrame) else (value.name, value.dtype)
    )
    assert digest(back) == digest(value)


def test_a_filtered_polars_frame_is_stored_without_the_text_it_was_filtered_from():
    large = pl.DataFrame({"s": [f"{'x' * 100}{n}" for n in range(20_000)]})
    encoded = encode(large.filter(pl.col("s").str.ends_with("777")))
    assert len(encoded.head) + sum(part.size_bytes for part in encoded.parts) < 20_000


FORMS = [f"{form}_{flavour}" for form in ("csr", "csc", "bsr", "coo", "dia") for flavour in ("matrix", "array")]


@pytest.mark.parametrize("inline_limit", LIMITS)
@pytest.mark.parametrize("kind", FORMS)
def test_sparse_matrices_come_back_in_their_form(load, kind, inline_limit):
    make = getattr(scipy.sparse, kind)
    for value in (make(scipy.sparse.random(40, 30, 0.2, random_state=0)), make((3, 4), dtype="f4")):
        encoded = encode(value, inline_limit=inline_limit)
        assert encoded.codec == "sparse"
        back = load(encoded, allow_pickle=False)
        assert type(back) is type(value)
        assert back.dtype == value.dtype
        assert digest(back) == digest(value)
        assert np.array_equal(back.toarray(), value.toarray())


@settings(max_examples=40, deadline=None)
@given(
    dense=st.lists(st.lists(st.integers(-2, 2), min_size=3, max_size=3), min_size=1, max_size=4),
    kind=st.sampled_from(FORMS),
)
def test_any_sparse_matrix_comes_back(load, dense, kind):
    value = getattr(scipy.sparse, kind)(np.array(dense, dtype="i8"))
    assert digest(load(encode(value))) == digest(value)


def test_index_arrays_keep_their_width(load):
    wide = scipy.sparse.csr_array((np.ones(1), np.array([0], dtype="i8"), np.array([0, 1], dtype="i8")), shape=(1, 3))
    wide.indices, wide.indptr = wide.indices.astype("i8"), wide.indptr.astype("i8")
    assert load(encode(wide)).indices.dtype == np.dtype("i8")


def with_wild_place(kind):
    value = getattr(scipy.sparse, kind)(np.eye(4))
    (value.coords[0] if kind == "coo_array" else value.indices)[2] = 1_000_000
    return value


def with_wild_pointers():
    value = scipy.sparse.csr_array((4, 4))
    value.indptr[:] = [0, 1, 2, 3, 0]
    return value


WILD = {
    **{kind: with_wild_place(kind) for kind in ("csr_array", "csc_matrix", "bsr_array", "coo_array")},
    "pointers that go back": with_wild_pointers(),
}


@pytest.mark.parametrize("name", WILD)
def test_indexes_that_lead_outside_are_refused(name, monkeypatch):
    assert encode(WILD[name]).codec == "pickle"
    monkeypatch.setattr("mlflowish.codecs.sparse._check", lambda value, form: None)
    encoded = encode(WILD[name])
    monkeypatch.undo()
    with pytest.raises(IntegrityError):
        decode("sparse", encoded.head, [])


class TestTorch:
    """Needs torch, which has no wheel for some versions of Python."""

    @pytest.fixture(autouse=True)
    def _torch(self):
        self.torch = pytest.importorskip("torch", reason="the torch extra is not installed")

    def values(self):
        torch = self.torch
        torch.manual_seed(0)
        return {
            "float": torch.rand(3, 4),
            "transposed": torch.rand(3, 4).T,
            "bfloat16": torch.rand(3).bfloat16(),
            "float8": torch.rand(3).to(torch.float8_e5m2),
            "bool": torch.tensor([True, False]),
            "conjugate": torch.rand(3, dtype=torch.complex64).conj(),
            "scalar": torch.tensor(3),
            "empty": torch.zeros(0, 3),
            "wants gradient": torch.rand(2, requires_grad=True),
            "parameter": torch.nn.Parameter(torch.rand(2)),
            "frozen parameter": torch.nn.Parameter(torch.rand(2), requires_grad=False),
            "unsigned": torch.tensor([1, 65535], dtype=torch.uint16),
        }

    @pytest.mark.parametrize("inline_limit", LIMITS)
    def test_tensors_come_back(self, load, inline_limit):
        for name, value in self.values().items():
            encoded = encode(value, inline_limit=inline_limit)
            assert encoded.codec == "torch", name
            back = load(encoded, allow_pickle=False)
            assert type(back) is type(value), name
            assert (back.dtype, back.shape, back.requires_grad) == (value.dtype, value.shape, value.requires_grad), name
            assert digest(back) == digest(value), name

    def test_a_state_dict_is_stored_without_pickle_and_loads_into_the_module(self, load):
        torch = self.torch
        module = torch.nn.Sequential(torch.nn.Linear(40, 500), torch.nn.BatchNorm1d(500))
        encoded = encode(module.state_dict())
        assert (encoded.codec, encoded.executes_code) == ("tree", False)
        back = load(encoded, allow_pickle=False)
        assert back._metadata == module.state_dict()._metadata
        module.load_state_dict(back)
        assert digest(module.state_dict()) == digest(back)

    def test_a_module_keeps_its_weights_outside_the_pickle(self, load):
        module = self.torch.nn.Linear(500, 100)
        encoded = encode(module)
        assert max(part.size_bytes for part in encoded.parts) > 200_000
        assert digest(load(encoded)) == digest(module)

    def test_the_part_is_a_safetensors_file_and_writing_to_the_tensor_leaves_it_alone(self, load, store_part):
        value = self.torch.arange(50_000)
        encoded = encode(value)
        data = bytes(store_part(encoded.parts[0]).buffer())
        length = int.from_bytes(data[:8], "little")
        assert (length + 8) % 64 == 0
        assert b'"dtype":"I64"' in data[8 : 8 + length]
        assert data[8 + length :] == value.numpy().tobytes()
        load(encoded)[:] = 0
        assert load(encoded)[7] == 7

    def test_sparse_and_quantised_tensors_are_pickled(self, load):
        value = self.torch.eye(3).to_sparse()
        encoded = encode(value)
        assert encoded.codec == "pickle"
        assert digest(load(encoded)) == digest(value)

    def test_damage_is_refused(self, bytes_part, store_part):
        encoded = encode(self.torch.arange(50_000))
        data = bytes(store_part(encoded.parts[0]).buffer())
        for wrong in (
            data[:-1],
            data[:4],
            b"\xff" * 8 + data[8:],
            data.replace(b"I64", b"Q99"),
            data.replace(b"50000]", b"-1   ]"),
        ):
            with pytest.raises(IntegrityError):
                decode("torch", encoded.head, [bytes_part(wrong)])


def made_of(library):
    if library == "numpy":
        return np.arange(3)
    if library == "polars":
        return pl.DataFrame({"a": [1]})
    if library == "pandas":
        import pandas as pd

        return pd.DataFrame({"a": [1]})
    from sklearn.linear_model import Ridge

    return Ridge()


@pytest.mark.parametrize("library", ["numpy", "pandas", "polars", "sklearn"])
def test_a_library_that_is_not_here_is_no_damage(monkeypatch, library):
    encoded = encode(made_of(library), inline_limit=1 << 20)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=f"needs the extra '{library}'") as missing:
        decode(encoded.codec, bytes(encoded.head), [])
    assert missing.value.extra == library
