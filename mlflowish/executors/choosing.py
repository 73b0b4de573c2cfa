"""From what a user names to the executor that is meant."""

from __future__ import annotations

import concurrent.futures
import re
from collections.abc import Mapping
from typing import Any

from mlflowish.errors import InvalidInputError, nearest
from mlflowish.executors.base import Executor, OnMismatch
from mlflowish.executors.resources import Capacity, capacity_here
from mlflowish.executors.serial import SerialExecutor
from mlflowish.executors.threads import ThreadExecutor

KNOWN = ("serial", "threads", "processes", "dask", "ray")
_ADDRESS = re.compile(r"(tcp|tls|ws|wss|ucx|inproc)://.+")


def chosen_executor(
    kind: Any,
    *,
    workers: int | None,
    memory: Any,
    gpus: int | None,
    limits: Mapping[str, int] | None,
    on_mismatch: OnMismatch,
) -> Executor:
    """The executor of that kind; InvalidInputError if there is none."""

    def capacity(count: int) -> Capacity:
        return capacity_here(count, memory=memory, gpus=gpus, limits=limits)

    if isinstance(kind, str):
        if kind == "serial":
            return SerialExecutor()
        if kind == "threads":
            threads = ThreadExecutor(workers)
            return ThreadExecutor(workers, capacity(threads.workers))
        if kind == "processes":
            from mlflowish.executors.processes import ProcessExecutor, cores

            return ProcessExecutor(workers, capacity(workers or cores()), on_mismatch=on_mismatch)
        if kind == "ray" or kind.startswith("ray://"):
            from mlflowish.executors.ray import RayExecutor

            address = None if kind == "ray" else kind
            return RayExecutor(address, workers=workers, limits=limits, on_mismatch=on_mismatch)
        if _ADDRESS.fullmatch(kind):
            from mlflowish.executors.dask import DaskExecutor

            return DaskExecutor(kind, limits=limits, on_mismatch=on_mismatch)
    if is_client(kind):
        from mlflowish.executors.dask import DaskExecutor

        return DaskExecutor(kind, limits=limits, on_mismatch=on_mismatch)
    if isinstance(kind, concurrent.futures.Executor):
        from mlflowish.executors.pools import PoolExecutor, workers_of

        return PoolExecutor(kind, capacity(workers or workers_of(kind)), on_mismatch=on_mismatch)
    if all(hasattr(kind, name) for name in ("submit", "shutdown", "in_process", "workers", "on_mismatch")):
        ours: Executor = kind
        return ours
    if kind == "dask":
        raise InvalidInputError(
            "Which Dask cluster? Give its client, mf.executor(Client(...)), or the address of its scheduler, "
            "mf.executor('tcp://host:8786')",
            found=kind,
        )
    known = ", ".join(nearest(kind, KNOWN) if isinstance(kind, str) else KNOWN)
    raise InvalidInputError(
        f"There is no executor {kind!r}; there are {known}, any concurrent.futures.Executor, a Dask Client or the "
        "address of its scheduler, tcp://host:8786",
        found=repr(kind),
        known=KNOWN,
    )


def is_client(kind: Any) -> bool:
    """Is it a client of Dask? Asked without importing it."""
    return any(f"{c.__module__}.{c.__qualname__}" == "distributed.client.Client" for c in type(kind).__mro__)
