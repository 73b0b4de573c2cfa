"""Runs a trace: what is stored is found here, at the cost of a look-up; only the rest goes to the executor.

One thread decides, the one that called the pipeline. Workers compute, and say so by a queue.
"""

from __future__ import annotations

import concurrent.futures
import threading
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

from mlflowish.errors import MlflowishError, ResultGoneError
from mlflowish.executors import Executor, Future, ThreadExecutor
from mlflowish.pipelines.apart import Apart
from mlflowish.pipelines.endings import Failure
from mlflowish.pipelines.items import item
from mlflowish.pipelines.observing import CACHED, DONE, RUNNING
from mlflowish.pipelines.outputs import WrittenFiles
from mlflowish.pipelines.progress import Progress
from mlflowish.pipelines.trace import CALL, CHOOSE, ENTER, JOIN, LEAVE, MAP, Spec
from mlflowish.pipelines.whole import Whole
from mlflowish.steps.fanout import rows_of
from mlflowish.steps.reference import (
    Miss,
    Outcome,
    Reference,
    find_by_reference,
    identify_by_reference,
    items_of,
    load_all,
)
from mlflowish.steps.remote import Departure
from mlflowish.steps.running import interrupt
from mlflowish.store import Store

_AHEAD = 4  # calls that are with the executor for each of its workers: so that none waits for us


