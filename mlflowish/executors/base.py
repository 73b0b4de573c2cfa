"""The seam: an executor is anything that takes a function and gives a future."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable
from typing import Any, Literal, Protocol

from mlflowish.executors.futures import Future
from mlflowish.executors.resources import ONE_CPU, Resources

OnMismatch = Literal["raise", "warn"]


class Executor(Protocol):
    """Runs functions somewhere. Thread-safe. `mlflowish.testing.executor_suite` holds what it must do.

    `in_process`: functions share memory with the caller; else they travel by cloudpickle, once all of `after` are
    done. `workers`: how many calls at a time, as far as that is known. `on_mismatch`: what to do about a worker whose
    Python, packages or code differ from those here.
    """

    on_mismatch: OnMismatch

    @property
    def in_process(self) -> bool: ...

    @property
    def workers(self) -> int: ...

    def submit(
        self, function: Callable[[], Any], *, after: tuple[Future, ...] = (), resources: Resources = ONE_CPU
    ) -> Future:
        """A future of `function()`, started when all of `after` are done, however they ended, and `resources` are
        free. CapabilityError if there will never be so much."""

    def shutdown(self, *, cancel: bool = False) -> None:
        """Finish what was submitted, then give the workers back; `cancel`: what has not begun never does, and what
        runs is ended where that is possible."""


class Submitted:
    """The futures of an executor that are not done yet. Thread-safe."""

    def __init__(self) -> None:
        self._open: dict[int, Future] = {}

    def add(self, future: Future) -> None:
        """One more, until it is done."""
        self._open[id(future)] = future
        future.add_done_callback(lambda done: self._open.pop(id(done), None) and None)

    def leave(self, future: Future) -> None:
        """Wait for it no more."""
        self._open.pop(id(future), None)

    def finish(self, *, cancel: bool) -> None:
        """Wait for all; `cancel`: stop them first."""
        if cancel:
            submitted = tuple(self._open.values())
            for future in submitted:
                future.cancel()  # all of them, before the end of one makes room for the next
            for future in submitted:
                future.stop()
        while waited := tuple(self._open.values()):
            concurrent.futures.wait(waited)


def when_done(after: tuple[Future, ...], then: Callable[[], None]) -> None:
    """Call `then` once all of these futures are done: now, or in the thread that ends the last one."""
    if not after:
        then()
        return
    waiting = _Countdown(len(after), then)
    for earlier in after:
        earlier.add_done_callback(lambda _: waiting.tick())


class _Countdown:
    def __init__(self, count: int, then: Callable[[], None]) -> None:
        self._count = count
        self._then = then
        self._lock = threading.Lock()

    def tick(self) -> None:
        with self._lock:
            self._count -= 1
            ready = self._count == 0
        if ready:
            self._then()
