"""One run of a pipeline: tracked, passed in one look-up if it can be, else scheduled."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from mlflowish.errors import ResultGoneError
from mlflowish.executors import Executor, ExecutorHandle, active_executor, executor, executor_block
from mlflowish.pipelines import endings
from mlflowish.pipelines.displays.choosing import progress_watcher
from mlflowish.pipelines.endings import Ending, Failure, failed_error
from mlflowish.pipelines.observing import Observer, Observers
from mlflowish.pipelines.passing import Passed, look_up_closed, whole_key
from mlflowish.pipelines.progress import Progress
from mlflowish.pipelines.scheduler import Scheduler
from mlflowish.pipelines.trace import Trace
from mlflowish.pipelines.whole import Whole
from mlflowish.steps import writing
from mlflowish.steps.frames import current_frame
from mlflowish.steps.noting import tell
from mlflowish.steps.reference import load_all
from mlflowish.store import Store
from mlflowish.store.context import CallNote
from mlflowish.store.distant import trusting
from mlflowish.tracking import Run, start_run

if TYPE_CHECKING:
    from mlflowish.pipelines.definition import Pipeline

PIPELINE_TAG = "mlflowish.pipeline"
_TEXTS = (str, int, float, bool, type(None))


class PipelineRun(Run):
    """The run of a pipeline, with its `result`. `counts`: nodes by state; `is_whole_hit`: passed in one look-up."""

    def __init__(self, store: Store, run_id: str, result: Any, ending: Ending) -> None:
        super().__init__(store, run_id)
        self.result = result
        self.ending = ending

    @property
    def counts(self) -> dict[str, int]:
        """How many nodes were cached, computed (`done`), skipped."""
        return dict(self.ending.counts)

    @property
    def is_whole_hit(self) -> bool:
        """Was all of it passed in one look-up?"""
        return self.ending.is_whole_hit


def call(pipeline: Pipeline[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The value; as one run, unless a step calls it: then its calls are part of that one."""
    values = pipeline.parameters.check(args, kwargs)
    tracked = current_frame.get() is None
    with _tracked(pipeline, values) if tracked else nullcontext() as run:
        work = _Work(pipeline, args, kwargs, None, pipeline.on_failure, (), run.run_id if run is not None else None)
        return work.done()[0]


