"""Every executor does the same: one suite for all of them."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest

import mlflowish as mf
from mlflowish.executors import executor_block
from mlflowish.executors.processes import ProcessExecutor
from mlflowish.testing.executor_suite import ExecutorSuite, gathered, plus


@pytest.fixture(scope="module")
def processes():
    """Two worker processes of ours, used by all tests here."""
    executor = ProcessExecutor(2)
    yield executor
    executor.shutdown()


@pytest.fixture(scope="module")
def process_pool():
    """A pool of the standard library."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mlflowish.testing.executor_suite", "mlflowish.executors.worker"])
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        yield pool


class TestSerial(ExecutorSuite):
    @pytest.fixture
    def executor(self):
        with mf.executor("serial") as opened:
            yield opened


class TestThreads(ExecutorSuite):
    @pytest.fixture
    def executor(self):
        with mf.executor("threads", workers=2) as opened:
            yield opened


class TestProcesses(ExecutorSuite):
    survives_death = True

    @pytest.fixture
    def executor(self, processes):
        with executor_block(processes):
            yield processes


class TestThreadPool(ExecutorSuite):
    @pytest.fixture
    def executor(self):
        with ThreadPoolExecutor(2) as pool, mf.executor(pool) as opened:
            yield opened


@pytest.mark.nightly
class TestProcessPool(ExecutorSuite):
    @pytest.fixture
    def executor(self, process_pool):
        with mf.executor(process_pool) as opened:
            yield opened


def test_a_process_pool_is_used_and_stays_open(process_pool, tmp_path):
    """A sample of the suite above."""
    with mf.Store(tmp_path / "store"):
        with mf.executor(process_pool):
            assert gathered.submit([plus.submit(1, 2), plus.submit(3, 4)]).result(300) == [3, 7]
        assert gathered.call([3, 7]).hit
    assert process_pool.submit(abs, -1).result(300) == 1
