"""numpy: dtype, shape, byte order, layout, views, masks, structures, objects, scalars, generators."""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
from groups import Groups

groups = Groups()

SQUARE = np.arange(9.0).reshape(3, 3)
CUBE = np.arange(24).reshape(2, 3, 4)
RECORD = np.dtype([("a", "i1"), ("b", "f8")])
ALIGNED = np.dtype([("a", "i1"), ("b", "f8")], align=True)


def padded(noise: int) -> Any:
    raw = np.full(2 * ALIGNED.itemsize, noise, np.uint8).view(ALIGNED)
    raw["a"], raw["b"] = [1, 2], [3.0, 4.0]
    return raw


def under_mask(hidden: float) -> Any:
    return np.ma.array([1.0, hidden, 3.0], mask=[0, 1, 0])


def mapped(values: Any) -> Any:
    with tempfile.TemporaryFile() as file:
        array = np.memmap(file, values.dtype, "w+", shape=values.shape)
        array[:] = values
        return array


def long_double(noise: int) -> Any:
    raw = np.full(2 * np.dtype("g").itemsize, noise, np.uint8).view("g")
    raw[...] = [1, 2]
    clean = np.array([1, 2], "g")
    if noise and raw.itemsize == 16 and np.finfo("g").nmant == 63:
        view = raw.view(np.uint8).reshape(2, 16)
        view[:, :10] = clean.view(np.uint8).reshape(2, 16)[:, :10]
        view[:, 10:] = noise
    return raw


def nan_bits(bits: int) -> Any:
    return np.array([bits, 0], np.uint64).view(np.float64)


def spawned() -> Any:
    generator = np.random.default_rng(1)
    generator.spawn(1)
    return generator


def drawn(generator: Any, times: int) -> Any:
    for _ in range(times):
        generator.integers(100) if hasattr(generator, "integers") else generator.randint(100)
    return generator


class Marked(np.ndarray):  # type: ignore[type-arg]
    unit = "m"


def marked(unit: str) -> Any:
    array = np.arange(3).view(Marked)
    array.unit = unit
    return array


