"""Steps of every kind of result, for processes that live, die and come back.

A project module like a user's. `OFFSET` and `helper` are there to be reached; `noted` counts computations in a file,
across processes.
"""

from __future__ import annotations

import dataclasses
import os
import random
import threading
from pathlib import Path

import numpy as np

import mlflowish as mf

OFFSET = 100


def noted(what):
    """One line for each computation, whole, whoever writes."""
    if log := os.environ.get("RUNTIME_LOG"):
        with open(log, "ab", buffering=0) as file:
            file.write(f"{what}\n".encode())


def helper(x):
    return x + OFFSET


@dataclasses.dataclass
class Point:
    x: int
    y: list


@mf.step
def inline(x):
    noted(f"inline {x}")
    return {"value": helper(x), "parts": [x, (x, str(x))]}


@mf.step
def array(x):
    noted(f"array {x}")
    return np.arange(x, x + 10_000, dtype=np.float64)


@mf.step
def tree(x):
    noted(f"tree {x}")
    return {"first": np.full(9_000, x, dtype=np.int64), "text": "t" * 70_000, "n": [x], "second": np.ones((3, 3_000))}


@mf.step
def pickled(x):
    noted(f"pickled {x}")
    return Point(x, [x, {"deep": x}])


@mf.step
def items(x):
    noted(f"items {x}")
    for number in range(40):
        yield {"number": number + x, "text": "i" * 40_000}


@mf.step(ignore="folder")
def written(x, folder):
    noted(f"written {x}")
    path = Path(folder) / f"out-{x}.bin"
    path.write_bytes(bytes([x % 251]) * 5_000)
    return mf.File(path)


@mf.step
def locked(x):
    noted(f"locked {x}")
    return threading.Lock()


@mf.step(lock=True)
def leased(x):
    noted(f"leased {x}")
    return [x] * 3


@mf.step(seed=True)
def drawn(x):
    noted(f"drawn {x}")
    return [random.random() + x, float(np.random.random())]


KINDS = ("inline", "array", "tree", "pickled", "items", "written")


def computed(kind, x, folder):
    """The call of that kind."""
    step = globals()[kind]
    return step.call(x, str(folder)) if kind == "written" else step.call(x)


def expected(kind, x, folder):
    """What that call gives, computed without any cache, in a comparable form."""
    plain = globals()[kind].fn
    return shown(plain(x, str(folder)) if kind == "written" else plain(x))


def shown(value):
    """A comparable and printable form that tells all values apart that these steps give.

    A generator's items are the same whether they are read back, or in a list because they could not be stored.
    """
    if isinstance(value, mf.File):
        return ["file", os.path.basename(value.path), value.read_bytes()[:8].hex(), len(value.read_bytes())]
    if isinstance(value, np.ndarray):
        return ["array", str(value.dtype), list(value.shape), mf.digest(value)]
    if isinstance(value, dict):
        return {key: shown(member) for key, member in value.items()}
    if isinstance(value, Point):
        return ["Point", value.x, value.y]
    if isinstance(value, tuple):
        return ["tuple", *map(shown, value)]
    if hasattr(value, "__iter__") and not isinstance(value, (str, bytes)):
        return ["list", *map(shown, value)]
    return value
