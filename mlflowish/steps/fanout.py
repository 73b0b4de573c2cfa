"""Many calls at once: `submit` and `map`, on the active executor."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from mlflowish.errors import InvalidInputError, StepError
from mlflowish.executors import Future, active_executor
from mlflowish.steps.bound import check_class_is_there
from mlflowish.steps.identity import Identity

if TYPE_CHECKING:
    from mlflowish.steps.wrapper import Step


def submit(step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Future:
    """A future of the call; futures among its arguments are waited for and replaced by their results."""
    check_class_is_there(step, args, kwargs)
    waited: list[Future] = []
    _collect(args, waited)
    _collect(kwargs, waited)
    executor = active_executor()
    if not executor.in_process:
        from mlflowish.steps.remote import submit_away

        return submit_away(executor, step, args, kwargs, tuple(waited))

    def work() -> Any:
        result = step(*resolve(args), **resolve(kwargs)) if waited else step(*args, **kwargs)
        if inspect.isasyncgen(result):
            return asyncio.run(_collected(result))
        return asyncio.run(_awaited(result)) if inspect.isawaitable(result) else result

    return executor.submit(work, after=tuple(waited))


def map_step(
    step: Step[..., Any], first: tuple[Any, ...], iterables: tuple[Any, ...], common: dict[str, Any]
) -> list[Any]:
    """Results in order. Hits are read in the caller's thread, at the cost of a hit; only the rest is submitted.

    Equal items are submitted once: those that come later read back, as new objects, what the first has stored.
    """
    results: list[Any] = []
    pending: dict[int, Future] = {}
    repeated: dict[int, _Repeat] = {}
    submitted: dict[bytes, int] = {}
    for index, items in enumerate(rows_of(step.name, iterables)):
        args = (*first, *items)
        identity = step.identify(args, common)
        place = submitted.get(identity.key, index) if identity.key is not None else index
        found = step.look_up(identity) if place == index else None
        results.append(None if found is None else found[1])
        if place != index:
            repeated[index] = _Repeat(place, identity, args)
        elif found is None:
            pending[index] = submit(step, args, common)
            if identity.key is not None and step.options.cache:
                submitted[identity.key] = index
    failures: dict[int, BaseException] = {}
    for index, future in pending.items():
        try:
            results[index] = future.result()
        except Exception as error:  # noqa: BLE001  every item finishes before the failures are raised together below
            failures[index] = error
    for index, repeat in repeated.items():
        if repeat.place in failures:
            failures[index] = failures[repeat.place]
            continue
        try:
            found = step.look_up(repeat.identity)
            # What could not be stored cannot be read back: it is computed for each.
            results[index] = found[1] if found is not None else submit(step, repeat.args, common).result()
        except Exception as error:  # noqa: BLE001  as above
            failures[index] = error
    if failures:
        place = min(failures)
        raise StepError(
            f"{step.name}.map: {len(failures)} of {len(results)} items failed, the first at index {place}: "
            f"{type(failures[place]).__name__}: {failures[place]}. "
            "The others are stored; run it again for the failed ones.",
            step=step.name,
            failures=failures,
            results=results,
        ) from failures[place]
    return results


@dataclass(frozen=True, slots=True)
class _Repeat:
    """A call of a `map` that is equal to the one at an earlier place."""

    place: int
    identity: Identity
    args: tuple[Any, ...]


def rows_of(name: str, iterables: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """The items of all iterables, in step; InvalidInputError if there are none, or they are not equally long."""
    if not iterables or not all(isinstance(items, Iterable) for items in iterables):
        found = f", found {', '.join(type(items).__name__ for items in iterables)}" if iterables else ""
        raise InvalidInputError(f"{name}.map takes at least one iterable of items, {name}.map(xs, ...){found}")
    ended = object()
    for row in zip_longest(*iterables, fillvalue=ended):
        if any(item is ended for item in row):
            raise InvalidInputError(
                f"{name}.map goes through its iterables in step, and they are not equally long. Give what is the same "
                f"for all items by its name: {name}.map(xs, y=...)."
            )
        yield row


def resolve(value: Any) -> Any:
    """The value with every future in it, also inside lists, tuples and dicts, replaced by its result."""
    if isinstance(value, Future):
        return value.result()
    if type(value) in (list, tuple):
        return type(value)(resolve(item) for item in value)
    if type(value) is dict:
        return {key: resolve(item) for key, item in value.items()}
    return value


def _collect(value: Any, found: list[Future]) -> None:
    if isinstance(value, Future):
        found.append(value)
    elif type(value) in (list, tuple):
        for item in value:
            _collect(item, found)
    elif type(value) is dict:
        for item in value.values():
            _collect(item, found)


async def _awaited(awaitable: Any) -> Any:
    return await awaitable


async def _collected(items: Any) -> list[Any]:
    return [item async for item in items]
