"""Literal digests: whoever changes one of these orphans everything that users have stored under it."""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import enum
import fractions
import ipaddress
import pathlib
import re
import types
import uuid
import zoneinfo
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse as sp

from mlflowish.hashing import digest


@dataclass
class Point:
    x: Any
    y: Any


class Colour(enum.Enum):
    RED = 1


Pair = collections.namedtuple("Pair", "a b")


def loop() -> list[Any]:
    made: list[Any] = [1]
    made.append(made)
    return made


def by_name(obj: object, path: str) -> bytes:
    return str(getattr(obj, "__qualname__", obj)).encode()


VALUES: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "True": lambda: True,
    "1": lambda: 1,
    "-1": lambda: -1,
    "2**100": lambda: 2**100,
    "1.0": lambda: 1.0,
    "-0.0": lambda: -0.0,
    "nan": lambda: float("nan"),
    "1j": lambda: 1j,
    "text": lambda: "text",
    "wide text": lambda: "π\U0001f600",
    "half a pair": lambda: "\ud800",
    "bytes": lambda: b"bytes",
    "long text": lambda: "π" * (1 << 21),
    "long bytes": lambda: b"b" * (1 << 21),
    "bytearray": lambda: bytearray(b"bytes"),
    "memoryview": lambda: memoryview(b"bytes"),
    "ellipsis": lambda: ...,
    "not implemented": lambda: NotImplemented,
    "range": lambda: range(1, 10, 2),
    "slice": lambda: slice(1, None, 2),
    "empty list": list,
    "list": lambda: [1, 2.0, "3", None],
    "list with NaN": lambda: [1.0, float("nan")],
    "tuple": lambda: (1, 2),
    "dict": lambda: {"lr": 0.1, "layers": [64, 32], "name": "x"},
    "nested": lambda: [[[1], {"a": (2, [3])}]],
    "set of text": lambda: {"a", "b"},
    "mixed set": lambda: {1, "a", (2, 3)},
    "frozenset": lambda: frozenset({1, 2}),
    "list with a set": lambda: [1, {"a"}],
    "list with code": lambda: [Point],
    "list in itself": loop,
    "date": lambda: dt.date(2024, 2, 29),
    "datetime": lambda: dt.datetime(2024, 2, 29, 12, 30, fold=1),
    "datetime in UTC": lambda: dt.datetime(2024, 2, 29, tzinfo=dt.UTC),
    "datetime in Berlin": lambda: dt.datetime(2024, 2, 29, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
    "time": lambda: dt.time(12, 30),
    "timedelta": lambda: dt.timedelta(1, 2, 3),
    "Decimal": lambda: decimal.Decimal("1.50"),
    "Fraction": lambda: fractions.Fraction(1, 3),
    "UUID": lambda: uuid.UUID(int=7),
    "path": lambda: pathlib.Path("a/b"),
    "pure path": lambda: pathlib.PureWindowsPath("a/b"),
    "pattern": lambda: re.compile("a+", re.I),
    "address": lambda: ipaddress.ip_address("10.0.0.1"),
    "array module": lambda: array("l", [1, 2]),
    "OrderedDict": lambda: collections.OrderedDict(a=1),
    "defaultdict": lambda: collections.defaultdict(None, a=1),
    "Counter": lambda: collections.Counter("aab"),
    "deque": lambda: collections.deque([1], 3),
    "SimpleNamespace": lambda: types.SimpleNamespace(a=1),
    "exception": lambda: ValueError("bad"),
    "namedtuple": lambda: Pair(1, 2),
    "dataclass": lambda: Point(1, [2]),
    "dataclass with a set": lambda: Point(1, {2}),
    "enum": lambda: Colour.RED,
    "ndarray f8": lambda: np.array([1.0, 2.0]),
    "ndarray with NaN": lambda: np.array([1.0, np.nan]),
    "ndarray 2-d": lambda: np.arange(6).reshape(2, 3),
    "ndarray 0-d": lambda: np.array(1, "u1"),
    "ndarray big-endian": lambda: np.array([1], ">i4"),
    "ndarray bool": lambda: np.array([True, False]),
    "ndarray text": lambda: np.array(["a", "bc"]),
    "ndarray time": lambda: np.array(["2020-01-01"], "M8[s]"),
    "ndarray structured": lambda: np.array([(1, 2.0)], [("a", "i4"), ("b", "f8")]),
    "ndarray object": lambda: np.array([1, "a", None], object),
    "ndarray variable text": lambda: np.array(["a", "bc"], np.dtypes.StringDType()),
    "ndarray masked": lambda: np.ma.array([1, 2], mask=[0, 1]),
    "float64": lambda: np.float64(1.5),
    "int32": lambda: np.int32(1),
    "datetime64": lambda: np.datetime64("2020-01-01", "D"),
    "list of float64": lambda: [np.float64(1), np.float64(2)],
    "dtype": lambda: np.dtype("f4"),
    "Generator": lambda: np.random.default_rng(1),
    "RandomState": lambda: np.random.RandomState(1),
    "DataFrame": lambda: pd.DataFrame({"a": [1, 2], "b": [0.5, None], "c": pd.Series(["x", None], dtype=object)}),
    "DataFrame text": lambda: pd.DataFrame({"a": pd.Series(["x", None], dtype="string[pyarrow]")}),
    "DataFrame empty": lambda: pd.DataFrame({"a": pd.Series([], dtype="int64")}),
    "Series": lambda: pd.Series([1, 2], name="s", index=["a", "b"], dtype="Int64").set_axis(pd.Index([5, 7])),
    "Series categorical": lambda: pd.Series(pd.Categorical([1, 2, 1], ordered=True)),
    "Index": lambda: pd.RangeIndex(3),
    "MultiIndex": lambda: pd.MultiIndex.from_product([[1, 2], [3, 4]], names=["a", None]),
    "Timestamp": lambda: pd.Timestamp("2020-01-01", tz="UTC").as_unit("ns"),
    "Interval": lambda: pd.Interval(0, 1),
    "NA": lambda: pd.NA,
    "NaT": lambda: pd.NaT,
    "pa.Array": lambda: pa.array([1, None, 3]),
    "pa.Array text": lambda: pa.array(["a", None, ""]),
    "pa.Array nested": lambda: pa.array([[{"a": 1}], None, []]),
    "pa.Array dictionary": lambda: pa.array(["a", "b", "a"]).dictionary_encode(),
    "pa.Table": lambda: pa.table({"a": [1, 2], "b": ["x", None]}),
    "pa.Schema": lambda: pa.schema([("a", pa.int8())], {"k": "v"}),
    "pl.DataFrame": lambda: pl.DataFrame({"a": [1, None], "b": ["x", "y"]}),
    "pl.Series": lambda: pl.Series("s", [[1], []]),
    "csr_array": lambda: sp.csr_array(np.eye(2)),
}

