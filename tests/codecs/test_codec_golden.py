"""What was stored once stays readable, and plain formats are still written the same, byte for byte.

The files in `golden/` are what earlier versions wrote; they are never rewritten. `python test_codec_golden.py` writes
those that are missing.
"""

import collections
import datetime
import fractions
import pathlib
import uuid

import msgpack
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse

import mlflowish as mf
import mlflowish.steps.loading  # the codecs of rooms above are registered there
from mlflowish.codecs import decode, drain, encode
from mlflowish.hashing import digest
from mlflowish.units.unit import Unit

GOLDEN = pathlib.Path(__file__).parent / "golden"

VALUES = {
    "plain-builtins": {"a": [1, -(2**80), 2.5, None, True, "é", b"\0", (1, 2), ...], "b": {1}, "c": frozenset({2})},
    "plain-constructors": [
        fractions.Fraction(1, 3),
        uuid.UUID(int=7),
        pathlib.PurePosixPath("a/b"),
        datetime.datetime(2020, 1, 2, 3, 4, 5, 6, tzinfo=datetime.UTC),
        datetime.timedelta(1, 2, 3),
        collections.Counter("aab"),
        collections.OrderedDict(a=1),
        collections.deque([1], 3),
        collections.defaultdict(int, {"k": 1}),
        complex(1, -2),
        range(3),
    ],
    "plain-numpy": [
        np.float64(0.5),
        np.str_("x"),
        np.datetime64("2020", "Y"),
        np.dtype("f4"),
        np.array([1, "a"], object),
    ],
    "plain-pandas": [pd.Timestamp("2020", tz="UTC"), pd.Timedelta(1, unit="s"), pd.NaT, pd.NA],
    "plain-large": list(range(30_000)),
    "numpy-small": np.arange(6, dtype="<i4").reshape(2, 3),
    "numpy-large": np.asfortranarray(np.arange(10_000, dtype="<f8").reshape(100, 100)),
    "numpy-structured": np.array([(1, "a")], [("n", "<i8"), ("名", "<U2")]),
    "tree": {"x": np.arange(3, dtype="<i8"), "long": "s" * 70_000, "again": [np.float32(1)]},
    "bytes": b"0123456789abcdef" * 5000,
    "pandas-frame": pd.DataFrame(
        {
            "i": [1, 2],
            "f": [0.5, None],
            "s": ["a", None],
            "o": pd.Series([1, "x"], dtype=object),
            "c": pd.Categorical(["u", "v"], ordered=True),
            "t": pd.to_datetime(["2020", None]),
            "z": pd.date_range("2020", periods=2, tz="UTC"),
            "n": pd.array([1, None], dtype="Int64"),
            "p": pd.period_range("2020", periods=2, freq="M"),
        },
        index=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["x", "y"]),
    ),
    "pandas-series": pd.Series([1.5, 2.5], name="s", index=pd.date_range("2020", periods=2, freq="D")),
    "polars-frame": pl.DataFrame(
        {"a": [1, None], "s": ["x", "y"], "e": pl.Series(["u", "v"], dtype=pl.Enum(["v", "u"]))}
    ),
    "arrow-table": pa.table({"a": [1, None], "d": pa.array(["x", "y"]).dictionary_encode()}),
    "sparse": scipy.sparse.csr_array(np.eye(3)),
    "results": mf.Results(
        [1, np.arange(3, dtype="<i8")],
        [Unit("a.csv", (mf.File("a.csv"),), {"day": 1}, 7), Unit("group=b", ([mf.File("b.csv")], 2))],
    ),
}

# A string that comes twice is written once, and which equal strings are one object differs between versions of Python.
SAME_BYTES = [
    name
    for name in VALUES
    if name.split("-")[0] in ("plain", "numpy", "tree", "bytes") and name != "plain-constructors"
]


class Part:
    def __init__(self, data):
        self.data = data
        self.size_bytes = len(data)

    def buffer(self):
        return memoryview(bytearray(self.data))

    def chunks(self):
        yield self.data


def packed(encoded, parts=None):
    stored = [b"".join(map(bytes, part.chunks())) for part in parts or encoded.parts]
    return msgpack.packb([encoded.codec, encoded.head, stored])


def unpacked(name):
    codec, head, parts = msgpack.unpackb((GOLDEN / f"{name}.msgpack").read_bytes())
    return decode(codec, head, [Part(part) for part in parts], allow_pickle=False)


def counted():
    yield from range(3)
    return {"count": 3}


def drained(source=None):
    parts = []

    def store(part):
        parts.append(Part(b"".join(part.chunks())))
        return parts[-1]

    _, encoded = drain(source or [1, "a", [2, 3], np.arange(3)] * 3, store, digest_item=digest)
    return encoded, parts


def shared_state():
    """A torch state dict, for the machine that writes the golden files."""
    import torch

    return collections.OrderedDict(w=torch.arange(4, dtype=torch.bfloat16), b=torch.ones(2, dtype=torch.float64))


@pytest.mark.parametrize("name", VALUES)
def test_what_was_stored_is_still_read(name):
    assert digest(unpacked(name)) == digest(VALUES[name])


@pytest.mark.parametrize("name", SAME_BYTES)
def test_it_is_still_written_the_same(name):
    assert packed(encode(VALUES[name])) == (GOLDEN / f"{name}.msgpack").read_bytes()


def test_stored_items_are_still_read():
    encoded, parts = drained()
    assert packed(encoded, parts) == (GOLDEN / "items.msgpack").read_bytes()
    assert digest(list(unpacked("items"))) == digest([1, "a", [2, 3], np.arange(3)] * 3)


def test_what_a_generator_returned_is_still_read():
    def ending(items):
        returned.append((yield from items))

    returned = []
    assert packed(*drained(counted())) == (GOLDEN / "items-returned.msgpack").read_bytes()
    assert list(ending(unpacked("items-returned"))) == [0, 1, 2]
    assert returned == [{"count": 3}]


def test_stored_tensors_are_still_read():
    pytest.importorskip("torch", reason="the torch extra is not installed")
    assert digest(unpacked("torch")) == digest(shared_state())
    assert packed(encode(shared_state())) == (GOLDEN / "torch.msgpack").read_bytes()


if __name__ == "__main__":
    written = {name: packed(encode(value)) for name, value in VALUES.items()}
    written["items"] = packed(*drained())
    written["items-returned"] = packed(*drained(counted()))
    written["torch"] = packed(encode(shared_state()))
    for name, data in written.items():
        path = GOLDEN / f"{name}.msgpack"
        if not path.exists():
            path.write_bytes(data)
