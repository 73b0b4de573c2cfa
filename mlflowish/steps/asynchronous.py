"""Steps that are coroutine functions or async generators: the same look-up and the same job, awaited."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from mlflowish.steps.calls import Call
from mlflowish.steps.fanout import rows_of
from mlflowish.steps.identity import Identity
from mlflowish.steps.job import Job
from mlflowish.steps.mapping import checked, without_batch
from mlflowish.steps.options import Options
from mlflowish.steps.rows import Rows
from mlflowish.steps.running import pause_s, seeding, timed_out
from mlflowish.steps.tracing import recorder
from mlflowish.steps.wrapper import Step

T = TypeVar("T")
_marker = getattr(inspect, "markcoroutinefunction", None)


class AsyncStep(Step[..., Any]):
    """A coroutine function as a step: calling it gives a coroutine, of the value; `call` one of the `Call`."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        if _marker is not None:  # 3.12 and later: frameworks ask `inspect.iscoroutinefunction(step)`
            _marker(self)
        else:
            self._is_coroutine = getattr(asyncio.coroutines, "_is_coroutine", None)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        tracing = recorder.get()
        return self._value(args, kwargs) if tracing is None else tracing.call(self, args, kwargs)

    async def _value(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return (await self.call(*args, **kwargs)).value

    async def call(self, /, *args: Any, **kwargs: Any) -> Call:
        """Like awaiting it, but the whole `Call`."""
        identity = self.identify(args, kwargs)
        found = self._look_up(identity)
        if found is not None:
            return self.hit_call(identity, *found)
        return await self._compute(identity, args, kwargs)

    def compute(self, identity: Identity, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        """Run a call that is not stored to its end, and store it; for callers that do not await."""
        return run_to_end(lambda: self._compute(identity, args, kwargs))

    async def _compute(self, identity: Identity, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        if self.options.lock is None or identity.key is None:
            return await self._run(identity, args, kwargs)
        leased = self._leased(identity)
        found = await asyncio.to_thread(leased.__enter__)
        try:
            return self.hit_call(identity, *found) if found is not None else await self._run(identity, args, kwargs)
        finally:
            await asyncio.to_thread(leased.__exit__, None, None, None)

    async def _run(self, identity: Identity, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        job = Job(self, identity)
        with job.running():
            value = await run_async(
                lambda: self._awaitable(job, args, kwargs), self.options, step=self.name, key=identity.key
            )
        return self._finished(job, value)

    def _awaitable(self, job: Job, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self.fn(*args, **kwargs)

    def _finished(self, job: Job, value: Any) -> Call:
        return job.finish(value)

    def map(self, /, *iterables: Any, **common: Any) -> Any:
        """An awaitable of the results for each item, in order, computed concurrently."""
        return self.map_bound((), iterables, common)

    def map_bound(self, first: tuple[Any, ...], iterables: tuple[Any, ...], common: dict[str, Any]) -> Any:
        """`map`, with `first` in front of the arguments of every call."""
        size, common = without_batch(self, common)
        if (tracing := recorder.get()) is not None:
            return tracing.map(self, first, iterables, common, batch=size)
        rows = rows_of(self.name, iterables)
        return self._gathered(rows, [(*first, *row) for row in rows], common)

    async def _gathered(self, rows: Rows, calls: list[tuple[Any, ...]], common: dict[str, Any]) -> list[Any]:
        started_s = time.time()
        made = await asyncio.gather(*(self.call(*args, **common) for args in calls))
        ran = {place for place, call in enumerate(made) if not call.hit}
        first: dict[str | None, int] = {}
        for place, call in enumerate(made):
            first.setdefault(call.key, place)
        same = {place for place, call in enumerate(made) if call.key is not None and first[call.key] != place}
        results = [call.value for call in made]
        return checked(self, rows, calls, results, ran, same=same, common=common, started_s=started_s)


class AsyncGeneratorStep(AsyncStep):
    """An async generator function as a step: `async for` over a call gives the items, which were computed once, and
    stored as they came."""

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        tracing = recorder.get()
        return self._items(args, kwargs) if tracing is None else tracing.call(self, args, kwargs)

    async def _items(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AsyncIterator[Any]:
        for item in (await self.call(*args, **kwargs)).value:
            yield item

    def _awaitable(self, job: Job, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        # Its body runs while it is drained: so that retries, timeout and seed are about that.
        return job.finish_async_generator(self.fn(*args, **kwargs))

    def _finished(self, job: Job, value: Any) -> Call:
        call: Call = value
        return call


def run_to_end(coroutine: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """The result of a coroutine, also inside a running event loop (a notebook), which waits: another thread runs it."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine())
    context = contextvars.copy_context()
    with ThreadPoolExecutor(1, thread_name_prefix="mlflowish-async") as pool:
        return pool.submit(context.run, lambda: asyncio.run(coroutine())).result()


async def run_async(function: Callable[[], Any], options: Options, *, step: str, key: bytes | None) -> Any:
    """Await `function()`, with the step's retries, timeout and seed. Raises what its last attempt raised."""
    for attempt in range(options.retries + 1):
        try:
            with seeding(options, key):
                return await asyncio.wait_for(function(), options.timeout)
        except Exception as error:
            if attempt < options.retries:
                await asyncio.sleep(pause_s(attempt))
                continue
            if isinstance(error, TimeoutError) and options.timeout is not None:
                raise timed_out(step, options.timeout) from error
            raise
    raise AssertionError("unreachable: the last attempt returns or raises")