def run(
    pipeline: Pipeline[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    executor: Any,
    on_failure: str,
    observers: Sequence[Observer],
    progress: bool | str | None,
) -> PipelineRun:
    """The run, with its result."""
    values = pipeline.parameters.check(args, kwargs)
    with _tracked(pipeline, values) as tracked:
        work = _Work(pipeline, args, kwargs, executor, on_failure, observers, tracked.run_id, progress)
        result, ending = work.done()
    return PipelineRun(tracked.store, tracked.run_id, result, ending)


@contextmanager
def _tracked(pipeline: Pipeline[..., Any], values: dict[str, Any]) -> Iterator[Any]:
    with start_run(pipeline.label, tags={PIPELINE_TAG: pipeline.name}, store=pipeline.store) as active:
        if values:
            active.log_params({name: _text(name, value) for name, value in values.items()})
        yield active


def _text(name: str, value: Any) -> Any:
    return value if isinstance(value, _TEXTS) else writing.described(name, value)


class _Work:
    """One run, from its arguments to its result."""

    def __init__(
        self,
        pipeline: Pipeline[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        executor: Any,
        on_failure: str,
        observers: Sequence[Observer],
        run_id: str | None,
        progress: bool | str | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._args, self._kwargs = args, kwargs
        self._executor = executor if executor is not None else pipeline.executor
        self._on_failure = on_failure
        self._store = pipeline.store
        self._display = progress_watcher(self._store, progress)
        self._observers = Observers(observers)
        self._run_id = run_id
        self._started = time.perf_counter()
        self._trace: Trace | None = None
        self._scheduler: Scheduler | None = None

    def done(self) -> tuple[Any, Ending]:
        """The result, and how it ended. StepError if something failed; exit handlers are called in any case."""
        error: BaseException | None = None
        ending = self._ending("FAILED")
        try:
            result, passed = self._result()
            ending = self._ending("FINISHED", whole=passed)
            return result, ending
        except BaseException as raised:
            error = raised
            ending = self._ending("FAILED" if isinstance(raised, Exception) else "KILLED")
            raise
        finally:
            if self._display is not None:
                self._display.end(ending)
            self._observers.end(ending)
            endings.tell(self._trace.endings if self._trace is not None else (), ending, error)

    def _result(self) -> tuple[Any, bool]:
        pipeline, store = self._pipeline, self._store
        identity = pipeline.identify(self._args, self._kwargs)
        outer = current_frame.get()
        token = current_frame.set(None)
        key = None
        try:
            passed = look_up_closed(store, pipeline, identity, self._args, self._kwargs)
            if passed is not None and (found := self._loaded(passed)) is not None:
                key = passed.key
                return found[0], True
            self._trace = trace = Trace(pipeline)
            trace.body(self._args, self._kwargs)
            for rows in trace.listed:
                rows.all_read()
            with trusting(trace.looks):
                whole_name = whole_key(identity, trace, trace.groups[0], self._args, self._kwargs)
            key = whole_name.hex() if whole_name is not None else None
            whole = Whole(store, trace, identity, whole_name, inside=outer)
            passed = whole.look_up()
            if passed is not None and (found := self._loaded(passed)) is not None:
                return found[0], True
            try:
                return self._scheduled(trace, whole), False
            except ResultGoneError:
                if not whole.has_passed:
                    raise
                # A nested pipeline was passed, and what it gave turns out to be gone: visit all nodes.
                whole = Whole(store, trace, identity, whole_name, inside=outer, passes_nested=False)
                return self._scheduled(trace, whole), False
        finally:
            current_frame.reset(token)
            if outer is not None and key is not None:
                outer.children.append(key)

    def _loaded(self, passed: Passed) -> tuple[Any] | None:
        """The result in a tuple; None if it was collected, or is damaged: then it goes on node by node."""
        try:
            result = load_all(passed.result, self._store)
        except ResultGoneError:
            return None
        self._note_whole(passed)
        return (result,)

    def _note_whole(self, passed: Passed) -> None:
        self._observers.begin(self._pipeline.name, [])
        tell(CallNote(passed.key, self._pipeline.name, True, 0.0, None))

    def _scheduled(self, trace: Trace, whole: Whole) -> Any:
        earlier = self._scheduler.progress if self._scheduler is not None else None
        progress = Progress(trace, self._observers, instead_of=earlier)
        with _executor(self._executor) as executor:
            self._scheduler = scheduler = Scheduler(
                progress, executor, self._store, whole, stop_at_failure=self._on_failure == "stop"
            )
            if self._display is not None and earlier is None:
                self._display.begin(progress, scheduler.failures, getattr(executor, "workers", None))
            elif self._display is not None:
                self._display.go_on(progress, scheduler.failures)
            scheduler.run()
            if scheduler.failures:
                errors = (failure.error for failure in scheduler.failures)
                if whole.has_passed and (gone := next(filter(_is_gone, errors), None)) is not None:
                    raise gone
                progress.skip_the_rest()
                raise failed_error(self._pipeline.label, self._ending("FAILED"))
            whole.leave(0, progress)
            return scheduler.load(progress.filled(trace.groups[0].result))

    def _ending(self, status: str, *, whole: bool = False) -> Ending:
        failures: tuple[Failure, ...] = ()
        counts: dict[str, int] = {}
        if self._scheduler is not None:
            failures, counts = tuple(self._scheduler.failures), self._scheduler.progress.counts()
        took = time.perf_counter() - self._started
        return Ending(self._pipeline.name, status, took, self._run_id, failures, counts, whole)


def _is_gone(error: BaseException) -> bool:
    return isinstance(error, ResultGoneError)


@contextmanager
def _executor(chosen: Any) -> Iterator[Executor]:
    """The active executor, or the one that was chosen for this run: ended with it if it was made for it."""
    if chosen is None:
        yield active_executor()
    elif isinstance(chosen, ExecutorHandle):
        with executor_block(chosen.executor):
            yield chosen.executor
    else:
        with executor(chosen) as made:
            yield made
