"""Builtin types and their look-alikes."""

from __future__ import annotations

import enum
import math
import struct
from array import array
from collections import namedtuple
from types import MappingProxyType, SimpleNamespace
from typing import Any

import numpy as np
from groups import Groups

groups = Groups()


class Text(str):
    pass


class Whole(int):
    pass


class Number(float):
    pass


class Pair(tuple):
    pass


class Row(list):
    pass


class Table(dict):
    pass


class One(enum.IntEnum):
    A = 1


class OneText(enum.StrEnum):
    A = "1"


class Plain(enum.Enum):
    A = 1
    B = 2


class Other(enum.Enum):
    A = 1
    B = 2


class Bits(enum.IntFlag):
    A = 1
    B = 2


class Marks(enum.Flag):
    A = 1
    B = 2


class Bare(enum.Enum):
    A = object()
    B = object()  # noqa: PIE796  # two objects, two members


Point = namedtuple("Point", "x y")
Swapped = namedtuple("Swapped", "y x")


def nested(depth: int, core: Any) -> Any:
    for _ in range(depth):
        core = [core]
    return core


def doubled(depth: int) -> Any:
    value: Any = [1]
    for _ in range(depth):
        value = [value, value]
    return value


def looped(*before: Any) -> list[Any]:
    value: list[Any] = list(before)
    value.append(value)
    return value


def unrolled(*before: Any) -> list[Any]:
    inner: list[Any] = list(before)
    outer: list[Any] = [*before, inner]
    inner.append(outer)
    return outer


def ring(names: str) -> dict[str, Any]:
    nodes: list[dict[str, Any]] = [{"name": name} for name in names]
    for here, there in zip(nodes, nodes[1:] + nodes[:1], strict=True):
        here["next"] = there
    return nodes[0]


def nan_of(bits: int) -> float:
    (value,) = struct.unpack("<d", struct.pack("<Q", bits))
    return float(value)