class Scheduler:
    """One run of one trace."""

    def __init__(
        self, progress: Progress, executor: Executor, store: Store, whole: Whole, *, stop_at_failure: bool
    ) -> None:
        self.progress = progress
        self.failures: list[Failure] = []
        self._executor = executor
        self._in_process = executor.in_process
        self._threads_here: ThreadExecutor | None = None
        self._workers = executor.workers
        self._most = _AHEAD * max(16, executor.workers)
        self._store = store
        self._whole = whole
        self._stop_at_failure = stop_at_failure
        self._pending: deque[tuple[int, Miss]] = deque()
        self._submitted: dict[int, Future] = {}
        self._events: SimpleQueue[tuple[int, concurrent.futures.Future[Any]]] = SimpleQueue()
        self._computing: dict[bytes, int] = {}  # the key of a call that is computed now -> its spec
        self._key_of: dict[int, bytes] = {}
        self._twins: dict[int, list[int]] = {}  # specs that are the same call as one that is computed now
        self._made_by: dict[str, int] = {}  # key -> the spec that has it
        self._repaired: set[int] = set()
        self._repairing: dict[int, list[int]] = {}  # a spec that is computed anew -> those that need it
        self._files = WrittenFiles(progress.specs, store)
        self._apart = Apart()
        self._threads: dict[int, int] = {}
        self._guard = threading.Lock()
        # Inside a step this thread is one of the workers: it lends a hand, or a small pool would wait for ever.
        self._helps = whole.is_inside_a_step and self._in_process

    def run(self) -> None:
        """Until nothing is left to do. What fails is in `failures`; only interruptions are raised."""
        try:
            while True:
                self._resolve_ready()
                self._submit_pending()
                if self._submitted:
                    self._take(*self._next_event())
                elif not self.progress.ready and not self._pending:
                    break
            if self._threads_here is not None:
                self._threads_here.shutdown()
            if not self.failures:
                self.progress.check_complete()
        except BaseException:
            self._abandon()
            raise

    def load(self, value: Any) -> Any:
        """The value of a result, its references loaded. What cannot be loaded any more is computed again, once."""
        while True:
            try:
                return load_all(value, self._store)
            except ResultGoneError as error:
                before = len(self.failures)
                if not self._repair(error, None):
                    raise
                self.run()
                if len(self.failures) > before:
                    raise
                value = self.progress.filled(self.progress.trace.groups[0].result)

    # -- what is ready -----------------------------------------------------------------------------

    def _resolve_ready(self) -> None:
        ready = self.progress.ready
        while ready and len(self._pending) < self._most:
            number = ready.popleft()
            if self.progress.has_ended(number):
                continue  # with the nested pipeline that it is part of
            spec = self.progress.specs[number]
            if spec.kind == CALL:
                self._resolve_call(number, spec)
            else:
                self._resolve_other(number, spec)
            if self._submitted:
                self._take_finished()
            if self._pending and len(self._submitted) < self._workers:
                self._submit_pending()  # no worker waits while we look the others up

    def _resolve_call(self, number: int, spec: Spec) -> None:
        try:
            args, kwargs = self.progress.filled(spec.args), self.progress.filled(spec.kwargs)
            if spec.step is item and type(args[0]) is not Reference:
                self.progress.finish(number, args[0][args[1]], DONE)
                return
            self._whole.use_frame_of(spec.group)
            found = find_by_reference(spec.step, args, kwargs)
        except Exception as error:  # noqa: BLE001  whatever it is belongs to this call; the others go on
            self._failed(number, error)
            return
        if isinstance(found, Outcome):
            self._ended(number, found)
        else:
            self._compute(number, found)

    def _compute(self, number: int, miss: Miss) -> None:
        key = miss.identity.key
        if key is not None and miss.step.options.cache:
            if (twin := self._computing.get(key)) is not None:
                self._twins.setdefault(twin, []).append(number)
                return
            self._computing[key] = number
            self._key_of[number] = key
        self.progress.mark_stale(number)
        self._pending.append((number, miss))

    def _resolve_other(self, number: int, spec: Spec) -> None:
        progress = self.progress
        try:
            if spec.kind == MAP and number in progress.items:
                progress.end_of_map(number)
            elif spec.kind == MAP:
                progress.spawn(number, self._items_of(spec))
            elif spec.kind == ENTER:
                self._enter(number, spec)
            elif spec.kind == CHOOSE:
                self._choose(number, spec)
            elif spec.kind == JOIN:
                chosen = progress.results[spec.deps[0]]
                progress.finish(number, progress.filled(spec.args[chosen]))
            elif spec.kind == LEAVE:
                self._whole.leave(spec.opens[0], progress)
                progress.finish(number, None)
        except Exception as error:  # noqa: BLE001  as above
            self._failed(number, error)

    def _items_of(self, spec: Spec) -> list[Spec]:
        first, iterables, common = self.progress.filled(spec.args)
        loaded = tuple(items_of(items, self._store) for items in iterables)
        specs = []
        for place, row in enumerate(rows_of(spec.step.name, loaded)):
            made = Spec(CALL, f"{spec.label.removesuffix('.map')}[{place}]", spec.step, (*first, *row), common, ())
            made.file, made.line, made.group = spec.file, spec.line, spec.group
            specs.append(made)
        return specs

    def _enter(self, number: int, spec: Spec) -> None:
        progress = self.progress
        group = progress.trace.groups[spec.opens[0]]
        args, kwargs = progress.filled(spec.args), progress.filled(spec.kwargs)
        outputs = self._whole.enter(spec.opens[0], args, kwargs, look=progress.is_untouched(group))
        if outputs is not None and group.exports <= set(group.outputs):
            self._whole.passed_over(spec.opens[0])
            progress.pass_over(group, outputs)
            progress.finish(number, None, CACHED)
        else:
            progress.finish(number, None)

    def _choose(self, number: int, spec: Spec) -> None:
        condition = load_all(self.progress.filled(spec.args[0]), self._store)
        chosen = 0 if condition else 1
        # First: what stands behind the gate and is not wanted must not be let through.
        self.progress.leave_out(self.progress.trace.groups[spec.opens[1 - chosen]])
        self.progress.finish(number, chosen)

    # -- at the executor ---------------------------------------------------------------------------

    def _submit_pending(self) -> None:
        # Whatever has ended is looked at first: it may be a reason to submit nothing more.
        while self._pending and len(self._submitted) < self._most and self._events.empty():
            self._submit(*self._pending.popleft())

    def _submit(self, number: int, miss: Miss) -> None:
        self.progress.enter_state(number, RUNNING)
        self._whole.use_frame_of(self.progress.specs[number].group)
        try:
            future = self._submitted[number] = self._sent(number, miss)
        except Exception as error:  # noqa: BLE001  as above: it cannot travel, or wants more than there is
            self._failed(number, error)
            return
        future.add_done_callback(lambda ended: self._events.put((number, ended)))

    def _sent(self, number: int, miss: Miss) -> Future:
        step = miss.step
        if self._in_process or number in self._repairing:  # a worker would find what is stored, and is lost
            executor = self._executor if self._in_process else self._here()
            work = self._in_thread(number, lambda: self._apart.compute(miss))
            return executor.submit(work, resources=step.options.resources)
        departure = Departure(step, [(miss.args, miss.kwargs)], self._executor.on_mismatch)
        departure.is_single = True
        return self._executor.submit(departure, resources=step.options.resources)

    def _here(self) -> Executor:
        self._threads_here = self._threads_here or ThreadExecutor(1)
        return self._threads_here

    def _in_thread(self, number: int, compute: Callable[[], Outcome]) -> Callable[[], Outcome]:
        def work() -> Outcome:
            self._threads[number] = threading.get_ident()
            try:
                return compute()
            finally:
                with self._guard:  # whoever interrupts us does it before this, or not at all
                    self._threads.pop(number, None)

        return work

    def _next_event(self) -> tuple[int, concurrent.futures.Future[Any]]:
        if self._helps:
            try:
                return self._events.get_nowait()
            except Empty:
                idle = next((future for future in self._submitted.values() if not _has_begun(future)), None)
                if idle is not None:
                    idle.run()
        return self._events.get()

    def _take_finished(self) -> None:
        while True:
            try:
                number, future = self._events.get_nowait()
            except Empty:
                return
            self._take(number, future)

    def _take(self, number: int, future: concurrent.futures.Future[Any]) -> None:
        del self._submitted[number]
        if future.cancelled():
            return
        error = future.exception()
        if error is None:
            self._ended(number, future.raw() if isinstance(future, Future) else future.result())
        elif isinstance(error, Exception):
            self._failed(number, error)
        else:
            raise error  # an interruption, or an exit, in the thread of the caller

    # -- what ended --------------------------------------------------------------------------------

    def _ended(self, number: int, outcome: Outcome) -> None:
        reference, spec = outcome.reference, self.progress.specs[number]
        if reference is not None:
            self._made_by[reference.key.hex()] = number
            if reference.holds_files:
                try:
                    self._files.note(number, reference, reference.load(self._store), ran=not outcome.hit)
                except MlflowishError as error:
                    self._failed(number, error)
                    return
        self._whole.note(spec.group, number, outcome)
        waiting = self._repairing.pop(number, None)
        if waiting is not None:
            self.progress.results[number] = outcome.value if reference is None else reference
            self.progress.enter_state(number, DONE)
            self.progress.ready.extend(waiting)
            return
        result = outcome.value if reference is None else reference
        self.progress.finish(number, result, CACHED if outcome.hit else DONE, outcome.duration_s)
        self._end_twins(number)

    def _failed(self, number: int, error: Exception) -> None:
        if isinstance(error, ResultGoneError) and self._repair(error, number):
            self._end_twins(number)
            return
        for waiting in self._repairing.pop(number, ()):
            self._failed(waiting, error)
        spec = self.progress.specs[number]
        self.failures.append(Failure.of(spec, error))
        self.progress.fail(number, error)
        self._end_twins(number, error)
        if self._stop_at_failure:
            self._pending.clear()
            self.progress.ready.clear()
            for future in list(self._submitted.values()):
                future.cancel()

    def _end_twins(self, number: int, error: Exception | None = None) -> None:
        """The calls that are equal to one that has ended are looked up, or fail as it did."""
        if (key := self._key_of.pop(number, None)) is None:
            return
        self._computing.pop(key, None)
        for twin in self._twins.pop(number, ()):
            if error is None:
                self.progress.ready.append(twin)
            else:
                self._failed(twin, error)

    def _repair(self, error: ResultGoneError, needed_by: int | None) -> bool:
        """Have a result that is stored no more computed anew, and then what needs it; once."""
        number = self._made_by.get(error.key)
        if number is None or (number in self._repaired and number not in self._repairing):
            return False
        waiting = self._repairing.setdefault(number, [])
        if needed_by is not None:
            waiting.append(needed_by)
        if number in self._repaired:
            return True
        self._repaired.add(number)
        spec = self.progress.specs[number]
        args, kwargs = self.progress.filled(spec.args), self.progress.filled(spec.kwargs)
        miss = Miss(spec.step, args, kwargs, identify_by_reference(spec.step, args, kwargs))
        self._pending.append((number, miss))
        return True

    def _abandon(self) -> None:
        """Interrupted: nothing new starts, and what runs in our threads gives up as soon as it can."""
        for future in self._submitted.values():
            future.cancel()
        for future in self._submitted.values():
            if not self._in_process:
                future.stop()  # what runs in a process of its own ends with that
            elif isinstance(self._executor, ThreadExecutor):
                self._executor.abandon(future)
        with self._guard:
            for thread in self._threads.values():
                if thread != threading.get_ident():
                    interrupt(thread)


def _has_begun(future: Future) -> bool:
    return future.running() or future.done()
