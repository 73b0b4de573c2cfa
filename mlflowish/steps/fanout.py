"""A call that is made later, elsewhere: `submit`, on the active executor."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any, cast

from mlflowish.executors import Future, active_executor
from mlflowish.steps.bound import check_class_is_there
from mlflowish.steps.rows import Rows
from mlflowish.steps.tracing import recorder

if TYPE_CHECKING:
    from mlflowish.steps.wrapper import Step


def submit(step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Future:
    """A future of the call; futures among its arguments are waited for and replaced by their results."""
    if (tracing := recorder.get()) is not None:
        return cast(Future, tracing.call(step, args, kwargs))
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

    return executor.submit(work, after=tuple(waited), resources=step.options.resources)


def rows_of(name: str, iterables: tuple[Any, ...]) -> Rows:
    """The items of all iterables, in step; InvalidInputError if there are none, or they are not equally long."""
    return Rows(name, iterables)


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
