"""What it costs to run tiny calls elsewhere, beside pools of processes and plain Dask. Nothing here asserts a time."""

from __future__ import annotations

import itertools
import math
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest

import mlflowish as mf
from mlflowish.executors import executor_block
from mlflowish.testing.executor_suite import plus

_fresh = itertools.count(1_000_000, 1_000_000)


@mf.step
def root(number):
    return math.sqrt(number)


@mf.step
def nap(number):
    time.sleep(0.1)
    return number


@mf.pipeline
def naps(first: int):
    return [nap(first + number) for number in range(64)]


@pytest.mark.nightly  # four pools take seconds to start
def test_tiny_functions_in_processes(tmp_path, figures, full):
    """The pool alone, without steps: a function that a worker imports."""
    import joblib
    from joblib.externals.loky import ProcessPoolExecutor as Loky

    from mlflowish.executors.processes import ProcessExecutor

    count = 1000 if full else 8
    ours = ProcessExecutor(2)
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(2, mp_context=context) as pool, Loky(2) as loky, joblib.Parallel(2) as parallel:
        runners = {
            "mlflowish": lambda: [future.result() for future in [ours.submit(time.time) for _ in range(count)]],
            "ProcessPoolExecutor": lambda: [f.result() for f in [pool.submit(time.time) for _ in range(count)]],
            "loky": lambda: [future.result() for future in [loky.submit(time.time) for _ in range(count)]],
            "joblib (in batches)": lambda: parallel(joblib.delayed(time.time)() for _ in range(count)),
        }
        figures.race(f"{count} tiny functions in 2 processes", runners, 5 if full else 1)
    ours.shutdown()


def test_tiny_steps_in_processes(tmp_path, figures, full):
    """Cold steps, looked up, computed and stored, beside functions that are only computed."""
    import joblib

    from mlflowish.executors.processes import ProcessExecutor

    count = 1000 if full else 8
    memory = joblib.Memory(tmp_path / "joblib", verbose=0).cache(math.sqrt)
    ours = ProcessExecutor(2)
    with mf.Store(tmp_path / "store"), joblib.Parallel(2) as parallel:

        def mapped():
            start = next(_fresh)
            with executor_block(ours):
                root.map(range(start, start + count))

        def submitted():
            start = next(_fresh)
            with executor_block(ours):
                [future.result() for future in [root.submit(n) for n in range(start, start + count)]]

        def by_joblib():
            start = next(_fresh)
            parallel(joblib.delayed(memory)(n) for n in range(start, start + count))

        runners = {"mlflowish": mapped, "mlflowish, submitted": submitted, "joblib.Memory and Parallel": by_joblib}
        figures.race(f"{count} cold tiny steps in 2 processes", runners, 3 if full else 1)
    ours.shutdown()


@mf.pipeline
def roots(start: int, count: int, batch: int):
    return root.map(range(start, start + count), batch=batch)


@pytest.mark.nightly  # processes take seconds to start
@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_tiny_steps_of_a_pipeline_in_batches(tmp_path, figures, full, kind):
    """Cold tiny items of a `map` in a body, a hundred at a time, beside one at a time and a map outside."""
    count = 1000 if full else 8

    def piped(batch):
        roots(next(_fresh), count, batch)

    def mapped():
        start = next(_fresh)
        root.map(range(start, start + count), batch=100)

    with mf.Store(tmp_path / "store"), mf.executor(kind, workers=2):
        runners = {"mlflowish": lambda: piped(100), "one at a time": lambda: piped(1), "outside a pipeline": mapped}
        figures.race(f"{count} cold tiny items of a pipeline, {kind}", runners, 5 if full else 1)


@pytest.mark.nightly
def test_naps_on_eight_workers(tmp_path, figures, full):
    """64 sleeps of 100 ms on 8 workers: 0.8 s is ideal. Beside plain pools, which look nothing up and store nothing.

    *Cold* are the first calls in a `with` block, in which the workers start; a pool that is chosen for good, or used
    before in the block, is up.
    """
    pools = {"threads": ThreadPoolExecutor, "processes": ProcessPoolExecutor}
    for kind, pool in pools.items():
        group = f"64 sleeps of 100 ms on 8 {kind}"

        def add(who, began, group=group):
            figures.add(group, who, 80 / (time.perf_counter() - began), "% of the ideal")

        with mf.Store(tmp_path / kind), pool(8) as plain, mf.executor(kind, workers=8):
            began = time.perf_counter()
            nap.map(range(-64, 0))
            add("mlflowish, cold", began)
            list(plain.map(time.sleep, [0.1] * 16))
            for attempt in range(3):
                began = time.perf_counter()
                nap.map(range(64 * attempt, 64 * attempt + 64))
                add("mlflowish, map", began)
                began = time.perf_counter()
                naps(1000 + 64 * attempt)
                add("mlflowish, pipeline" if attempt else "mlflowish, first pipeline", began)
                began = time.perf_counter()
                list(plain.map(time.sleep, [0.1] * 64))
                add(pool.__name__, began)


@pytest.mark.nightly
def test_tiny_steps_on_dask(tmp_path, figures, full, dask_address):
    """Beside plain `client.submit`, which looks nothing up and stores nothing."""
    from distributed import Client

    count = 200 if full else 4
    with Client(dask_address, set_as_default=False) as client, mf.Store(tmp_path / "store"):

        def submitted():
            start = next(_fresh)
            with mf.executor(client):
                [future.result() for future in [plus.submit(n) for n in range(start, start + count)]]

        def mapped():
            start = next(_fresh)
            with mf.executor(client):
                plus.map(range(start, start + count))

        def plain():
            start = next(_fresh)
            client.gather([client.submit(math.sqrt, n, pure=False) for n in range(start, start + count)])

        runners = {"mlflowish": submitted, "mlflowish, map": mapped, "client.submit": plain}
        figures.race(f"{count} tiny steps on Dask, 2 workers", runners, 5 if full else 1)
