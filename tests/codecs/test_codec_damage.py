"""Damaged bytes are refused or give a value; they never crash the process, run code, or raise anything but our errors.

The process that reads them has a bound on its memory, since a damaged length may ask for any amount.
"""

import subprocess
import sys

import pytest

READ_DAMAGED = """
import random, resource, sys, warnings
import numpy as np, pandas as pd, polars as pl, pyarrow as pa, scipy.sparse
from mlflowish.codecs import Items, decode, drain, encode
from mlflowish.errors import CapabilityError, IntegrityError

class Bytes:
    def __init__(self, data):
        self.data = bytes(data)
        self.size_bytes = len(self.data)
    def buffer(self):
        return memoryview(bytearray(self.data))
    def chunks(self):
        yield self.data

values = [
    {"a": [1, 2.5, "x", None, b"y"], "b": {1, 2}, "c": (3, -(2**70))},
    np.arange(20.0).reshape(4, 5),
    np.zeros(3, [("a", "f8"), ("b", "U3")]),
    (np.arange(5), {"y": np.ones(3)}, "z" * 300),
    pd.DataFrame({"a": [1, 2], "s": ["x", None], "c": pd.Categorical(["u", "v"]), "t": pd.to_datetime(["2020", None])}),
    pd.Series([1, None], dtype="Int64", index=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)])),
    pl.DataFrame({"a": [1, None], "s": ["x", "y" * 20], "l": [[1], [2, 3]]}),
    pa.table({"a": [1, None], "s": ["x", "y"], "d": pa.array(["p", "q"]).dictionary_encode(), "l": [[1], None]}),
    scipy.sparse.csr_array(np.eye(4)),
    scipy.sparse.coo_matrix(np.eye(4)),
    "text" * 100,
]

def stored(value, limit):
    encoded = encode(value, inline_limit=limit)
    return encoded.codec, encoded.head, [b"".join(map(bytes, part.chunks())) for part in encoded.parts]

def drained():
    parts = []
    def keep(part):
        parts.append(Bytes(b"".join(map(bytes, part.chunks()))))
        return parts[-1]
    _, encoded = drain([1, "a", [2], np.ones(3)] * 20, keep, inline_limit=0)
    return encoded.codec, encoded.head, [part.data for part in parts]

def damage(random, data):
    data = bytearray(data)
    kind = random.randrange(6)
    if not data or kind == 0:
        return random.randbytes(random.randrange(60))
    if kind == 1:
        return data[: random.randrange(len(data))]
    if kind == 2:
        start = random.randrange(len(data))
        del data[start : start + random.randrange(1, 9)]
        return data
    for _ in range(random.choice([1, 1, 1, 3])):
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return data

def look(value):
    # Whatever came back can be looked at.
    if isinstance(value, pa.Table):
        value.to_pylist()
    elif isinstance(value, Items):
        list(value)
    elif isinstance(value, (pd.DataFrame, pd.Series)):
        value.to_dict()
    elif isinstance(value, pl.DataFrame):
        value.to_dicts()
    elif scipy.sparse.issparse(value):
        value @ np.ones(value.shape[-1]) if max(value.shape) < 1000 else None

resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
warnings.simplefilter("ignore")
seed, rounds = map(int, sys.argv[1:])
random = random.Random(seed)
cases = [stored(value, limit) for value in values for limit in (0, 1 << 16)] + [drained()]
refused = 0
for _ in range(rounds):
    codec, head, parts = random.choice(cases)
    which = random.randrange(-1, len(parts))
    if which < 0:
        head = bytes(damage(random, head))
    else:
        parts = [damage(random, part) if place == which else part for place, part in enumerate(parts)]
    try:
        value = decode(codec, head, [Bytes(part) for part in parts], allow_pickle=False)
    except (IntegrityError, CapabilityError):
        refused += 1
        continue
    try:
        look(value)
    except Exception:
        pass  # Nonsense inside a well-formed value is for checksums to find.
print("refused", refused)
"""


def survivors(seed, rounds):
    done = subprocess.run(
        [sys.executable, "-c", READ_DAMAGED, str(seed), str(rounds)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])
    return int(done.stdout.split()[-1])


@pytest.mark.parametrize("seed", range(2))
def test_damage_never_crashes_and_is_mostly_found(seed):
    assert survivors(seed, 1000) > 350


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(100, 120))
def test_much_damage_never_crashes(seed):
    assert survivors(seed, 20_000) > 7000
