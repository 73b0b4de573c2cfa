"""Where a call runs: in the caller's thread, or on a pool of threads."""

from mlflowish.executors.active import ExecutorHandle, active_executor, executor
from mlflowish.executors.base import Executor
from mlflowish.executors.futures import Future
from mlflowish.executors.serial import SerialExecutor
from mlflowish.executors.threads import ThreadExecutor

__all__ = ["Executor", "ExecutorHandle", "Future", "SerialExecutor", "ThreadExecutor", "active_executor", "executor"]
