"""A future that whoever waits for it may run: so a step that waits for steps never deadlocks a small pool."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable
from typing import Any


class Future(concurrent.futures.Future[Any]):
    """The result of a submitted call, a `concurrent.futures.Future`: may be passed to other steps instead of the value.

    `result()` of one that no worker has started, and that waits for nothing, runs it in the caller's thread.
    """

    def __init__(self, function: Callable[[], Any], after: tuple[Future, ...]) -> None:
        super().__init__()
        self._function: Callable[[], Any] | None = function
        self._after = after
        self._claim = threading.Lock()

    def run(self) -> None:
        """Compute it here, unless somebody else does or did."""
        if not self._claim.acquire(blocking=False):
            return
        if not self.set_running_or_notify_cancel():
            return
        function, self._function = self._function, None
        try:
            self.set_result(function() if function is not None else None)
        except BaseException as error:  # noqa: BLE001  see below
            # Like the standard library's pools: the exception, also an exit, belongs to whoever asks for the
            # result.
            self.set_exception(error)

    def result(self, timeout: float | None = None) -> Any:
        """The value, or the exception that the call raised."""
        if timeout is None and not self.done():
            for earlier in self._after:
                concurrent.futures.wait([earlier])
            self.run()
        return super().result(timeout)
