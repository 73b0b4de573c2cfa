"""Any `concurrent.futures.Executor`: used as it is, and left to whoever made it."""

from __future__ import annotations

import concurrent.futures
import os
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from mlflowish.errors import StateError, WorkerDiedError
from mlflowish.executors.base import OnMismatch, Submitted, when_done
from mlflowish.executors.futures import Future
from mlflowish.executors.gate import Gate
from mlflowish.executors.packing import Answer, departure, name_of, packed, receive
from mlflowish.executors.resources import ONE_CPU, Capacity, Resources
from mlflowish.executors.threads import Admitted
from mlflowish.executors.versions import Origin, here
from mlflowish.executors.worker import run_packed

_PROBE_S = 120.0


class PoolExecutor:
    """Calls on somebody's pool, at most `workers` of ours at a time.

    Whether it is of threads or of processes is asked of a pool that we do not know. A process pool of the standard
    library breaks for good when a worker dies, and so do calls on it (WorkerDiedError).
    """

    knows_what_runs = True  # of ours there are no more on the pool than run

    def __init__(
        self, pool: concurrent.futures.Executor, capacity: Capacity, *, on_mismatch: OnMismatch = "raise"
    ) -> None:
        self.pool = pool
        self.on_mismatch: OnMismatch = on_mismatch
        self.workers = int(capacity.cpus or 1)
        self._gate = Gate(capacity)
        self._submitted = Submitted()
        self._in_process: bool | None = None

    @property
    def in_process(self) -> bool:
        """Do its workers share our memory?"""
        if self._in_process is None:
            self._in_process = _shares_memory(self.pool)
        return self._in_process

    def submit(
        self, function: Callable[[], Any], *, after: tuple[Future, ...] = (), resources: Resources = ONE_CPU
    ) -> Future:
        """A future of `function()`."""
        self._gate.capacity.fitted(resources)
        if self.in_process:
            call = Admitted(function, self._gate, resources)
            future = call.future = Future(call, after)
            self._submitted.add(future)
            when_done(after, lambda: self._gate.enter(resources, lambda: self._start_here(call)))
            return future
        away = Future(function, after, runs_here=False)
        self._submitted.add(away)
        when_done(after, lambda: self._depart(away, function, resources))
        return away

    def _depart(self, future: Future, function: Any, resources: Resources) -> None:
        if (travels := departure(future, function)) is not None:
            self._gate.enter(resources, lambda: self._send(future, function, travels, resources))

    def _start_here(self, call: Admitted) -> None:
        try:
            self.pool.submit(call.run)
        except RuntimeError as error:  # it was shut down
            self._gate.leave(call.resources)
            if call.future.claim():
                call.future.end_with(error=_closed(error))

    def _send(self, future: Future, function: Any, travels: Any, resources: Resources) -> None:
        if not future.claim():
            self._gate.leave(resources)
            return
        try:
            sent = self.pool.submit(run_packed, packed(travels, function), here(), self.on_mismatch)
        except BaseException as error:  # noqa: BLE001  it belongs to whoever asks for the result
            self._gate.leave(resources)
            future.end_with(error=_translated(error, function))
            return

        def arrived(done: concurrent.futures.Future[Answer]) -> None:
            self._gate.leave(resources)
            try:
                receive(done.result(), future, function)
            except BaseException as error:  # noqa: BLE001  as above
                future.end_with(error=_translated(error, function))

        sent.add_done_callback(arrived)

    def shutdown(self, *, cancel: bool = False) -> None:
        """Finish what was submitted; the pool stays open."""
        self._submitted.finish(cancel=cancel)


def workers_of(pool: concurrent.futures.Executor) -> int:
    """How many calls at a time it does, as far as it tells."""
    found = getattr(pool, "_max_workers", None)
    return found if isinstance(found, int) and found > 0 else os.cpu_count() or 1


def _shares_memory(pool: concurrent.futures.Executor) -> bool:
    if isinstance(pool, concurrent.futures.ThreadPoolExecutor) and type(pool).__module__ == "concurrent.futures.thread":
        return True
    if isinstance(pool, concurrent.futures.ProcessPoolExecutor):
        return False
    try:
        found: Origin = pool.submit(here).result(_PROBE_S)
    except Exception as error:
        raise StateError(
            f"{type(pool).__name__} did not answer when it was asked where its calls run: {error or type(error)}. "
            "Is mlflowish installed where its workers are?"
        ) from error
    return found.is_here


def _translated(error: BaseException, function: Any) -> BaseException:
    if isinstance(error, BrokenProcessPool):
        name = name_of(function)
        died = WorkerDiedError(
            f"A worker of the process pool died while {name} and others were on it, and the pool is broken for good. "
            "mf.executor('processes') replaces workers that die, and makes their calls again.",
            step=name,
            exit_codes=[],
        )
        died.__cause__ = error
        return died
    return _closed(error) if isinstance(error, RuntimeError) and "shutdown" in str(error) else error


def _closed(error: BaseException) -> StateError:
    closed = StateError(f"The pool takes no calls: {error}. Choose another executor: mf.executor('threads')")
    closed.__cause__ = error
    return closed
