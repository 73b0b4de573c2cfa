"""`step.map`: a call for each row, of which only those without a stored result run."""

from __future__ import annotations

import concurrent.futures
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from mlflowish.errors import CapabilityError, InvalidInputError, MlflowishError, NotFoundError, StepError, StorageError
from mlflowish.executors import Future, active_executor
from mlflowish.steps.fanout import submit
from mlflowish.steps.identity import Identity
from mlflowish.steps.rows import Rows
from mlflowish.steps.tracing import recorder
from mlflowish.store import remembered
from mlflowish.store.distant import trusting
from mlflowish.units import Results, clashes_in

if TYPE_CHECKING:
    from mlflowish.steps.reference import Miss
    from mlflowish.steps.wrapper import Step

_WORTH_S = 0.02  # calls that take less travel together until they take so long, or are so many
_MOST_TOGETHER = 64
_SHARES = 4  # batches for each worker, so that they end together


def map_step(
    step: Step[..., Any], first: tuple[Any, ...], iterables: tuple[Any, ...], common: dict[str, Any]
) -> list[Any]:
    """Results in order. Hits are read in the caller's thread, at the cost of a hit; only the rest is submitted.

    Equal items are submitted once: those that come later read back, as new objects, what the first has stored.
    """
    size, common = without_batch(step, common)
    if (tracing := recorder.get()) is not None:  # a pipeline submits its calls as it sees fit
        return cast(list[Any], tracing.map(step, first, iterables, common, batch=size))
    rows = Rows(step.name, iterables)
    mapping = _Mapping(step, common, rows, size)
    with rows.read_ahead() as ahead:
        for place, items in enumerate(rows):
            ahead.wait(place)
            mapping.begin((*first, *items))
    return mapping.finish()


def checked(
    step: Step[..., Any],
    rows: Rows,
    calls: list[tuple[Any, ...]],
    results: list[Any],
    ran: set[int],
    *,
    same: set[int],
    common: dict[str, Any],
    started_s: float,
) -> list[Any]:
    """The results of a map, with the names of their units if it was over units.

    StepError if two of them are one file or folder. `ran`: the places of the calls that ran since `started_s`, `same`:
    of those that are equal to an earlier one. What a call has stored may be what the other wrote, so it is forgotten.
    """
    clashes = clashes_in(results, calls, ran, same, started_s)
    if clashes:
        for place in sorted({place for clash in clashes for place in (clash.first, clash.second)} & ran):
            step.forget(*calls[place], **common)
        clash = clashes[0]
        one, other = rows.label(clash.first), rows.label(clash.second)
        raise StepError(
            f"{step.name}.map: the results of {one} and of {other} are both {clash.path}, so one overwrites the other"
            f"{f', and so do {len(clashes) - 1} more' if len(clashes) > 1 else ''}. Write each to a path of its own, "
            "for example with the name of the unit in it. What they stored now is forgotten.",
            step=step.name,
            path=clash.path,
            clashes=clashes,
            results=results,
        )
    return results if rows.units is None else Results(results, rows.units)


def failed(step: str, rows: Rows, results: list[Any], failures: dict[int, BaseException]) -> StepError:
    """The error for a map some of whose calls failed."""
    place = min(failures)
    return StepError(
        f"{step}.map: {len(failures)} of {len(results)} items failed, the first at {rows.label(place)}: "
        f"{type(failures[place]).__name__}: {failures[place]}. "
        "The others are stored; run it again for the failed ones.",
        step=step,
        failures=failures,
        units={} if rows.units is None else {rows.units[place].name: error for place, error in failures.items()},
        results=results,
    )


