"""A future that whoever waits for it may run: so a step that waits for steps never deadlocks a small pool."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from typing import Any

Place = tuple[int, Callable[[], AbstractContextManager[None]]]
place: ContextVar[Place | None] = ContextVar("mlflowish_place", default=None)
"""Of a call on a thread of ours: that thread, and the block in which what it holds is lent to others."""


def waiting() -> AbstractContextManager[None]:
    """The block in which this thread only waits for other calls: its place among the workers is for them."""
    found = place.get()
    return found[1]() if found is not None and found[0] == threading.get_ident() else nullcontext()


class Future(concurrent.futures.Future[Any]):
    """The result of a submitted call, a `concurrent.futures.Future`: may be passed to other steps instead of the value.

    `result()` of one that no worker has started, and that runs in this process, runs it in the caller's thread.
    """

    def __init__(self, function: Callable[[], Any], after: tuple[Future, ...] = (), *, runs_here: bool = True) -> None:
        super().__init__()
        self.function: Callable[[], Any] | None = function
        # What is given back may stand for the result: a call of a step gives what opens it here.
        self._opened: Callable[[Any], Any] | None = getattr(function, "opened", None)
        self._after = after
        self._runs_here = runs_here
        self._claim = threading.Lock()
        self._value: list[Any] = []
        self.on_stop: Callable[[], None] | None = None
        self.on_begin: Callable[[], None] | None = None  # called by who begins it, in that thread

    def claim(self) -> bool:
        """Is it for the caller to run? True once; never for one that was cancelled."""
        if not (self._claim.acquire(blocking=False) and self.set_running_or_notify_cancel()):
            return False
        if self.on_begin is not None:
            self.on_begin()
        return True

    def run(self) -> None:
        """Compute it here, unless somebody else does or did."""
        if not self.claim():
            return
        function, self.function = self.function, None
        try:
            self.end_with(function() if function is not None else None)
        except BaseException as error:  # noqa: BLE001  see below
            # Like the standard library's pools: the exception, also an exit, belongs to whoever asks for the
            # result.
            self.end_with(error=error)

    def end_with(self, result: Any = None, *, error: BaseException | None = None) -> None:
        """It is done."""
        self.function, self._after = None, ()
        if error is not None:
            self.set_exception(error)
        else:
            self.set_result(result)

    def cancel(self) -> bool:
        """Never begin it: True unless it runs or ran already."""
        cancelled = super().cancel()
        if cancelled and self._claim.acquire(blocking=False):
            self.set_running_or_notify_cancel()  # nobody else will tell those who wait
        return cancelled

    def stop(self) -> None:
        """Cancel it, and end it if it runs in a process of its own. What runs in a thread goes on to its end."""
        if not self.cancel() and not self.done() and self.on_stop is not None:
            self.on_stop()

    def result(self, timeout: float | None = None) -> Any:
        """The value, or the exception that the call raised."""
        raw = self.raw(timeout)
        if self._opened is None:
            return raw
        if not self._value:
            self._value.append(self._opened(raw))
        return self._value[0]

    def raw(self, timeout: float | None = None) -> Any:
        """What the call gave back, before it is opened: for a step on another process what its result is known by."""
        if timeout is None and not self.done():
            self._help()
        if self.done():
            return super().result(timeout)
        with waiting():
            return super().result(timeout)

    def _help(self) -> None:
        """Run it in this thread, and before it what it waits for, as far as nobody has begun them."""
        stack = [self]
        while stack:
            future = stack[-1]
            missing = [earlier for earlier in future._after if not earlier.done()]
            if missing and missing[-1] not in stack:
                stack.append(missing[-1])
                continue
            stack.pop()
            if future._runs_here:
                future.run()
            if not future.done() and future is not self:
                with waiting():
                    concurrent.futures.wait([future])