PINNED = {
    "None": "af329b6daf1cb55dcbc9015b7546c7de",
    "True": "0f4cdec86e287db0bf704c19dcf6157f",
    "1": "28df6381ea7b4011125ba0bfbcd977e8",
    "-1": "5880ff3b9cc477dc7a11c47ff262e891",
    "2**100": "736608ce8e693d0b5b5b6f7070cbdad6",
    "1.0": "e8cf02758e30fadc5fa90e220ce825f5",
    "-0.0": "c09f6289e0eb05d4851838e669ab8cfe",
    "nan": "eba63db670895fd38e16b917c6689bc1",
    "1j": "040ffd9ef9e3fd29d76dd15a9da29e29",
    "text": "f4028dccedadb6a7ed97fd62bbc1c213",
    "wide text": "10fa6e2c066f350e17bf041cd68a5db0",
    "half a pair": "c4b383a572209a4b366edba936a57569",
    "bytes": "2d4bd33450ecbe5264f5d69b329f61e2",
    "long text": "ff4b800da185b9e330bfb15264765725",
    "long bytes": "30e60ee02605864d3590f1b09ca95d5c",
    "bytearray": "128bc55b60f4185cf8daac112f5b0b5c",
    "memoryview": "1531787e812692e1ac2c77d1442e0c5d",
    "ellipsis": "82a4f790fadf5678964cce4fe0386466",
    "not implemented": "8bbf0a0c6ecb3a64d5e9da04f05024bd",
    "range": "a9e53eaa145a7f23f87710f3a684e30c",
    "slice": "bfbf0cf5af94a7b7ca775c507a9e4d0c",
    "empty list": "9013a715ecb4a2781dba9f08981573cd",
    "list": "71f7c8544394348158a61abb17efc8c8",
    "list with NaN": "25a265d770f80d3468a36af521f47bd2",
    "tuple": "a05f6ac20c35c2f2ea08a00dae506ad5",
    "dict": "35f6e5c70dfedd995a949bf8fab11ed4",
    "nested": "7b6b0b55f24c42771faa2938373e9d47",
    "set of text": "a1118455283f9e6b657de6eed0164a6b",
    "mixed set": "879e4dd8f7e0f1d16f9daed420dd1300",
    "frozenset": "30b1ccbc87fefb909189b5382786a1dd",
    "list with a set": "bf0ce4b873a02ec3deee55fa4b142295",
    "list with code": "a8b26f4358866482e952b0b632364225",
    "list in itself": "63dda5d36363e7c469af5b99309f08df",
    "date": "386e104d8303427887d92f8b667a028f",
    "datetime": "d0b22f9c74319a5ecb450d326b5870ce",
    "datetime in UTC": "9d1db204a4407ba3fc892c18baa4480e",
    "datetime in Berlin": "4d522d2961471ce7002058af4ec504fb",
    "time": "c22f0d39fc7dd750510e58ff0320cbda",
    "timedelta": "2dc65f98638fd33cde79694dc7454b0c",
    "Decimal": "ecae356300bef8ed5c74f18d31339c04",
    "Fraction": "2691ac1c2adc0dd097f5b92a50a19912",
    "UUID": "8b9d75bde478a7f01142a1197a570cc5",
    "path": "da24266849e2f9e0db4bc714bb797b2b",
    "pure path": "0e258b6526bec6726658f8f34e1e1bfa",
    "pattern": "e68826ed184885e15a837d5fed96b138",
    "address": "75c7c797521d369a20f813919e20f25f",
    "array module": "819e49f4f29eb30d808ffc47be63fa79",
    "OrderedDict": "cdcb41a2b013493c8ffa04c3c2225e38",
    "defaultdict": "151bea0707ca42ca7993b35a905cdaa4",
    "Counter": "fd02f7477d195b1151bd78cc87444af6",
    "deque": "28ae0e6f7e839a0a5a63793a63c1b9e9",
    "SimpleNamespace": "419dc2692a117fc064b54b67b4f3195b",
    "exception": "9bc8def51bbf11e6aac9d65baa05f5e1",
    "namedtuple": "7146f9166c9de430769272a4e6ac06bc",
    "dataclass": "d2d4434c9ce1345865c52b2ed8ae1e6a",
    "dataclass with a set": "04f65f790a767ae884d4f7ddd27d84df",
    "enum": "ef9008573197150bb8a08949451d8f4e",
    "ndarray f8": "3a0487b81d8086db7adcc9c50fd4e216",
    "ndarray with NaN": "3dfbb75813e0d6b128c38856374a925e",
    "ndarray 2-d": "82ff36a76c73ba410a7f147200e0eff6",
    "ndarray 0-d": "955849ee31f11d8b78067d1e75e341a8",
    "ndarray big-endian": "bb94b60b9750eb7d8358dd5330946713",
    "ndarray bool": "9940125465e4915abd30135d0d2487ab",
    "ndarray text": "23040fb4bd435546031c48a103b9bb5b",
    "ndarray time": "4d7731bbec06cd5ebd6d17a9fb347731",
    "ndarray structured": "67a01082a71560a38355b79d8bf99cc5",
    "ndarray object": "9f8b79530694fcd9621e10103c619535",
    "ndarray variable text": "962372a0ed3e81fc813609773e053902",
    "ndarray masked": "c24a1d8cc84199938ae862a0279189d0",
    "float64": "5ea47e7f78115451e7f8a9d8c53eddeb",
    "int32": "06f9496e2d47965d1a0e746d29998d37",
    "datetime64": "755fa3106b6637b2fc09b7413e430571",
    "list of float64": "15ed8371cab49ac6fdc4005ab00d646c",
    "dtype": "bc8dffaff8aadf1179a8f13b9c07d265",
    "Generator": "7d872d5bac49e41d95aecf2a9dea49cb",
    "RandomState": "c1dd3de8866ecad35fdb087ca0ddca65",
    "DataFrame": "cd333033b88671c8b5296801c7fa6812",
    "DataFrame text": "302a0e433ae70466140f974b089633ff",
    "DataFrame empty": "1a1377f229a76d1042dfe166f5d8d6cb",
    "Series": "d99782ffe25240fb8038c0be86100df9",
    "Series categorical": "e3ee7f29a73da0b3c14541ce42693be6",
    "Index": "53af149f2805b1f9121494a05b37fb92",
    "MultiIndex": "9a647c0cfbcb414a04cbdbf49aa1c2f6",
    "Timestamp": "55cc733011efa706774aa21cbd3bd135",
    "Interval": "ec324a87761500f24a7ef9e9d14fdbfc",
    "NA": "981480361fbe36379e0d9f1da07eebd1",
    "NaT": "c30fc771623c48058039e7d6ece1e759",
    "pa.Array": "eaad7f111082b21290518af68784b36d",
    "pa.Array text": "8d441582977edb6c8f3ca3e8b15c3cec",
    "pa.Array nested": "0b5a30147435bf31df2c2fd7d305e63e",
    "pa.Array dictionary": "42d569215e1bf7982d0a7887192dcca5",
    "pa.Table": "70e9790bf41ba4161ad7940466e86a56",
    "pa.Schema": "d8d7e5a25f2b5125ad0c2d3206958b2b",
    "pl.DataFrame": "abcc62b95d7699d4461d892b90b8c712",
    "pl.Series": "8dab7dea159ff278f9535188895840ca",
    "csr_array": "f0a8cf1e3e2ac1e17386d6703b44d542",
}


@pytest.mark.parametrize("name", VALUES)
def test_a_digest_never_changes(name: str) -> None:
    assert digest(VALUES[name](), code=by_name).hex() == PINNED[name]


def test_pinned_values_are_all_different() -> None:
    assert len(set(PINNED.values())) == len(PINNED) == len(VALUES)