groups.distinct(
    "three zeros of every dtype",
    *[
        lambda t=t: np.zeros(3, t)
        for t in [
            "?",
            "i1",
            "u1",
            "i2",
            ">i2",
            "i4",
            "u4",
            "i8",
            ">i8",
            "u8",
            "f2",
            "f4",
            ">f4",
            "f8",
            ">f8",
            "g",
            "c8",
            "c16",
        ]
    ],
    *[
        lambda t=t: np.zeros(3, t)
        for t in [
            "S1",
            "S2",
            "U1",
            ">U1",
            "U2",
            "V1",
            "V8",
            "O",
            "M8[s]",
            "M8[ns]",
            "M8[D]",
            "m8[s]",
            "m8[ns]",
            RECORD,
            ALIGNED,
        ]
    ],
    lambda: np.zeros(3, np.dtypes.StringDType()),
    lambda: [0, 0, 0],
    lambda: bytes(24),
)
groups.distinct(
    "shapes",
    lambda: np.zeros(6),
    lambda: np.zeros((6, 1)),
    lambda: np.zeros((1, 6)),
    lambda: np.zeros((2, 3)),
    lambda: np.zeros((3, 2)),
    lambda: np.zeros((1, 2, 3)),
    lambda: np.zeros((6, 0)),
    lambda: np.zeros((0, 6)),
    lambda: np.zeros(0),
)
groups.distinct(
    "a square and its turns",
    lambda: SQUARE,
    lambda: SQUARE.T,
    lambda: SQUARE[::-1],
    lambda: SQUARE[:, ::-1],
    lambda: SQUARE.ravel(),
    lambda: SQUARE.T.ravel(),
)
groups.distinct(
    "a cube and its turns",
    lambda: CUBE,
    lambda: CUBE.transpose(0, 2, 1),
    lambda: CUBE.transpose(2, 1, 0),
    lambda: CUBE.reshape(3, 2, 4),
    lambda: CUBE.reshape(4, 3, 2),
)
groups.alike(
    "layouts",
    lambda: SQUARE,
    lambda: np.asfortranarray(SQUARE),
    lambda: SQUARE.T.copy().T,
    lambda: np.arange(9.0)[:9].reshape(3, 3),
    lambda: np.repeat(SQUARE, 2, axis=0)[::2],
    lambda: np.flip(SQUARE[::-1], 0),
    lambda: mapped(SQUARE),
)
groups.alike(
    "large layouts",
    lambda: np.arange(600_000.0).reshape(600, 1000),
    lambda: np.asfortranarray(np.arange(600_000.0).reshape(600, 1000)),
    lambda: np.arange(1_200_000.0)[::2].reshape(600, 1000) / 2,
)
groups.alike(
    "large flat layouts",
    lambda: np.arange(600_000.0),
    lambda: np.arange(1_200_000.0)[::2] / 2,
    lambda: np.stack([np.arange(600_000.0)] * 2, axis=1)[:, 0],
)
groups.alike(
    "large wide layouts",
    lambda: np.arange(1_000_000).reshape(2, 500_000),
    lambda: np.arange(1_000_000).reshape(2, 500_000).T.copy().T,
    lambda: np.stack([np.arange(1_000_000).reshape(2, -1)] * 2)[0],
)
groups.alike(
    "broadcast and real copies", lambda: np.broadcast_to(np.arange(3), (4, 3)), lambda: np.tile(np.arange(3), (4, 1))
)
groups.alike(
    "views of a whole", lambda: np.arange(10)[2:5], lambda: np.array([2, 3, 4]), lambda: np.arange(4, 1, -1)[::-1]
)
groups.alike("writeable or not", lambda: np.arange(3), lambda: np.frombuffer(np.arange(3).tobytes(), np.int64))
groups.distinct(
    "values",
    lambda: np.array([1.0, 2.0]),
    lambda: np.array([2.0, 1.0]),
    lambda: np.array([1.0, np.nan]),
    lambda: np.array([1.0, np.inf]),
    lambda: np.array([1.0, -np.inf]),
)
groups.distinct(
    "zeros", lambda: np.array([0.0]), lambda: np.array([-0.0]), lambda: np.array([0]), lambda: np.array([False])
)
groups.distinct(
    "complex zeros", lambda: np.array([0j]), lambda: np.array([complex(0, -0.0)]), lambda: np.array([complex(-0.0, 0)])
)
groups.alike(
    "every NaN in an array",
    lambda: nan_bits(0x7FF8 << 48),
    lambda: nan_bits(0xFFF8 << 48),
    lambda: nan_bits((0x7FF8 << 48) + 5),
)
groups.alike(
    "every NaN in other layouts", lambda: np.array([[np.nan, 1], [2, 3]]).T, lambda: np.array([[-np.nan, 2], [1, 3]])
)
groups.alike("every NaN in small floats", lambda: np.array([np.nan, 1], "f2"), lambda: np.array([-np.nan, 1], "f2"))
groups.alike("every NaN in swapped floats", lambda: np.array([np.nan, 1], ">f8"), lambda: np.array([-np.nan, 1], ">f8"))
groups.alike(
    "every NaN in complex numbers", lambda: np.array([complex(np.nan, 1)]), lambda: np.array([complex(-np.nan, 1)])
)
groups.alike("padding of long doubles", lambda: long_double(0), lambda: long_double(255), lambda: np.array([1, 2], "g"))
groups.alike("padding of structures", lambda: padded(0), lambda: padded(255))
groups.distinct(
    "structures",
    lambda: np.zeros(2, RECORD),
    lambda: np.zeros(2, ALIGNED),
    lambda: np.zeros(2, [("b", "i1"), ("a", "f8")]),
    lambda: np.zeros(2, [("a", "u1"), ("b", "f8")]),
    lambda: np.zeros(2, [("b", "f8"), ("a", "i1")]),
    lambda: np.zeros(2, "V9"),
    lambda: np.zeros(2, [("a", "i1"), ("b", "f8"), ("c", "i1")]),
)
groups.distinct(
    "titles and sub-arrays of structures",
    lambda: np.zeros(2, [("a", "i4", 2)]),
    lambda: np.zeros(2, [("a", "i4", (2, 1))]),
    lambda: np.zeros(2, [("a", "i8")]),
    lambda: np.zeros(2, [(("title", "a"), "i8")]),
    lambda: np.zeros(2, [("a", [("b", "i8")])]),
)
groups.alike(
    "structures with strides",
    lambda: np.array([(1, 2.0), (3, 4.0)], RECORD),
    lambda: np.array([(1, 2.0), (9, 9.0), (3, 4.0), (9, 9.0)], RECORD)[::2],
)
groups.distinct(
    "structures of objects",
    lambda: np.array([(1, "a")], [("a", "i8"), ("b", "O")]),
    lambda: np.array([(1, b"a")], [("a", "i8"), ("b", "O")]),
    lambda: np.array([(1, "b")], [("a", "i8"), ("b", "O")]),
)
groups.distinct(
    "record arrays",
    lambda: np.zeros(2, RECORD),
    lambda: np.rec.array(np.zeros(2, RECORD)),
    lambda: np.matrix([[1, 2]]),
    lambda: np.array([[1, 2]]),
)
groups.distinct(
    "scalars and arrays",
    lambda: np.float64(1),
    lambda: np.array(1.0),
    lambda: np.array([1.0]),
    lambda: 1.0,
    lambda: np.float32(1),
    lambda: np.int64(1),
    lambda: [np.float64(1)],
    lambda: np.longdouble(1),
)
groups.distinct(
    "scalars of time",
    lambda: np.datetime64("2020-01-01"),
    lambda: np.datetime64("2020-01-01T00"),
    lambda: np.datetime64("2020"),
    lambda: np.datetime64("NaT", "s"),
    lambda: np.timedelta64("NaT", "s"),
    lambda: np.timedelta64(1, "s"),
    lambda: np.timedelta64(1, "ms"),
    lambda: np.timedelta64(1000, "ms"),
)
groups.distinct(
    "lists of scalars",
    lambda: [np.float64(1)] * 2,
    lambda: (np.float64(1),) * 2,
    lambda: [1.0, 1.0],
    lambda: np.array([1.0, 1.0]),
    lambda: [np.float32(1)] * 2,
    lambda: [np.float64(1), 1.0],
    lambda: [np.bool_(1)] * 2,
    lambda: [np.int8(1)] * 2,
)
groups.distinct(
    "lists of durations",
    lambda: [np.timedelta64(1, "s"), np.timedelta64(1000, "ms")],
    lambda: [np.timedelta64(1000, "ms")] * 2,
    lambda: [np.timedelta64(1, "s")] * 2,
)
groups.alike(
    "lists of NaN scalars", lambda: [np.float64(np.nan), np.float64(1)], lambda: [-np.float64(np.nan), np.float64(1)]
)
groups.alike("NaN scalars", lambda: np.float64(np.nan), lambda: np.float64(-np.nan), lambda: np.array([-np.nan])[0])
groups.distinct(
    "structured scalars",
    lambda: np.zeros(1, RECORD)[0],
    lambda: np.zeros(1, ALIGNED)[0],
    lambda: np.zeros((), RECORD),
    lambda: np.rec.array(np.zeros(1, RECORD))[0],
    lambda: np.void(b"\0" * 9),
)
groups.distinct(
    "text dtypes",
    lambda: np.array(["ab", "c"]),
    lambda: np.array(["a", "bc"]),
    lambda: np.array(["ab", "c"], "U5"),
    lambda: np.array(["ab", "c"], object),
    lambda: np.array(["ab", "c"], "S2"),
    lambda: np.array(["ab", "c"], np.dtypes.StringDType()),
    lambda: ["ab", "c"],
)
groups.distinct(
    "variable text",
    *[
        lambda k=k: np.array(["a", "b"], np.dtypes.StringDType(**k))
        for k in ({}, {"coerce": False}, {"na_object": None}, {"na_object": np.nan})
    ],
    lambda: np.array(["a", None], np.dtypes.StringDType(na_object=None)),
    lambda: np.array(["ab", ""], np.dtypes.StringDType()),
)
groups.distinct(
    "objects",
    lambda: np.array([1, None], object),
    lambda: np.array([1, np.nan], object),
    lambda: np.array([1, "None"], object),
    lambda: np.array([1.0, None], object),
    lambda: np.array([True, None], object),
    lambda: np.array([[1], [None]], object),
    lambda: [1, None],
)
groups.alike(
    "objects in other layouts",
    lambda: np.array([["a", {1}], [None, 2]], object),
    lambda: np.array([["a", None], [{1}, 2]], object).T,
)
groups.distinct(
    "objects split differently", lambda: np.array(["a-b", "c"], object), lambda: np.array(["a", "b-c"], object)
)
groups.alike("values under a mask", lambda: under_mask(2.0), lambda: under_mask(99.0), lambda: under_mask(np.nan))
groups.distinct(
    "masks",
    lambda: np.ma.array([1.0, 2.0]),
    lambda: np.ma.array([1.0, 2.0], mask=[0, 1]),
    lambda: np.ma.array([1.0, 2.0], mask=[1, 0]),
    lambda: np.array([1.0, 2.0]),
    lambda: np.ma.array([1.0, 0.0], mask=[0, 0]),
    lambda: np.ma.masked,
    lambda: np.ma.array([1.0, 2.0], mask=[0, 1], fill_value=-1),
)
groups.alike("no mask and an empty one", lambda: np.ma.array([1, 2]), lambda: np.ma.array([1, 2], mask=[0, 0]))
groups.distinct(
    "dtypes as values",
    *[lambda t=t: np.dtype(t) for t in ("f8", ">f8", "f4", "i8", "U1", "U2", "M8[s]", "O", RECORD, ALIGNED)],
    lambda: np.dtypes.StringDType(),
    lambda: np.float64,
    lambda: "f8",
)
groups.distinct(
    "places of a dtype",
    lambda: (np.dtype("f8"), 1),
    lambda: (1, np.dtype("f8")),
    lambda: [np.dtype("f8"), np.dtype("i8")],
    lambda: [np.dtype("i8"), np.dtype("f8")],
)
groups.distinct("universal functions", lambda: np.add, lambda: np.subtract, lambda: np.sum, lambda: np.maximum)
groups.distinct(
    "generators",
    lambda: np.random.default_rng(1),
    lambda: np.random.default_rng(2),
    lambda: drawn(np.random.default_rng(1), 1),
    spawned,
    lambda: np.random.Generator(np.random.MT19937(1)),
    lambda: np.random.RandomState(1),
    lambda: np.random.RandomState(2),
    lambda: drawn(np.random.RandomState(1), 1),
    lambda: np.random.PCG64(1),
    lambda: np.random.SeedSequence(1),
    lambda: np.random.SeedSequence(2),
)
groups.alike(
    "generators in one state", lambda: drawn(np.random.default_rng(1), 2), lambda: drawn(np.random.default_rng(1), 2)
)
groups.distinct(
    "subclasses of arrays",
    lambda: marked("m"),
    lambda: marked("s"),
    lambda: np.arange(3),
    lambda: np.arange(3).view(Marked),
)
groups.distinct(
    "arrays in containers",
    lambda: [np.zeros(2), np.zeros(3)],
    lambda: [np.zeros(3), np.zeros(2)],
    lambda: [np.zeros(5)],
    lambda: {"a": np.zeros(5)},
    lambda: (np.zeros(2), np.zeros(3)),
)
groups.distinct(
    "shape against bytes",
    lambda: np.zeros(2, "i8"),
    lambda: np.zeros(4, "i4"),
    lambda: np.zeros(16, "i1"),
    lambda: np.zeros((2, 2), "i4"),
    lambda: bytes(16),
)
groups.distinct(
    "one different element in a large array",
    lambda: np.zeros(3_000_000),
    lambda: _poked(np.zeros(3_000_000), 2_999_999),
    lambda: _poked(np.zeros(3_000_000), 1_500_000),
    lambda: np.zeros(3_000_001),
)
groups.alike(
    "booleans made from other bytes", lambda: np.array([True, False]), lambda: np.array([2, 0], np.uint8).view(bool)
)
groups.distinct(
    "polynomials",
    lambda: np.polynomial.Polynomial([1, 2]),
    lambda: np.polynomial.Polynomial([2, 1]),
    lambda: np.polynomial.Chebyshev([1, 2]),
    lambda: np.poly1d([1, 2]),
)


def _poked(array: Any, place: int) -> Any:
    array[place] = 1
    return array
