"""A pool of threads: for steps that wait, or that compute in numpy and its kin, which release the interpreter's
lock."""

from __future__ import annotations

import contextvars
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mlflowish.executors.futures import Future


class ThreadExecutor:
    """At most `workers` calls at a time (default.

    Cores + 4, at most 32), each in a copy of the submitter's context.
    """

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers or min(32, (os.cpu_count() or 1) + 4)
        self._pool: ThreadPoolExecutor | None = None
        self._pid = os.getpid()
        self._lock = threading.Lock()

    def submit(self, function: Callable[[], Any], *, after: tuple[Future, ...] = ()) -> Future:
        """A future of `function()`; no worker is blocked by what it waits for."""
        context = contextvars.copy_context()
        future = Future(lambda: context.run(function), after)
        waiting = _Countdown(len(after), lambda: self._start(future))
        for earlier in after:
            earlier.add_done_callback(lambda _: waiting.tick())
        if not after:
            self._start(future)
        return future

    def _start(self, future: Future) -> None:
        with self._lock:
            if self._pool is None or self._pid != os.getpid():  # a forked child has none of its parent's threads
                self._pool, self._pid = ThreadPoolExecutor(self.workers, thread_name_prefix="mlflowish"), os.getpid()
            self._pool.submit(future.run)

    def shutdown(self) -> None:
        """Finish what was submitted and end the threads; a later submit starts new ones."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True)


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
