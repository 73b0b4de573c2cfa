"""Runs a trace: what is stored is found here, at the cost of a look-up; only the rest goes to the executor.

One thread decides, the one that called the pipeline. Workers compute, and say so by a queue.
"""

from __future__ import annotations

import concurrent.futures
from typing import Any

from mlflowish.errors import MlflowishError, ResultGoneError
from mlflowish.executors import Executor, Future
from mlflowish.pipelines.apart import Apart
from mlflowish.pipelines.dispatch import Dispatch, Parcel, raised
from mlflowish.pipelines.endings import Failure
from mlflowish.pipelines.items import item
from mlflowish.pipelines.observing import CACHED, DONE
from mlflowish.pipelines.outputs import WrittenFiles
from mlflowish.pipelines.progress import Progress
from mlflowish.pipelines.specs import CALL, CHOOSE, ENTER, JOIN, LEAVE, MAP, Spec
from mlflowish.pipelines.whole import Whole
from mlflowish.steps.elsewhere import asked_again
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
from mlflowish.store import Store
from mlflowish.store.distant import trusting

_MOST_ASKED = 3


class Scheduler:
    """One run of one trace."""

    def __init__(
        self, progress: Progress, executor: Executor, store: Store, whole: Whole, *, stop_at_failure: bool
    ) -> None:
        self.progress = progress
        self.failures: list[Failure] = []
        self._in_process = executor.in_process
        self._store = store
        self._whole = whole
        self._stop_at_failure = stop_at_failure
        self._looks = progress.trace.looks
        self._computing: dict[bytes, int] = {}  # the key of a call that is computed now -> its spec
        self._key_of: dict[int, bytes] = {}
        self._twins: dict[int, list[int]] = {}  # specs that are the same call as one that is computed now
        self._made_by: dict[str, int] = {}  # key -> the spec that has it
        self._asked: dict[int, int] = {}  # how often a call was made again because a file had changed
        self._repaired: set[int] = set()
        self._repairing: dict[int, list[int]] = {}  # a spec that is computed anew -> those that need it
        self._files = WrittenFiles(progress.specs, store)
        # Inside a step this thread is one of the workers: it lends a hand, or a small pool would wait for ever.
        helps = whole.is_inside_a_step and executor.in_process
        self._calls = Dispatch(executor, Apart().compute, progress, helps=helps)

    def run(self) -> None:
        """Until nothing is left to do. What fails is in `failures`; only interruptions are raised."""
        try:
            while True:
                self._resolve_ready()
                self._submit_pending()
                if self._calls.are_away:
                    if (back := self._calls.next_back()) is not None:
                        self._take(*back)
                elif not self.progress.ready and self._calls.are_all_sent:
                    break
            self._calls.end()
            if not self.failures:
                self.progress.check_complete()
        except BaseException:
            self._calls.abandon()
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
        while ready and not self._calls.are_enough:
            number = ready.popleft()
            if self.progress.has_ended(number):
                continue  # with the nested pipeline that it is part of
            spec = self.progress.specs[number]
            if spec.kind == CALL:
                self._resolve_call(number, spec)
            else:
                self._resolve_other(number, spec)
            while (back := self._calls.back()) is not None:
                self._take(*back)
            if self._calls.are_wanted:
                self._submit_pending()  # no worker waits while we look the others up

    def _submit_pending(self) -> None:
        while (parcel := self._calls.next_parcel(fills=bool(self.progress.ready))) is not None:
            for number, _ in parcel:
                self.progress.queue(number)
            number, miss = parcel[0]
            self._whole.use_frame_of(self.progress.specs[number].group)
            # A worker would find a result that is stored, and is lost.
            is_away = number not in self._repairing
            try:
                self._calls.send(parcel, miss.step, is_away=is_away)
            except Exception as error:  # noqa: BLE001  as above: it cannot travel, or wants more than there is
                self._failed_together(parcel, error)

    def _resolve_call(self, number: int, spec: Spec) -> None:
        try:
            args, kwargs = self.progress.filled(spec.args), self.progress.filled(spec.kwargs)
            if spec.step is item and type(args[0]) is not Reference:
                self.progress.finish(number, args[0][args[1]], DONE)
                return
            self._whole.use_frame_of(spec.group)
            found = self._found(spec, args, kwargs)
        except Exception as error:  # noqa: BLE001  whatever it is belongs to this call; the others go on
            self._failed(number, error)
            return
        if isinstance(found, Outcome):
            self._ended(number, found)
        else:
            self._compute(number, found)

    def _found(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Outcome | Miss:
        """What is stored of a call. A hit trusts what was said of a file when the body listed it; a call that runs asks
        again."""
        if self._looks and spec.batch is not None and not spec.deps:
            with trusting(self._looks):
                found = find_by_reference(spec.step, args, kwargs)
            if isinstance(found, Outcome) or not self._in_process:
                return found
        return find_by_reference(spec.step, args, kwargs)

    def _compute(self, number: int, miss: Miss) -> None:
        key = miss.identity.key
        if key is not None and miss.step.options.cache:
            if (twin := self._computing.get(key)) is not None:
                self._twins.setdefault(twin, []).append(number)
                return
            self._computing[key] = number
            self._key_of[number] = key
        self.progress.mark_stale(number)
        self._calls.add(number, miss, self.progress.specs[number].batch)

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
        rows = rows_of(spec.step.name, loaded)
        if rows.looks:
            rows.all_read()
            self._looks.update(rows.looks)
        specs = []
        for place, row in enumerate(rows):
            label = f"{spec.label.removesuffix('.map')}[{rows.name_of(place) or place}]"
            made = Spec(CALL, label, spec.step, (*first, *row), common, ())
            made.file, made.line, made.group, made.batch = spec.file, spec.line, spec.group, spec.batch
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

    def _take(self, parcel: Parcel, future: concurrent.futures.Future[Any]) -> None:
        if future.cancelled():
            return
        error = future.exception()
        if error is None:
            result = future.raw() if isinstance(future, Future) else future.result()
            for (number, _), outcome in zip(parcel, [result] if len(parcel) == 1 else result, strict=True):
                if isinstance(outcome, Outcome):
                    self._ended(number, outcome)
                else:
                    self._failed(number, raised(outcome))
        elif isinstance(error, Exception):
            self._failed_together(parcel, error)
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
        if self._ask_again(number, error):
            return
        for waiting in self._repairing.pop(number, ()):
            self._failed(waiting, error)
        spec = self.progress.specs[number]
        self.failures.append(Failure.of(spec, error))
        self.progress.fail(number, error)
        self._end_twins(number, error)
        if self._stop_at_failure:
            self.progress.ready.clear()
            self._calls.cancel()

    def _ask_again(self, number: int, error: Exception) -> bool:
        """A file that changed between our look and a worker's: the call is made with what it is now."""
        if not getattr(error, "is_other_data", False) or self._asked.get(number, 0) >= _MOST_ASKED:
            return False
        self._asked[number] = self._asked.get(number, 0) + 1
        spec = self.progress.specs[number]
        try:
            found = asked_again(spec.step, self.progress.filled(spec.args), self.progress.filled(spec.kwargs), error)
        except MlflowishError:  # it has vanished meanwhile: that it was another one is as true
            return False
        if isinstance(found, Outcome):
            self._ended(number, found)
        elif found is not None:
            self._calls.add(number, found)
        return found is not None

    def _failed_together(self, parcel: Parcel, error: Exception) -> None:
        """A parcel failed as a whole: of a batch, one call may have ended the worker, or cannot travel; each by itself
        shows which."""
        if len(parcel) == 1:
            self._failed(parcel[0][0], error)
            return
        for number, miss in parcel:
            self._calls.add(number, miss)

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
        self._calls.add(number, miss)
        return True
