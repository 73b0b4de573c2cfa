"""Steps on a Dask cluster: a real scheduler, real worker processes, deaths, and a store that is on no shared disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid

import pytest

import mlflowish as mf
from mlflowish.executors import executor_block
from mlflowish.executors.dask import DaskExecutor
from mlflowish.testing.executor_suite import ExecutorSuite, gathered, plus, wait_until


@pytest.fixture(scope="module")
def dask(dask_address):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mlflowish.executors.dask.CONNECT_S", 300.0)  # a machine may be busy
        executor = DaskExecutor(dask_address)
    yield executor
    executor.shutdown()


class TestDask(ExecutorSuite):
    survives_death = True

    @pytest.fixture
    def executor(self, dask):
        with executor_block(dask):
            yield dask

    def test_the_death_of_a_worker_is_survived(self, executor, tmp_path, alone_on_the_cluster):
        super().test_the_death_of_a_worker_is_survived(executor, tmp_path)


@pytest.mark.nightly
class TestDaskWithABucket(ExecutorSuite):
    """The workers have caches of their own, and meet the driver in the bucket alone."""

    survives_death = True

    @pytest.fixture
    def executor(self, dask):
        with executor_block(dask):
            yield dask

    @pytest.fixture
    def place(self, seaweed_url):
        url, options = seaweed_url
        return f"{url}/{uuid.uuid4().hex}", options

    def test_the_death_of_a_worker_is_survived(self, executor, tmp_path, alone_on_the_cluster):
        super().test_the_death_of_a_worker_is_survived(executor, tmp_path)


@mf.step
def where(x):
    return os.getcwd(), os.environ["MLFLOWISH_CACHE_DIR"], os.getpid()


@mf.step
def slow(x, folder):
    open(f"{folder}/{x}-{os.getpid()}-{uuid.uuid4().hex}", "x").close()
    import time

    time.sleep(0.4)
    return {"x": x}


@mf.step
def total(parts):
    return sum(part["x"] for part in parts)


def test_workers_meet_the_driver_in_the_bucket_alone(dask, seaweed_url):
    """A sample of the suite above."""
    url, options = seaweed_url
    with mf.Store(f"{url}/{uuid.uuid4().hex}", **options) as store, executor_block(dask):
        parts = [plus.submit(x, y=100) for x in range(3)]
        assert gathered.submit({"parts": parts}).result(300) == {"parts": [100, 101, 102]}
        store.journals("calls").refresh()
        assert all(plus.is_cached(x, y=100) for x in range(3))


def test_a_cluster_is_used_as_it_is_and_stays_open(dask_address, tmp_path):
    from distributed import Client

    with Client(dask_address, set_as_default=False) as client, mf.Store(tmp_path / "store"):
        with mf.executor(client) as executor:
            assert executor.workers == 2
            found = where.map(range(4))
        assert client.status == "running"
        assert client.submit(sum, [1, 2]).result() == 3
    caches = {cache for _, cache, _ in found}
    assert os.environ["MLFLOWISH_CACHE_DIR"] not in caches
    assert os.getcwd() not in {folder for folder, _, _ in found}


def test_gpus_go_where_they_are_offered_and_what_nobody_offers_is_refused(dask):
    def offers():
        from distributed import get_worker

        return get_worker().state.total_resources

    gpu = mf.Resources(gpus=1, memory="1 GiB")
    assert {f.result(300)["GPU"] for f in [dask.submit(offers, resources=gpu) for _ in range(4)]} == {1}
    with pytest.raises(mf.CapabilityError, match="GPU=2"):
        dask.submit(offers, resources=mf.Resources(gpus=2))
    with pytest.raises(mf.CapabilityError, match="MEMORY"):
        dask.submit(offers, resources=mf.Resources(memory="500 GiB"))


def test_a_call_waits_for_workers_where_there_are_none_yet():
    from distributed import Client, LocalCluster

    options = {"threads_per_worker": 1, "processes": False, "dashboard_address": ":0", "resources": {"GPU": 1}}
    with LocalCluster(n_workers=0, **options) as cluster, Client(cluster, set_as_default=False) as client:
        executor = DaskExecutor(client)
        futures = [executor.submit(lambda: 1, resources=mf.Resources(**{each: 1})) for each in ("gpus", "cpus")]
        futures.append(executor.submit(lambda: 1, resources=mf.Resources(memory="1 MiB")))
        cluster.scale(1)
        assert [future.result(300) for future in futures] == [1, 1, 1]
        executor.shutdown()


def test_a_module_that_workers_have_not_is_named(dask, tmp_path, monkeypatch):
    (tmp_path / "only_here.py").write_text("import mlflowish as mf\n@mf.step\ndef step(x):\n    return x\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import only_here

    with mf.Store(tmp_path / "store"), executor_block(dask), pytest.raises(mf.CapabilityError, match="only_here"):
        only_here.step.submit(1).result(300)


def test_a_scheduler_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr("mlflowish.executors.dask.CONNECT_S", 0.3)
    with pytest.raises(mf.StateError, match=r"tcp://127\.0\.0\.1:9"):
        mf.executor("tcp://127.0.0.1:9")
    with pytest.raises(mf.InvalidInputError, match="Which Dask cluster"):
        mf.executor("dask")


def test_a_worker_that_dies_in_the_middle_costs_its_call_and_nothing_else(dask, tmp_path, alone_on_the_cluster):
    marks = tmp_path / "marks"
    marks.mkdir()
    with mf.Store(tmp_path / "store"), executor_block(dask):
        futures = [slow.submit(x, str(marks)) for x in range(6)]
        wait_until(lambda: len(list(marks.iterdir())) >= 3)
        done = {x for x, future in enumerate(futures) if future.done()}
        running = max(marks.iterdir(), key=lambda path: path.stat().st_mtime)
        os.kill(int(running.name.split("-")[1]), signal.SIGKILL)
        assert total.submit(futures).result(300) == 15
    ran = [int(path.name.split("-")[0]) for path in marks.iterdir()]
    assert len(ran) <= 8
    assert all(ran.count(x) == 1 for x in done)


@mf.pipeline
def both(folder):
    """As a pipeline."""
    return total([slow(x, folder) for x in range(6)])


def test_a_pipeline_gives_the_same_digests_on_the_cluster(dask, tmp_path):
    found = []
    for kind in (dask, "serial"):
        with mf.Store(tmp_path / f"store-{len(found)}") as store:
            assert both.run(str(tmp_path), executor=kind).result == 15
            found.append({(call.key.hex(), call.meta.output) for call in store.calls()})
    assert found[0] == found[1]


DRIVER = """
import os, sys, time
sys.path.insert(0, sys.argv[4])
import mlflowish as mf
from test_dask import both

mf.use(sys.argv[1])
with mf.executor(sys.argv[2]):
    print(both(sys.argv[3]), flush=True)
"""


@pytest.mark.nightly
def test_after_the_driver_was_killed_the_next_run_computes_only_what_was_not_finished(dask_address, tmp_path):
    from processes_heard import Mortal  # here: workers, which import this module, do not find it

    marks = tmp_path / "marks"
    marks.mkdir()
    (tmp_path / "driver.py").write_text(DRIVER, encoding="utf-8")
    here = os.path.dirname(__file__)
    command = [sys.executable, str(tmp_path / "driver.py"), str(tmp_path / "store"), dask_address, str(marks), here]
    first = Mortal(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: len(list(marks.iterdir())) >= 3)
    first.kill()
    first.wait()
    with mf.Store(tmp_path / "store"):
        wait_until(lambda: sum(slow.is_cached(x, str(marks)) for x in range(6)) >= len(list(marks.iterdir())))
        finished = {x for x in range(6) if slow.is_cached(x, str(marks))}
    assert 0 < len(finished) < 6
    before = set(marks.iterdir())
    second = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert second.stdout.split() == ["15"]
    assert {int(path.name.split("-")[0]) for path in set(marks.iterdir()) - before} == set(range(6)) - finished
