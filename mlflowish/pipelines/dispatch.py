"""Calls of a run on their way to the executor and back: alone, or so many together as their `map` says.

Used by the one thread that decides; workers end futures, which says so by a queue.
"""

from __future__ import annotations

import concurrent.futures
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from mlflowish.errors import StateError
from mlflowish.executors import Executor, Future, ThreadExecutor
from mlflowish.executors.futures import waiting
from mlflowish.executors.packing import Answer
from mlflowish.pipelines.progress import Progress
from mlflowish.pipelines.specs import Batch
from mlflowish.steps.reference import Miss, Outcome
from mlflowish.steps.remote import Departure
from mlflowish.steps.running import interrupt
from mlflowish.steps.wrapper import Step

Parcel = list[tuple[int, Miss]]
"""Calls of one step that travel together, each with its spec; usually one."""

_AHEAD = 4  # parcels that are with the executor for each of its workers: so that none waits for us


@dataclass(frozen=True, slots=True)
class Raised:
    """What one call of a batch raised in a thread of ours: the others go on."""

    error: Exception


class Dispatch:
    """What waits to be submitted, what is away, and what has come back."""

    def __init__(
        self, executor: Executor, compute: Callable[[Miss], Outcome], progress: Progress, *, helps: bool
    ) -> None:
        self._executor = executor
        self._compute = compute  # what a thread of ours does
        self._progress = progress  # told of what begins
        self._helps = helps
        self._threads_here: ThreadExecutor | None = None
        self._workers = executor.workers
        self._most = _AHEAD * max(16, executor.workers)
        self._pending: deque[Parcel] = deque()
        self._gathered: dict[Batch, Parcel] = {}  # what is not a full batch yet
        self._away: dict[int, tuple[Parcel, Future]] = {}  # by the first spec of the parcel
        # What ended, by the first spec of its parcel; where it is observed also what began, with None.
        self._back: SimpleQueue[tuple[int, concurrent.futures.Future[Any] | None]] = SimpleQueue()
        self._thread = threading.get_ident()
        # Where the executor cannot tell, those that came first run, as many as there are workers.
        self._tells = executor.in_process or getattr(executor, "knows_what_runs", False)
        self._line: deque[int] = deque()
        self._at_work: set[int] = set()
        self._threads: dict[int, int] = {}
        self._guard = threading.Lock()

    # -- on their way ------------------------------------------------------------------------------

    def add(self, number: int, miss: Miss, batch: Batch | None = None) -> None:
        """One more call, which waits for the others of its batch."""
        if batch is None or batch.size == 1:
            self._pending.append([(number, miss)])
            return
        gathered = self._gathered.setdefault(batch, [])
        gathered.append((number, miss))
        if len(gathered) >= batch.size:
            self._pending.append(self._gathered.pop(batch))

    @property
    def are_enough(self) -> bool:
        """Need no more be looked up for now?"""
        return len(self._pending) >= self._most

    @property
    def are_wanted(self) -> bool:
        """Does something wait here, and a worker for it?"""
        return bool(self._pending) and len(self._away) < self._workers

    @property
    def are_all_sent(self) -> bool:
        """Is nothing left to submit?"""
        return not self._pending and not self._gathered

    @property
    def are_away(self) -> bool:
        """Is anything with the executor?"""
        return bool(self._away)

    def next_parcel(self, *, fills: bool) -> Parcel | None:
        """What to submit now. `fills`: a batch that is not full may still become so; else it does not let a worker
        wait."""
        if self._line:
            self._move_up()
        # Whatever has ended is looked at first: it may be a reason to submit nothing more.
        if not self._back.empty():
            return None
        if self._pending:
            return self._pending.popleft() if len(self._away) < self._most else None
        if self._gathered and not fills and len(self._away) < self._workers:
            return self._gathered.pop(next(iter(self._gathered)))
        return None

    def send(self, parcel: Parcel, step: Step[..., Any], *, is_away: bool) -> None:
        """Submit it: to the executor, or if not `is_away`, to a thread of this process."""
        first = parcel[0][0]
        if self._executor.in_process or not is_away:
            executor = self._executor if self._executor.in_process else self._here()
            future = executor.submit(self._work(parcel), resources=step.options.resources)
        else:
            future = self._executor.submit(self._departure(parcel, step), resources=step.options.resources)
        self._away[first] = parcel, future
        if not self._executor.in_process and is_away:
            self._watch(first, future)
        future.add_done_callback(lambda ended: self._back.put((first, ended)))

    def _watch(self, first: int, future: Future) -> None:
        """Have the calls of a parcel that is away shown as running when they do."""
        if not self._tells:
            self._line.append(first)
            self._move_up()
            return
        future.on_begin = lambda: self._begun(first)
        if future.running():
            self._begin(first)

    def _move_up(self) -> None:
        while self._line and len(self._at_work) < self._workers:
            first = self._line.popleft()
            if first in self._away:
                self._at_work.add(first)
                self._begin(first)

    def _begun(self, number: int) -> None:
        """A call begins, in whatever thread this is."""
        if not self._progress.observers:
            self._begin(number, quietly=True)
        elif threading.get_ident() == self._thread:
            self._begin(number)
        else:
            self._back.put((number, None))

    def _begin(self, number: int, *, quietly: bool = False) -> None:
        """A call runs; all of a parcel that is away are said to, because nobody sees which."""
        begin = self._progress.begin_quietly if quietly else self._progress.begin
        parcel = None if self._executor.in_process else self._away.get(number)
        for each, _ in parcel[0] if parcel is not None else ((number, None),):
            begin(each)

    def _departure(self, parcel: Parcel, step: Step[..., Any]) -> Departure:
        is_single = len(parcel) == 1
        misses = None if is_single else [miss for _, miss in parcel]
        calls = [(miss.args, miss.kwargs) for _, miss in parcel]
        departure = Departure(step, calls, self._executor.on_mismatch, misses=misses)
        departure.is_single = is_single
        return departure

    def _here(self) -> Executor:
        self._threads_here = self._threads_here or ThreadExecutor(1)
        return self._threads_here

    def _work(self, parcel: Parcel) -> Callable[[], Any]:
        """What a thread of ours does: gives the outcome of a call; of a batch, how each ended."""
        if len(parcel) == 1:
            return self._in_thread(*parcel[0])

        def attempted(number: int, miss: Miss) -> Outcome | Raised:
            try:
                return self._in_thread(number, miss)()
            except Exception as error:  # noqa: BLE001  the others of the batch go on
                return Raised(error)

        return lambda: [attempted(number, miss) for number, miss in parcel]

    def _in_thread(self, number: int, miss: Miss) -> Callable[[], Outcome]:
        def work() -> Outcome:
            self._threads[number] = threading.get_ident()
            self._begun(number)
            try:
                return self._compute(miss)
            finally:
                with self._guard:  # whoever interrupts us does it before this, or not at all
                    self._threads.pop(number, None)

        return work

    # -- back --------------------------------------------------------------------------------------

    def next_back(self) -> tuple[Parcel, concurrent.futures.Future[Any]] | None:
        """Wait for the next that ends; None if one begins before. Where this thread is one of the workers, it does
        some of the work."""
        if self._helps and self._back.empty():
            idle = next((future for _, future in self._away.values() if not _has_begun(future)), None)
            if idle is not None:
                idle.run()
        if not self._helps:
            return self._taken(*self._back.get())
        with waiting():
            back = self._back.get()
        return self._taken(*back)

    def back(self) -> tuple[Parcel, concurrent.futures.Future[Any]] | None:
        """What has ended, if something has."""
        if not self._away:
            return None
        try:
            while (back := self._taken(*self._back.get_nowait())) is None:
                pass
        except Empty:
            return None
        return back

    def _taken(
        self, first: int, future: concurrent.futures.Future[Any] | None
    ) -> tuple[Parcel, concurrent.futures.Future[Any]] | None:
        if future is None:
            self._begin(first)
            return None
        parcel = self._away.pop(first)[0]
        self._at_work.discard(first)
        return parcel, future

    # -- the end -----------------------------------------------------------------------------------

    def end(self) -> None:
        """Nothing is left to do."""
        if self._threads_here is not None:
            self._threads_here.shutdown()

    def cancel(self) -> None:
        """Nothing more begins; what has begun goes on."""
        self._pending.clear()
        self._gathered.clear()
        for _, future in list(self._away.values()):
            future.cancel()

    def abandon(self) -> None:
        """Interrupted: nothing new starts, and what runs in our threads gives up as soon as it can."""
        futures = [future for _, future in self._away.values()]
        for future in futures:
            future.cancel()
        for future in futures:
            if not self._executor.in_process:
                future.stop()  # what runs in a process of its own ends with that
            elif isinstance(self._executor, ThreadExecutor):
                self._executor.abandon(future)
        with self._guard:
            for thread in self._threads.values():
                if thread != threading.get_ident():
                    interrupt(thread)


def raised(outcome: Answer | Raised) -> Exception:
    """What one call of a batch raised, here or on a worker."""
    if isinstance(outcome, Raised):
        return outcome.error
    try:
        outcome.opened(None)
    except Exception as error:  # noqa: BLE001  that is what is wanted
        return error
    raise StateError("A worker answered for a call of a batch with neither a result nor an error")


def _has_begun(future: Future) -> bool:
    return future.running() or future.done()
