"""Storing a large value adds little to the memory of the process: its bytes leave in slabs, from where they lie.

Each case runs in a process of its own, whose peak of resident memory is compared before and after.
"""

import subprocess
import sys

import pytest

PREPARE = """
import resource, sys
import numpy as np
from mlflowish.codecs import encode
N = {megabytes} << 20
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
{make}
encode(small)  # imports what the codec needs
before = peak()
encoded = encode(value)
size = sum(memoryview(slab).nbytes for part in encoded.parts for slab in part.chunks())
print(size / 2**20, peak() - before)
"""

MAKE = {
    "array": "value = np.ones(N // 8); small = value[:2].copy()",
    "every other row": "value = np.ones((N // 800, 2, 50))[:, 0]; small = value[:2]",
    "transposed": "value = np.ones((N // 8000, 10, 100)).transpose(2, 0, 1); small = value[:2, :2]",
    "pair": "value = (np.ones(N // 16), np.ones(N // 16)); small = (np.ones(2), np.ones(20000))",
    "frame": (
        "import pandas as pd; value = pd.DataFrame({f'c{n}': np.ones(N // 80) for n in range(10)})\n"
        "small = value.iloc[:9].copy()"
    ),
    "frame of rows in C order": (
        "import pandas as pd; value = pd.DataFrame(np.ones((N // 80, 10)), copy=False); small = value.iloc[:9].copy()"
    ),
    "Arrow table": "import pyarrow as pa; value = pa.table({'a': np.ones(N // 8)}); small = value.slice(0, 9)",
    "bytes": "value = bytes(N); small = bytes(100000)",
    "text": "value = 'x' * N; small = value[:100000]",
    "list of bytes": "value = [bytes(N // 4) for _ in range(4)]; small = [bytes(100000)]",
    "object with arrays": (
        "import cloudpickle\nclass Model: pass\n"
        "value = Model(); value.w = np.ones(N // 8); small = Model(); small.w = np.ones(20000)"
    ),
    "nested arrays": "value = {'a': [np.ones(N // 80) for _ in range(10)]}; small = {'a': [np.ones(20000)]}",
}


def measured(make, megabytes):
    code = PREPARE.format(make=make, megabytes=megabytes)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    stored, added = map(float, done.stdout.split())
    assert stored >= megabytes * 0.49
    return added


@pytest.mark.parametrize("name", MAKE)
def test_storing_200_mb_adds_little_memory(name):
    assert measured(MAKE[name], 200) < 30


@pytest.mark.nightly
@pytest.mark.parametrize("name", MAKE)
def test_storing_1_gb_adds_less_than_100_mb(name):
    assert measured(MAKE[name], 1024) < 100
