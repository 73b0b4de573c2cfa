"""A pool of threads: for steps that wait, or that compute in numpy and its kin, which release the interpreter's
lock."""

from __future__ import annotations

import atexit
import contextvars
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mlflowish.executors.base import OnMismatch, Submitted, when_done
from mlflowish.executors.crew import Crew
from mlflowish.executors.futures import Future, place
from mlflowish.executors.gate import Gate, holding
from mlflowish.executors.resources import ONE_CPU, Capacity, Resources


class ThreadExecutor:
    """At most `workers` calls at a time (default.

    Cores + 4, at most 32), each in a copy of the submitter's context.
    """

    in_process = True
    on_mismatch: OnMismatch = "raise"

    def __init__(self, workers: int | None = None, capacity: Capacity | None = None) -> None:
        self.workers = workers or min(32, (os.cpu_count() or 1) + 4)
        self._capacity = capacity or Capacity(self.workers)
        self._lock = threading.Lock()
        self._pool: Crew | None = None
        self._begin_life()

    def _begin_life(self) -> None:
        self._pool = None
        self._pid = os.getpid()
        self._gate = Gate(self._capacity)
        self._submitted = Submitted()
        self._was_abandoned = False

    def submit(
        self, function: Callable[[], Any], *, after: tuple[Future, ...] = (), resources: Resources = ONE_CPU
    ) -> Future:
        """A future of `function()`; no worker is blocked by what it waits for."""
        if self._pid != os.getpid():  # a forked child has none of its parent's threads
            self._lock = threading.Lock()
            self._begin_life()
        self._capacity.fitted(resources)
        call = Admitted(function, self._gate, resources)
        future = call.future = Future(call, after)
        self._submitted.add(future)
        when_done(after, lambda: self._gate.enter(resources, lambda: self._start(call)))
        return future

    def _start(self, call: Admitted) -> None:
        with self._lock:
            if self._pool is None:
                self._pool = Crew(self.workers)
                _living.add(self)
            call.crew = self._pool
            self._pool.submit(call.run)

    def shutdown(self, *, cancel: bool = False) -> None:
        """Finish what was submitted and end the threads; a later submit starts new ones."""
        self._submitted.finish(cancel=cancel)
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.end(wait=not self._was_abandoned)

    def abandon(self, future: Future) -> None:
        """Wait for this one no more, neither at a shutdown nor when the program ends: it may be in the middle of a call
        that nothing can interrupt."""
        self._submitted.leave(future)
        self._was_abandoned = True


def _finish_all() -> None:
    """What was submitted is finished before the program ends."""
    for executor in list(_living):
        executor.shutdown()


_living: weakref.WeakSet[ThreadExecutor] = weakref.WeakSet()
# When the standard library's pools wait for theirs: before anything that runs at exit takes away what calls need.
getattr(threading, "_register_atexit", atexit.register)(_finish_all)


class Admitted:
    """A function in the context of whoever submitted it: run by a worker, or by somebody who waits for it."""

    future: Future
    crew: Crew | None = None  # where it is started by one of ours

    def __init__(self, function: Callable[[], Any], gate: Gate, resources: Resources) -> None:
        self.resources = resources
        self._function, self._gate = function, gate
        self._context = contextvars.copy_context()
        self._admitted: int | None = None

    def run(self) -> None:
        """By a worker, for whom the gate has opened."""
        self._admitted = threading.get_ident()
        try:
            self.future.run()
        finally:
            self._gate.leave(self.resources)

    def __call__(self) -> Any:
        if self._admitted == threading.get_ident():
            return self._context.run(self._held)
        with self._gate.aside(self.resources):
            return self._context.run(self._held)

    def _held(self) -> Any:
        if self.crew is not None and self._admitted == threading.get_ident():
            place.set((threading.get_ident(), self._lent))  # in a context of our own
        with holding(self.resources):
            return self._function()

    @contextmanager
    def _lent(self) -> Iterator[None]:
        """What a call that waits for others lends to them: its thread and its cores."""
        assert self.crew is not None
        if not self.crew.add(1):
            yield
            return
        try:
            with self._gate.lending(self.resources):
                yield
        finally:
            self.crew.add(-1)