groups.distinct(
    "ones of every type",
    lambda: 1,
    lambda: True,
    lambda: 1.0,
    lambda: 1 + 0j,
    lambda: "1",
    lambda: b"1",
    lambda: bytearray(b"1"),
    lambda: memoryview(b"1"),
    lambda: [1],
    lambda: (1,),
    lambda: {1},
    lambda: frozenset({1}),
    lambda: {1: 1},
    lambda: range(1),
    lambda: slice(1),
    lambda: np.int64(1),
    lambda: np.int32(1),
    lambda: np.float64(1),
    lambda: np.bool_(True),
    lambda: np.str_("1"),
    lambda: np.bytes_(b"1"),
    lambda: np.array(1),
    lambda: np.array([1]),
    lambda: Whole(1),
    lambda: Number(1),
    lambda: Text("1"),
    lambda: Pair((1,)),
    lambda: Row([1]),
    lambda: Table({1: 1}),
    lambda: One.A,
    lambda: OneText.A,
    lambda: Plain.A,
    lambda: Other.A,
    lambda: Bits.A,
    lambda: Marks.A,
    lambda: array("b", [1]),
    lambda: array("q", [1]),
)
groups.distinct(
    "nothing of every type",
    lambda: None,
    lambda: False,
    lambda: 0,
    lambda: 0.0,
    lambda: -0.0,
    lambda: complex(0.0, 0.0),
    lambda: complex(0.0, -0.0),
    lambda: complex(-0.0, 0.0),
    lambda: "",
    lambda: b"",
    lambda: bytearray(),
    list,
    tuple,
    dict,
    lambda: set(),
    lambda: frozenset(),
    lambda: range(0),
    lambda: ...,
    lambda: NotImplemented,
    lambda: "None",
    lambda: [None],
    lambda: [[]],
    lambda: ((),),
    lambda: MappingProxyType({}),
    lambda: SimpleNamespace(),
    lambda: Row(),
    lambda: Table(),
    lambda: Pair(),
    lambda: Text(),
    lambda: np.array([]),
    lambda: np.array(None),
)
groups.distinct(
    "neighbouring integers", *[lambda n=n: n for n in (2**31 - 1, 2**31, 2**32, 2**63, 2**64, -(2**31), -1, -2)]
)
groups.distinct("huge integers", lambda: 10**5000, lambda: 10**5000 + 1, lambda: -(10**5000))
groups.alike(
    "every NaN", lambda: math.nan, lambda: -math.nan, lambda: math.inf - math.inf, lambda: nan_of(0x7FF8000000000123)
)
groups.alike("NaNs in a flat list", lambda: [1, math.nan, "a"], lambda: [1, -math.nan, "a"])
groups.alike("NaNs in a nested list", lambda: [[1.0, math.nan]], lambda: [[1.0, -math.nan]])
groups.alike("NaNs in a dict", lambda: {"a": math.nan}, lambda: {"a": -math.nan})
groups.alike("NaNs in a complex", lambda: complex(math.nan, 1), lambda: complex(-math.nan, 1))
groups.alike("NaNs in a set", lambda: {math.nan, 1}, lambda: {1, -math.nan})
groups.distinct(
    "NaN among others", lambda: [math.nan], lambda: [None], lambda: ["nan"], lambda: [math.inf], lambda: [-math.inf]
)
groups.distinct("zeros in lists", lambda: [0.0, 1], lambda: [-0.0, 1], lambda: [0, 1], lambda: [False, 1])
groups.distinct(
    "texts split differently", lambda: ["a-b", "c"], lambda: ["a", "b-c"], lambda: ["a-b-c"], lambda: "a-b-c"
)
groups.distinct(
    "texts joined differently", lambda: ["ab", "c"], lambda: ["a", "bc"], lambda: ["abc"], lambda: ["a", "b", "c"]
)
groups.distinct(
    "brackets placed differently",
    lambda: [[1], 2],
    lambda: [1, [2]],
    lambda: [[1, 2]],
    lambda: [1, 2],
    lambda: [[1], [2]],
)
groups.distinct(
    "text and bytes forms",
    lambda: "é",
    lambda: "e\u0301",
    lambda: "é".encode(),
    lambda: "\ud800",
    lambda: "\x00",
    lambda: "\x00\x00",
)
groups.alike(
    "interned and built text", lambda: "alpha_beta", lambda: "_".join(["alpha", "beta"]), lambda: b"alpha_beta".decode()
)
groups.distinct(
    "dict order",
    lambda: {"a": 1, "b": 2},
    lambda: {"b": 2, "a": 1},
    lambda: [("a", 1), ("b", 2)],
    lambda: (("a", 1), ("b", 2)),
)
groups.distinct(
    "dict keys and values",
    lambda: {"a": "b"},
    lambda: {"b": "a"},
    lambda: {"a": {"b": None}},
    lambda: {1: 1},
    lambda: {"1": 1},
    lambda: {True: 1},
    lambda: {1.0: 1},
)
groups.distinct("key of a tuple", lambda: {(1, 2): 3}, lambda: {1: (2, 3)}, lambda: {(1, 2, 3): None})
groups.alike(
    "set order of text",
    lambda: {"a", "b", "c", "dd"},
    lambda: {"dd", "c", "b", "a"},
    lambda: {"c", "a", "dd", "b"},
)
groups.alike("set order of mixed members", lambda: {1, "a", None, (1, 2)}, lambda: {(1, 2), None, "a", 1})
groups.alike(
    "frozenset of frozensets",
    lambda: frozenset({frozenset("ab"), frozenset("cd")}),
    lambda: frozenset({frozenset("dc"), frozenset("ba")}),
)
groups.alike("sets in a dict in a list", lambda: [{"k": {"x", "y"}}], lambda: [{"k": {"y", "x"}}])
groups.alike("sets of floats", lambda: {0.5, 1.5, 1e300}, lambda: {1e300, 1.5, 0.5})
groups.distinct(
    "nested sets",
    lambda: {frozenset("ab"), "c"},
    lambda: {frozenset("abc")},
    lambda: {"a", "b", "c"},
    lambda: {frozenset("a"), frozenset("bc")},
)
groups.distinct(
    "set and frozenset",
    lambda: {"a"},
    lambda: frozenset("a"),
    lambda: ["a"],
    lambda: {"a": None}.keys(),
    lambda: {"a": None},
)
groups.distinct(
    "sets of look-alikes",
    lambda: {1},
    lambda: {True},
    lambda: {1.0},
    lambda: {"1"},
    lambda: {0.0},
    lambda: {-0.0},
    lambda: {0},
)
groups.alike("shared and equal lists", lambda: (lambda x: [x, x])([1, 2]), lambda: [[1, 2], [1, 2]])
groups.alike("shared and equal objects", lambda: (lambda x: [x, x])({1, 2}), lambda: [{1, 2}, {2, 1}])
groups.alike("shared and equal arrays", lambda: (lambda x: [x, x])(np.arange(3)), lambda: [np.arange(3), np.arange(3)])
groups.distinct(
    "very deep lists",
    lambda: nested(10_000, 1),
    lambda: nested(10_001, 1),
    lambda: nested(10_000, 2),
    lambda: nested(10_000, "1"),
)
groups.distinct("depths around the fast path", *[lambda n=n: nested(n, 1) for n in range(6, 12)])
groups.alike("a graph of shared lists is as wide as its tree", lambda: doubled(60), lambda: [doubled(59), doubled(59)])
groups.distinct("doubled at different depths", lambda: doubled(60), lambda: doubled(61), lambda: doubled(59))
groups.alike("a list in itself, rolled and unrolled", lambda: looped(1), lambda: unrolled(1), lambda: [1, looped(1)])
groups.distinct(
    "lists in themselves",
    lambda: looped(),
    lambda: looped(1),
    lambda: looped(2),
    lambda: looped(1, 1),
    lambda: [looped(1)],
    lambda: looped(True),
)
groups.distinct(
    "rings entered anywhere",
    lambda: ring("abc"),
    lambda: ring("bca"),
    lambda: ring("cab"),
    lambda: ring("acb"),
    lambda: ring("ab"),
    lambda: ring("abcd"),
)
groups.alike("rings with repeated names", lambda: ring("ab"), lambda: ring("abab"), lambda: ring("ababab"))
groups.alike(
    "one ring twice, and two equal rings", lambda: (lambda r: (r, r))(ring("xyz")), lambda: (ring("xyz"), ring("xyz"))
)
groups.distinct(
    "bounds of a range",
    lambda: range(3),
    lambda: range(0, 3, 2),
    lambda: range(1, 3),
    lambda: range(3, 0, -1),
    lambda: [0, 1, 2],
)
groups.alike(
    "spellings of a range",
    lambda: range(3),
    lambda: range(0, 3),  # noqa: PIE808  # the spelling is the point
    lambda: range(0, 3, 1),
)
groups.distinct(
    "slices",
    lambda: slice(1),
    lambda: slice(1, None),
    lambda: slice(None, 1, 1),
    lambda: slice(1, 2, 3),
    lambda: (None, 1, None),
)
groups.distinct(
    "named tuples",
    lambda: Point(1, 2),
    lambda: Swapped(1, 2),
    lambda: (1, 2),
    lambda: Point(2, 1),
    lambda: Point(1.0, 2),
    lambda: Point([1], 2),
    lambda: {"x": 1, "y": 2},
)
groups.distinct(
    "members of enums", lambda: Plain.A, lambda: Plain.B, lambda: Other.A, lambda: "A", lambda: Bare.A, lambda: Bare.B
)
groups.distinct(
    "flags",
    lambda: Bits.A,
    lambda: Bits.B,
    lambda: Bits.A | Bits.B,
    lambda: Bits(0),
    lambda: 3,
    lambda: Marks.A | Marks.B,
    lambda: Marks(0),
)
groups.distinct("enum class and member", lambda: Plain, lambda: Plain.A, lambda: Other)
groups.distinct(
    "subclasses with attributes",
    lambda: Text("a"),
    lambda: _marked(Text("a"), 1),
    lambda: _marked(Text("a"), 2),
    lambda: _marked(Text("b"), 1),
)
groups.distinct(
    "lists with attributes", lambda: Row([1]), lambda: _marked(Row([1]), 1), lambda: Row([2]), lambda: Row([1, 1])
)
groups.distinct(
    "arrays of the array module",
    lambda: array("b", [1, 0]),
    lambda: array("h", [1]),
    lambda: array("B", [1, 0]),
    lambda: array("f", [1]),
    lambda: array("d", [1]),
    lambda: array("l", [1]),
    lambda: array("q", [1]),
)
groups.alike(
    "long arrays of the array module",
    lambda: array("l", [1, 2**31 - 1, -5]),
    lambda: array("l", range(1, 2)) + array("l", [2**31 - 1, -5]),
)
groups.distinct(
    "memory views",
    lambda: memoryview(b"abcd"),
    lambda: memoryview(b"abcd").cast("H"),
    lambda: memoryview(b"abcd").cast("B", (2, 2)),
    lambda: b"abcd",
)
groups.alike(
    "memory views by content",
    lambda: memoryview(b"abcdef")[1:4],
    lambda: memoryview(b"bcd"),
    lambda: memoryview(b"b-c-d-")[::2],
)
groups.distinct(
    "long text",
    lambda: "a" * (1 << 21),
    lambda: "a" * (1 << 21) + "a",
    lambda: b"a" * (1 << 21),
    lambda: "a" * ((1 << 21) - 1) + "b",
    lambda: "é" * (1 << 21),
)
groups.distinct(
    "long text in a list",
    lambda: ["a" * 70_000],
    lambda: ["a" * 69_999, "a"],
    lambda: ["a" * 70_001],
    lambda: ("a" * 70_000,),
    lambda: [b"a" * 70_000],
)
groups.alike("copies of long text", lambda: ["x" * 300_000] * 3, lambda: ["x" * 300_000, "x" * 300_000, "x" * 300_000])
groups.distinct(
    "long lists",
    lambda: list(range(1_100_000)),
    lambda: tuple(range(1_100_000)),
    lambda: [*range(1_099_999), 0],
    lambda: list(range(1_099_999)),
)
groups.distinct(
    "simple namespaces",
    lambda: SimpleNamespace(a=1),
    lambda: SimpleNamespace(a=2),
    lambda: SimpleNamespace(b=1),
    lambda: {"a": 1},
)
groups.alike(
    "simple namespaces in any order", lambda: SimpleNamespace(a=1, b=[object]), lambda: SimpleNamespace(b=[object], a=1)
)
groups.distinct(
    "mapping proxies and views",
    lambda: MappingProxyType({"a": 1}),
    lambda: {"a": 1},
    lambda: {"a": 1}.items(),
    lambda: {"a": 1}.keys(),
    lambda: {"a": 1}.values(),
    lambda: [("a", 1)],
)


def _marked(value: Any, mark: int) -> Any:
    value.mark = mark
    return value