class _Mapping:
    """A map at work: what is known of each row, by its place."""

    def __init__(self, step: Step[..., Any], common: dict[str, Any], rows: Rows, size: int) -> None:
        self._step, self._common, self._rows, self._size = step, common, rows, size
        self._calls: list[tuple[Any, ...]] = []
        self._results: list[Any] = []
        self._pending: dict[int, _Pending] = {}
        self._repeated: dict[int, _Repeat] = {}
        self._submitted: dict[bytes, int] = {}
        self._failures: dict[int, BaseException] = {}
        self._batch: list[int] = []
        self._started_s = time.time()
        self._executor = active_executor()
        self._holds = size == 1 and not self._executor.in_process
        self._held: list[int] = []
        self._identities: dict[int, Identity] = {}

    def begin(self, args: tuple[Any, ...]) -> None:
        """Look the next row up; submit it if nothing is stored."""
        step, place = self._step, len(self._results)
        self._calls.append(args)
        self._results.append(None)
        try:
            with trusting(self._rows.looks):
                identity = step.identify(args, self._common)
        except (NotFoundError, StorageError) as error:
            if self._rows.units is None:
                raise
            self._failures[place] = error  # it has vanished since it was listed: the others are worked on
            return
        earlier = self._submitted.get(identity.key, place) if identity.key is not None else place
        if earlier != place:
            self._repeated[place] = _Repeat(earlier, identity)
        elif (found := step.look_up(identity)) is not None:
            self._results[place] = found[1]
        else:
            if identity.key is not None and step.options.cache:
                self._submitted[identity.key] = place
            self._identities[place] = identity
            self._hold_or_submit(place)

    def _hold_or_submit(self, place: int) -> None:
        """Tiny calls travel together; whether they are tiny, the first ones tell."""
        if not self._holds or len(self._pending) < 2 * self._executor.workers:
            self._submit(place)
            return
        self._held.append(place)
        if any(pending.future.done() for pending in self._pending.values()):
            self._release()

    def _submit(self, place: int) -> None:
        if self._size == 1:
            self._pending[place] = _Pending(self._submitted_alone(place))
            return
        self._batch.append(place)
        if len(self._batch) == self._size:
            self._send()

    def _send(self) -> None:
        """Submit what was gathered as one batch."""
        places, self._batch = self._batch, []
        if not places:
            return
        future = self._submitted_together(places)
        for number, place in enumerate(places):
            self._pending[place] = _Pending(future, number, travels=not self._executor.in_process)

    def _submitted_alone(self, place: int) -> Future:
        if self._executor.in_process or self._identities[place].key is None:
            return submit(self._step, self._calls[place], self._common)
        from mlflowish.steps.remote import submit_misses

        return submit_misses(self._executor, [self._miss(place)], is_single=True)

    def _submitted_together(self, places: list[int]) -> Future:
        """A future of what each call gave or raised."""
        executor = self._executor
        if not executor.in_process:
            from mlflowish.steps.remote import submit_misses

            return submit_misses(executor, [self._miss(place) for place in places], is_single=False)
        calls = [self._calls[place] for place in places]
        return executor.submit(
            lambda: [_attempted(self._step, args, self._common) for args in calls],
            resources=self._step.options.resources,
        )

    def _miss(self, place: int) -> Miss:
        from mlflowish.steps.reference import Miss

        return Miss(self._step, self._calls[place], self._common, self._identities.pop(place))

    def _release(self) -> None:
        """Submit what is held back, so many together as makes the journey worth it."""
        self._holds, held, self._held = False, self._held, []
        duration_s = _duration_s([pending.future for pending in self._pending.values()])
        worth = max(1, min(_MOST_TOGETHER, int(_WORTH_S / duration_s)))
        self._size = max(1, min(worth, len(held) // (_SHARES * self._executor.workers)))
        for place in held:
            self._submit(place)
        self._send()
        self._size = worth

    def finish(self) -> list[Any]:
        """Wait for everything, then the results; StepError if some failed. Interrupted, it takes back what it can."""
        try:
            return self._finished()
        except BaseException as error:
            if not isinstance(error, Exception):
                for pending in self._pending.values():
                    pending.future.cancel()
                for pending in self._pending.values():
                    pending.future.stop()
            raise

    def _finished(self) -> list[Any]:
        if self._held:
            futures = [pending.future for pending in self._pending.values()]
            concurrent.futures.wait(futures, return_when=concurrent.futures.FIRST_COMPLETED)
            self._release()
        self._send()
        self._send_apart()
        results, failures = self._results, self._failures
        for place, pending in self._pending.items():
            self._settle(place, pending.result)
        ran = self._pending.keys() - failures.keys()
        for place, repeat in self._repeated.items():
            if repeat.place in failures:
                failures[place] = failures[repeat.place]
            else:
                self._settle(place, lambda repeat=repeat, place=place: self._again(place, repeat))  # type: ignore[misc]  # mypy knows no types of bound names
        if remembered.waiting and len(failures) < len(results):
            remembered.write_down(self._step.store)
        done = checked(
            self._step, self._rows, self._calls, results, ran,
            same=set(self._repeated), common=self._common, started_s=self._started_s,
        )  # fmt: skip
        if failures:
            raise failed(self._step.name, self._rows, results, failures) from failures[min(failures)]
        return done

    def _send_apart(self) -> None:
        """Submit anew, each by itself, what was in a batch that failed as a whole: one of them has ended the worker, or
        cannot travel, and the others are not to fail with it."""
        for place, pending in self._pending.items():
            future = pending.future
            if not pending.travels or future.cancelled() or not isinstance(future.exception(), Exception):
                continue
            try:
                self._identities[place] = self._step.identify(self._calls[place], self._common)
            except MlflowishError:  # it has vanished meanwhile: it has failed anyway
                continue
            self._pending[place] = _Pending(self._submitted_alone(place))

    def _settle(self, place: int, result: Callable[[], Any]) -> None:
        try:
            self._results[place] = self._had(place, result)
        except Exception as error:  # noqa: BLE001  every item finishes before the failures are raised together
            self._failures[place] = error

    def _had(self, place: int, result: Callable[[], Any]) -> Any:
        try:
            return result()
        except CapabilityError as error:
            if self._executor.in_process:
                raise
            from mlflowish.steps.elsewhere import as_it_is_now
            from mlflowish.steps.remote import submit_misses

            def submitted(miss: Miss) -> Any:
                return submit_misses(self._executor, [miss], is_single=True).result()

            return as_it_is_now(self._step, self._calls[place], self._common, error, submitted)

    def _again(self, place: int, repeat: _Repeat) -> Any:
        found = self._step.look_up(repeat.identity)
        # What could not be stored cannot be read back: it is computed for each.
        return found[1] if found is not None else submit(self._step, self._calls[place], self._common).result()


def _duration_s(futures: list[Future]) -> float:
    """How long one of these calls runs, as those tell that are done; long, if none of them does."""
    from mlflowish.steps.reference import Outcome

    done = [future.raw() for future in futures if future.done() and not future.cancelled() and not future.exception()]
    known = [max(one.duration_s, 1e-6) for one in done if isinstance(one, Outcome) and not one.hit]
    return sum(known) / len(known) if known else _WORTH_S


@dataclass(frozen=True, slots=True)
class _Pending:
    """A call that was submitted, by itself or as one of a batch; `travels`: the batch went to another process."""

    future: Future
    number: int | None = None
    travels: bool = False

    def result(self) -> Any:
        """Its value, or the exception that it raised."""
        if self.number is None:
            return self.future.result()
        outcome = self.future.result()[self.number]
        if self.travels:
            return outcome()
        if isinstance(outcome, _Raised):
            raise outcome.error
        return outcome


@dataclass(frozen=True, slots=True)
class _Repeat:
    """A call of a `map` that is equal to the one at an earlier place."""

    place: int
    identity: Identity


@dataclass(frozen=True, slots=True)
class _Raised:
    """What one call of a batch raised: the others go on."""

    error: Exception


def _attempted(step: Step[..., Any], args: tuple[Any, ...], common: dict[str, Any]) -> Any:
    try:
        return step(*args, **common)
    except Exception as error:  # noqa: BLE001  raised by whoever asks for the result
        return _Raised(error)


def without_batch(step: Step[..., Any], common: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """How many calls are submitted together, and what goes to every call: a step that has a parameter `batch` gets
    it."""
    if "batch" not in common or step.identifier.binding.takes("batch"):
        return 1, common
    return _checked_size(common["batch"]), {name: value for name, value in common.items() if name != "batch"}


def _checked_size(size: Any) -> int:
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise InvalidInputError(f"batch is how many items are submitted together, 1 or more, found {size!r}")
    return size
