"""Values to bytes and back, beside joblib and `numpy.save` in the same run. Nothing here asserts a time: see README.md.

Stored bytes rest in files of one folder, mapped copy-on-write on load, as a local store keeps them.
"""

from __future__ import annotations

import mmap

import numpy as np
import pytest

from mlflowish.codecs import decode, encode


class Mapped:
    """A part in a file."""

    def __init__(self, path):
        self.path = path
        self.size_bytes = path.stat().st_size

    def buffer(self):
        with self.path.open("rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))


class Ours:
    def __init__(self, folder):
        self.folder = folder

    def dump(self, value):
        self.encoded = encode(value)
        self.parts = []
        for number, part in enumerate(self.encoded.parts):
            path = self.folder / f"{number}{part.suffix}"
            with path.open("wb", buffering=0) as file:
                for slab in part.chunks():
                    file.write(slab)
            self.parts.append(Mapped(path))

    def load(self):
        return decode(self.encoded.codec, self.encoded.head, self.parts)


class Joblib:
    def __init__(self, folder):
        self.path = folder / "value.joblib"

    def dump(self, value):
        import joblib

        joblib.dump(value, self.path)

    def load(self):
        import joblib

        return joblib.load(self.path)


class JoblibMapped(Joblib):
    def load(self):
        import joblib

        return joblib.load(self.path, mmap_mode="c")


class NumpySave:
    def __init__(self, folder):
        self.path = folder / "value.npy"

    def dump(self, value):
        np.save(self.path, value)

    def load(self):
        return np.load(self.path, mmap_mode="c")


PEERS = {"mlflowish": Ours, "joblib": Joblib, "joblib mapped": JoblibMapped, "numpy.save": NumpySave}


def frame(rows):
    import pandas as pd

    rng = np.random.default_rng(0)
    columns = {f"f{n}": rng.random(rows) for n in range(4)} | {"i": np.arange(rows), "b": np.arange(rows) % 2 == 0}
    return pd.DataFrame(columns | {"s": [f"row {n}" for n in range(rows)]})


def value_of(name, full):
    scale = 100 if full else 1
    match name:
        case "small dict":
            return {"accuracy": 0.93, "epochs": 12, "label": "small"}
        case "10,000 ints":
            return list(range(10_000))
        case "array":
            return np.ones(80_000 * scale)
        case "pair of arrays":
            return np.ones((4_000 * scale, 20)), np.arange(4_000 * scale)
        case "frame":
            return frame(2_000 * scale)
    raise AssertionError(name)


CASES = [
    pytest.param(name, peer, id=f"{name}-{peer}")
    for name in ("small dict", "10,000 ints", "array", "pair of arrays", "frame")
    for peer in ("mlflowish", "joblib", *(("joblib mapped", "numpy.save") if name == "array" else ()))
]


@pytest.mark.parametrize(("name", "peer"), CASES)
def test_store(benchmark, tmp_path, name, peer, full):
    benchmark.group = f"codec, store: {name}"
    value = value_of(name, full)
    benchmark(PEERS[peer](tmp_path).dump, value)


@pytest.mark.parametrize(("name", "peer"), CASES)
def test_load(benchmark, tmp_path, name, peer, full):
    benchmark.group = f"codec, load: {name}"
    stored = PEERS[peer](tmp_path)
    stored.dump(value_of(name, full))
    back = benchmark(stored.load)
    assert len(back) == len(value_of(name, full))


def test_load_and_touch_an_array(benchmark, tmp_path, full):
    benchmark.group = "codec, load and sum: array"
    stored = Ours(tmp_path)
    stored.dump(value_of("array", full))
    assert benchmark(lambda: float(stored.load().sum())) == len(value_of("array", full))
