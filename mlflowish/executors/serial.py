"""Everything in the caller's thread, at once: for debugging, and where threads are not wanted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlflowish.executors.futures import Future


class SerialExecutor:
    """Runs each call when it is submitted."""

    def submit(self, function: Callable[[], Any], *, after: tuple[Future, ...] = ()) -> Future:
        """A future that is done."""
        future = Future(function, after)
        for earlier in after:
            earlier.run()
        future.run()
        return future

    def shutdown(self) -> None:
        """Nothing to give back."""
