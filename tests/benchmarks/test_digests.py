"""What digests of values cost, beside `joblib.hash` and plain BLAKE3 in the same run. Nothing here asserts a time."""

from __future__ import annotations

import dataclasses

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from blake3 import blake3

from mlflowish.hashing import digest, digest_call

ROWS = 100_000


@dataclasses.dataclass
class Row:
    number: int
    name: str


def frame():
    columns = {"a": np.arange(ROWS), "b": np.linspace(0, 1, ROWS), "c": [f"row {i}" for i in range(ROWS)]}
    return pd.DataFrame(columns)


VALUES = {
    "an int": lambda: 1,
    "small config": lambda: {"lr": 0.1, "epochs": 3, "name": "base"},
    "nested config": lambda: {
        "model": {"layers": [64, 32], "act": "relu"},
        "data": {"path": "x.csv", "cols": ["a", "b"]},
    },
    "10,000 ints": lambda: list(range(10_000)),
    "10,000 texts": lambda: [f"text {i}" for i in range(10_000)],
    "1,000 records": lambda: [{"a": i, "b": str(i), "c": 0.5} for i in range(1_000)],
    "1,000 dataclasses": lambda: [Row(i, str(i)) for i in range(1_000)],
    "1,000 numpy scalars": lambda: list(np.linspace(0, 1, 1_000)),
    "1,000 texts in a set": lambda: {f"text {i}" for i in range(1_000)},
    "1 kB array": lambda: np.zeros(128),
    "1 MB array": lambda: np.linspace(0, 1, 131_072),
    "1 MB array, transposed": lambda: np.linspace(0, 1, 131_044).reshape(362, 362).T,
    "100k x 3 frame": frame,
    "100k x 3 frame, text as objects": lambda: frame().astype({"c": object}),
    "100k x 3 Arrow table": lambda: pa.Table.from_pandas(frame()),
    "100k x 3 polars frame": lambda: pl.from_pandas(frame()),
}
HASHES = {"mlflowish": digest, "joblib": joblib.hash}


@pytest.mark.parametrize("peer", HASHES)
@pytest.mark.parametrize("name", VALUES)
def test_digest(benchmark, name, peer):
    benchmark.group = f"digest: {name}"
    benchmark(HASHES[peer], VALUES[name]())


@pytest.mark.parametrize("peer", ["mlflowish", "joblib", "blake3"])
@pytest.mark.benchmark(group="digest: 80 MB array")
def test_large_array(benchmark, peer, full):
    array = np.linspace(0, 1, 10_000_000 if full else 10_000)
    hashes = {**HASHES, "blake3": lambda it: blake3(it.view(np.uint8), max_threads=blake3.AUTO).digest()}
    benchmark(hashes[peer], array)


@pytest.mark.benchmark(group="digest: two scalar arguments")
@pytest.mark.parametrize("peer", ["mlflowish", "joblib"])
def test_two_scalar_arguments(benchmark, peer):
    if peer == "joblib":
        benchmark(joblib.hash, {"a": 1, "b": 2.0})
    else:
        benchmark(digest_call, ("a", "b"), (1, 2.0))
