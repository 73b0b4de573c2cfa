"""What pipelines cost, beside redun, Hamilton, Dagster and Prefect where they are installed. Nothing asserts a time."""

from __future__ import annotations

import time

import pipeline_peers
import pytest

import mlflowish as mf

pytestmark = pytest.mark.filterwarnings("ignore")  # those of the peers
EACH = pytest.mark.parametrize("peer", pipeline_peers.PEERS)


@pytest.fixture(autouse=True)
def no_store_left():
    before = mf.store.active._used
    yield
    mf.store.active._used = before


def seconds(function, *arguments):
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


@EACH
@pytest.mark.parametrize("shape", ["fan", "chain"])
def test_a_pipeline_that_was_run_before(tmp_path, figures, full, peer, shape):
    count = 200 if full else 5
    pipelines = pipeline_peers.prepared(peer, tmp_path)
    run = getattr(pipelines, shape)
    figures.add(f"{shape} of {count} tiny steps, cold", peer, seconds(run, count))
    group = f"{shape} of {count} tiny steps, again"
    who = peer if pipelines.cached else f"{peer} (runs all)"
    for _ in range(3 if full else 1):
        if peer == "mlflowish":
            figures.add(group, "mlflowish, in one look-up", seconds(run, count))
            pipeline_peers.visit_nodes()
        figures.add(group, who, seconds(run, count))


@EACH
def test_steps_that_wait(tmp_path, figures, full, peer):
    pipelines = pipeline_peers.prepared(peer, tmp_path)
    if pipelines.naps is None:
        pytest.skip(f"{peer} has no threads to wait in")
    count = 64 if full else 8
    pipelines.fan(1)  # what each loads, starts and finds out about code once
    figures.add(f"{count} sleeps of 100 ms on 8 threads", peer, seconds(pipelines.naps, count))
    figures.add(f"{count} sleeps of 100 ms on 8 threads", "ideal", count / 8 * 0.1)


@pytest.mark.parametrize("shape", ["fan", "chain"])
@pytest.mark.parametrize("count", [20, *(pytest.param(n, marks=pytest.mark.nightly) for n in (1_000, 10_000, 100_000))])
def test_many_nodes(tmp_path, figures, full, shape, count):
    run = getattr(pipeline_peers.prepared("mlflowish", tmp_path), shape)
    group = f"{shape} of {count:,} nodes"
    cold = seconds(run, count)
    figures.add(group, "cold", cold)
    figures.add(group, "cold, each node", cold / count)
    for _ in range(2):
        figures.add(group, "in one look-up", seconds(run, count))
        pipeline_peers.visit_nodes()
        figures.add(group, "node by node", seconds(run, count))
