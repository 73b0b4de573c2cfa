"""Steps that are coroutine functions or async generators: the same look-up and the same job, awaited."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from typing import Any

from mlflowish.steps.calls import Call
from mlflowish.steps.identity import Identity
from mlflowish.steps.job import Job
from mlflowish.steps.running import run_async
from mlflowish.steps.wrapper import Step

_marker = getattr(inspect, "markcoroutinefunction", None)


class AsyncStep(Step[..., Any]):
    """A coroutine function as a step: calling it gives a coroutine, of the value; `call` one of the `Call`."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        if _marker is not None:  # 3.12 and later: frameworks ask `inspect.iscoroutinefunction(step)`
            _marker(self)
        else:
            self._is_coroutine = getattr(asyncio.coroutines, "_is_coroutine", None)

    async def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return (await self.call(*args, **kwargs)).value

    async def call(self, /, *args: Any, **kwargs: Any) -> Call:
        """Like awaiting it, but the whole `Call`."""
        identity = self.identifier.identify(args, kwargs)
        found = self._look_up(identity)
        if found is not None:
            return self.hit_call(identity, *found)
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
                lambda: self._awaitable(args, kwargs), self.options, step=self.name, key=identity.key
            )
        return job.finish(value)

    def _awaitable(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self.fn(*args, **kwargs)

    def map(self, /, *iterables: Any, **common: Any) -> Any:
        """An awaitable of the results for each item, in order, computed concurrently."""
        return self._gathered(list(zip(*iterables, strict=True)), common)

    async def _gathered(self, rows: list[tuple[Any, ...]], common: dict[str, Any]) -> list[Any]:
        return list(await asyncio.gather(*(self(*row, **common) for row in rows)))


class AsyncGeneratorStep(AsyncStep):
    """An async generator function as a step: `async for` over a call gives the items, computed once, stored as a
    whole."""

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return self._items(args, kwargs)

    async def _items(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AsyncIterator[Any]:
        for item in (await self.call(*args, **kwargs)).value:
            yield item

    def _awaitable(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self._drained(args, kwargs)

    async def _drained(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        return [item async for item in self.fn(*args, **kwargs)]
