"""The Dask cluster, which all workers of a test run use at once."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from typing import Any

import pytest

from mlflowish.testing.executor_suite import wait_until


@pytest.fixture
def alone_on_the_cluster(dask_address: str) -> Iterator[None]:
    """For a test that kills processes of the cluster: nobody else uses it meanwhile, and it is whole afterwards."""
    yield
    from distributed import Client

    with Client(dask_address, set_as_default=False) as client:
        wait_until(lambda: sum(map(_is_alive, client.run(os.getpid, on_error="ignore").values())) == 2)


@pytest.fixture(autouse=True)
def turn_on_the_cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Calls on a worker that another test kills run twice, and for a while what it offers is not there."""
    if "dask_address" not in request.fixturenames:
        yield
        return
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    with open(shared / "turns-on-the-cluster", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if "alone_on_the_cluster" in request.fixturenames else fcntl.LOCK_SH)
        yield


def _is_alive(pid: Any) -> bool:
    try:
        os.kill(pid, 0)
    except (TypeError, ProcessLookupError):
        return False
    return True
