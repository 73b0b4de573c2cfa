"""Where a call runs: in the caller's thread, on threads, in processes, on somebody's pool, on a cluster."""

from mlflowish.executors.active import ExecutorHandle, active_executor, executor, executor_block
from mlflowish.executors.base import Executor
from mlflowish.executors.futures import Future
from mlflowish.executors.resources import ONE_CPU, Resources
from mlflowish.executors.serial import SerialExecutor
from mlflowish.executors.threads import ThreadExecutor

__all__ = [
    "ONE_CPU",
    "Executor",
    "ExecutorHandle",
    "Future",
    "Resources",
    "SerialExecutor",
    "ThreadExecutor",
    "active_executor",
    "executor",
    "executor_block",
]
