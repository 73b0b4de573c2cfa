"""The seam: an executor is anything that takes a function and gives a future."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from mlflowish.executors.futures import Future


class Executor(Protocol):
    """Runs functions somewhere. Thread-safe."""

    def submit(self, function: Callable[[], Any], *, after: tuple[Future, ...] = ()) -> Future:
        """A future of `function()`, started when all of `after` are done, however they ended."""

    def shutdown(self) -> None:
        """Finish what was submitted, then give the workers back."""
