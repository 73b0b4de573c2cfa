"""Everything in the caller's thread, at once: for debugging, and where threads are not wanted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlflowish.executors.base import OnMismatch
from mlflowish.executors.futures import Future
from mlflowish.executors.resources import ONE_CPU, Resources


class SerialExecutor:
    """Runs each call when it is submitted."""

    in_process = True
    workers = 1
    on_mismatch: OnMismatch = "raise"

    def submit(
        self, function: Callable[[], Any], *, after: tuple[Future, ...] = (), resources: Resources = ONE_CPU
    ) -> Future:
        """A future that is done."""
        future = Future(function, after)
        for earlier in after:
            earlier.run()
        future.run()
        return future

    def shutdown(self, *, cancel: bool = False) -> None:
        """Nothing to give back."""
