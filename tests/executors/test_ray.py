"""Steps on Ray: a cluster of this machine, which takes long to start, so that all of it is left to the night."""

from __future__ import annotations

import pytest

import mlflowish as mf
from mlflowish.executors import executor_block
from mlflowish.testing.executor_suite import ExecutorSuite

pytestmark = [
    pytest.mark.nightly,
    # Of Ray's own making: sockets and files that it leaves to the garbage collector, and what it will do otherwise.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def ray_executor():
    pytest.importorskip("ray", reason="Ray has wheels for Linux alone in the tests' extra")
    from mlflowish.executors.ray import RayExecutor

    executor = RayExecutor(workers=2)
    yield executor
    executor.shutdown()


class TestRay(ExecutorSuite):
    survives_death = True

    @pytest.fixture
    def executor(self, ray_executor):
        with executor_block(ray_executor):
            yield ray_executor


def test_what_no_node_has_is_refused(ray_executor):
    with pytest.raises(mf.CapabilityError, match="GPU=9"):
        ray_executor.submit(lambda: 1, resources=mf.Resources(gpus=9))
