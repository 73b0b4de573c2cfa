"""What steps cost, beside joblib and diskcache in the same run. Nothing here asserts a time: see README.md."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import subprocess
import sys
import time

import numpy as np
import pytest
import workloads
from blake3 import blake3

import mlflowish as mf
from mlflowish.store.entries import ENTRY

HERE = pathlib.Path(__file__).parent
BOTH = pytest.mark.parametrize("peer", ["mlflowish", "joblib", "diskcache"])
WITH_JOBLIB = pytest.mark.parametrize("peer", ["mlflowish", "joblib"])


def measured(measure, folder, *arguments):
    """What `fresh.py` measures in a process of its own."""
    command = [sys.executable, str(HERE / "fresh.py"), measure, str(folder), *map(str, arguments)]
    environment = {**workloads.compiled(folder), "PYTHONWARNINGS": "error"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=HERE, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def files_below(folder):
    return sum(len(names) for _, _, names in os.walk(folder))


# -- small calls -----------------------------------------------------------------------------------


@BOTH
@pytest.mark.benchmark(group="small hit")
def test_small_hit(benchmark, tmp_path, peer):
    function = workloads.cached_by(peer, tmp_path, workloads.small)
    function(1, 2)
    assert benchmark(function, 1, 2) == workloads.small(1, 2)


@BOTH
@pytest.mark.benchmark(group="small hit, 1,000 keys in turn")
def test_small_hits_on_many_keys(benchmark, tmp_path, peer, full):
    function = workloads.cached_by(peer, tmp_path, workloads.small)
    count = 1000 if full else 20
    for number in range(count):
        function(number, 2)

    def sweep():
        for number in range(count):
            function(number, 2)

    benchmark(sweep)


@BOTH
@pytest.mark.benchmark(group="cold tiny step")
def test_cold_tiny_step(benchmark, tmp_path, peer):
    function = workloads.cached_by(peer, tmp_path, workloads.small)
    function(next(workloads.counter), 2)
    benchmark(lambda: function(next(workloads.counter), 2))


def test_cold_tiny_steps_in_turn(figures, tmp_path, full):
    """What a call costs when many are made: a file or a database is grown, merged and checkpointed now and then."""
    count = 500 if full else 10

    def calls_of(peer):
        function = workloads.cached_by(peer, tmp_path / peer, workloads.small)
        return lambda: [function(next(workloads.counter), 2) for _ in range(count)]

    figures.race(
        f"{count} cold tiny steps", {peer: calls_of(peer) for peer in ("mlflowish", "joblib", "diskcache")}, 20
    )


@BOTH
def test_first_hit_of_a_fresh_process(figures, tmp_path, peer, full):
    workloads.cached_by(peer, tmp_path, workloads.small)(1, 2)
    for _ in range(5 if full else 1):
        seconds = measured("first_hit", tmp_path, peer, 1, 2)
        figures.add("fresh process: imports to first hit", peer, seconds["total"])
        figures.add("fresh process: the first hit alone", peer, seconds["first"])
        figures.add("fresh process: a later hit", peer, seconds["later"])


@pytest.mark.parametrize("calls", [2_000, pytest.param(100_000, marks=pytest.mark.nightly)])
def test_many_cold_calls_leave_few_files(figures, tmp_path, calls):
    step = workloads.cached_by("mlflowish", tmp_path, workloads.small)
    start = time.perf_counter()
    for number in range(calls):
        step(number, 2)
    figures.add(f"{calls:,} cold calls", "mlflowish", time.perf_counter() - start)
    figures.add(f"files after {calls:,} cold calls", "mlflowish", files_below(tmp_path), "files")
    assert files_below(tmp_path) < 200


@BOTH
@pytest.mark.benchmark(group="10,000 hits of a fan-out")
def test_fan_out_of_hits(benchmark, tmp_path, peer, full):
    function = workloads.cached_by(peer, tmp_path, workloads.scaled)
    items = list(range(10_000 if full else 100))
    run = function.map if peer == "mlflowish" else lambda xs: [function(x) for x in xs]
    expected = [workloads.scaled(x) for x in items]
    assert run(items) == expected
    assert benchmark.pedantic(run, (items,), rounds=3) == expected


# -- a store with many entries ---------------------------------------------------------------------


@pytest.mark.parametrize("entries", [20_000, pytest.param(1_000_000, marks=pytest.mark.nightly)])
@pytest.mark.parametrize("compacted", [True, False], ids=["compacted", "as it was left"])
def test_opening_a_large_store_and_hitting(figures, tmp_path, entries, compacted, full):
    with mf.Store(tmp_path / "store") as store:
        mf.step(workloads.small)(1, 2)
        fill(store, entries)
        if compacted:
            store.compact()
    store.close()
    for _ in range(5 if full else 1):
        seconds = measured("opened_and_hit", tmp_path / "store", 1, 2)["seconds"]
        figures.add(f"open {entries:,} entries{' (compacted)' * compacted} and hit", "mlflowish", seconds)


def fill(store, count):
    """Copies of the store's one entry under random keys, written as steps write them, without the computing."""
    journals = store.journals("calls")
    [payload] = [payload for _, payload in journals.scan() if payload[:1] == ENTRY]
    random = os.urandom(16 * count)
    for at in range(0, 16 * count, 16):
        journals.append(random[at : at + 16], payload)


