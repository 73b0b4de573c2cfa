"""Hashing by many threads: the same digest as by one, from any number of threads at once, and in forked children."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from blake3 import blake3

from mlflowish.hashing import crew, digest
from mlflowish.hashing.arrays import LOOK_BYTES


def together(start: bytes, buffers: list[bytes]) -> bytes:
    return crew.hashed_together(start, buffers, length=16, threads=3)


@pytest.mark.parametrize(
    "sizes", [[], [0], [1], [1, 0, 700_000], [40_000, 3, 5, 40_000], [20_000] * 9, [1 << 20, 1 << 21]]
)
def test_threads_hash_what_one_thread_hashes(sizes: list[int]) -> None:
    buffers = [os.urandom(size) for size in sizes]
    assert together(b"start", buffers) == blake3(b"start" + b"".join(buffers)).digest(16)


def test_many_values_at_once_do_not_mix() -> None:
    values = [os.urandom(600_000 + number) for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda value: together(b"", [value]), values))
    assert found == [blake3(value).digest(16) for value in values]


def test_a_value_that_fails_midway_leaves_nothing_behind() -> None:
    def failing():
        yield bytes(100_000)
        raise LookupError

    with pytest.raises(LookupError):
        crew.hashed_together(b"", failing(), length=16, threads=3)
    assert together(b"x", []) == blake3(b"x").digest(16)


@pytest.mark.parametrize("dtype", ["<f8", "<f4", "<c8", "<i8", "?"])
def test_the_digest_does_not_depend_on_how_an_array_is_cut(dtype: str) -> None:
    # Three pieces, and a NaN in the last of them.
    array = np.zeros(2 * LOOK_BYTES // np.dtype(dtype).itemsize + 5, dtype)
    if array.dtype.kind in "fc":
        array[-1] = np.nan
    strided = np.repeat(array, 2)[::2]
    assert not strided.flags.c_contiguous
    assert digest(strided) == digest(array)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_child_that_is_forked_while_others_hash_can_hash() -> None:
    program = textwrap.dedent(
        """
        import os, signal, sys, threading
        from mlflowish.hashing import crew
        data = bytes(3_000_000)
        hashed = lambda: crew.hashed_together(b"", [data], length=16, threads=2)
        expected = hashed()
        done = threading.Event()
        def work():
            while not done.is_set():
                assert hashed() == expected
        workers = [threading.Thread(target=work) for _ in range(2)]
        for worker in workers:
            worker.start()
        for _ in range(10):
            child = os.fork()
            if child == 0:
                signal.alarm(60)
                os._exit(0 if hashed() == expected else 1)
            assert os.waitpid(child, 0)[1] == 0
        done.set()
        """
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], timeout=120, check=True)


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", "<c8", "<c16", "<g"])
def test_a_signalling_nan_is_a_nan_and_no_warning(dtype: str) -> None:
    array = np.arange(6, dtype=dtype)
    array[2] = np.nan
    signalling = array.copy()
    numbers = signalling.view(signalling.real.dtype)
    bits = {2: "<u2", 4: "<u4", 8: "<u8"}.get(numbers.dtype.itemsize)
    if bits is not None:
        # The highest bit of the fraction makes a NaN quiet; another one keeps it from being an infinity.
        quiet_bit = {2: 1 << 9, 4: 1 << 22, 8: 1 << 51}[numbers.dtype.itemsize]
        raw = numbers.view(bits)
        place = int(np.flatnonzero(np.isnan(numbers))[0])
        raw[place] = (int(raw[place]) & ~quiet_bit) | 1
        assert np.isnan(numbers[place])
    assert digest(signalling) == digest(array)