# -- large arguments -------------------------------------------------------------------------------


@pytest.mark.parametrize("megabytes", [1, pytest.param(80, marks=pytest.mark.nightly)])
def test_hit_on_an_array(figures, tmp_path, megabytes, full):
    array = np.random.default_rng(1).random(125_000 * megabytes)
    peers = {peer: workloads.cached_by(peer, tmp_path, workloads.size_of) for peer in ("mlflowish", "joblib")}
    runners: dict[str, object] = {peer: lambda call=call: call(array) for peer, call in peers.items()}
    runners["md5 of its bytes"] = lambda: hashlib.md5(array, usedforsecurity=False).digest()
    runners["BLAKE3, one thread"] = lambda: blake3(array.view(np.uint8)).digest()
    assert {runners[peer]() for peer in peers} == {len(array)}
    figures.race(f"hit, {megabytes} MB array in", runners, rounds=(300 if megabytes == 1 else 11) if full else 1)


@WITH_JOBLIB
@pytest.mark.benchmark(group="hit, list of 10,000 ints in")
def test_hit_on_a_list_of_ints(benchmark, tmp_path, peer):
    function = workloads.cached_by(peer, tmp_path, workloads.size_of)
    numbers = [7 * number for number in range(10_000)]
    function(numbers)
    assert benchmark(function, numbers) == 10_000


# -- large results ---------------------------------------------------------------------------------


@WITH_JOBLIB
@pytest.mark.benchmark(group="hit, 1 MB array out")
def test_hit_that_gives_a_megabyte_array(benchmark, tmp_path, peer):
    function = workloads.cached_by(peer, tmp_path, workloads.ramp)
    function(1, 0)
    assert len(benchmark(function, 1, 0)) == 125_000


@WITH_JOBLIB
@pytest.mark.benchmark(group="hit, 80 MB array out")
def test_hit_that_gives_a_large_array(benchmark, tmp_path, peer, full):
    function = workloads.cached_by(peer, tmp_path, workloads.ramp)
    megabytes = 80 if full else 8
    function(megabytes, 0)
    assert len(benchmark(function, megabytes, 0)) == 125_000 * megabytes


@pytest.mark.parametrize("megabytes", [64, pytest.param(1000, marks=pytest.mark.nightly)])
def test_storing_and_loading_a_huge_array(figures, tmp_path, megabytes):
    stored = measured("stored", tmp_path / "store", megabytes)
    loaded = measured("loaded", tmp_path / "store", megabytes)
    name = f"{megabytes} MB array"
    figures.add(f"{name}: store", "mlflowish", stored["seconds"])
    figures.add(f"{name}: store", "raw bytes written", stored["raw"])
    figures.add(f"{name}: store", "median of ratios to it", stored["ratio"], "x")
    figures.add(f"{name}: store, flushed", "mlflowish", stored["settled"])
    figures.add(f"{name}: store, flushed", "raw bytes flushed", stored["flushed"])
    figures.add(f"{name}: store, flushed", "median of ratios to it", stored["flushed_ratio"], "x")
    figures.add(f"{name}: memory added", "storing", stored["added"] / 1e6, "MB")
    figures.add(f"{name}: memory added", "loading", loaded["added"] / 1e6, "MB")
    figures.add(f"{name}: hit", "first in a process", loaded["first"])
    figures.add(f"{name}: hit", "later", loaded["later"])
    figures.add(f"{name}: hit", "reading all of it", loaded["touched"])


# -- the import ------------------------------------------------------------------------------------


def test_import(figures, tmp_path, full):
    programs = {
        "python -c pass": "pass",
        "import mlflowish": "import mlflowish",
        "mlflowish.step reached": "import mlflowish; mlflowish.step",
        "import diskcache": "import diskcache",
        "import joblib": "import joblib",
    }
    environment = workloads.compiled(tmp_path)
    for _ in range(10 if full else 1):
        for who, code in programs.items():
            figures.add("process start", who, started(code, environment))
    found = measured("imported", tmp_path)
    figures.add("modules", "import mlflowish", found["modules"], "modules")
    figures.add("modules", "mlflowish.step reached", found["step_modules"], "modules")


def started(code, environment):
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    return time.perf_counter() - start
