"""Running a step's function: again after a failure, no longer than allowed, seeded when asked."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from mlflowish.errors import StepTimeoutError
from mlflowish.steps.options import Options
from mlflowish.steps.seeding import seeded

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 5.0


def run(function: Callable[[], Any], options: Options, *, step: str, key: bytes | None) -> Any:
    """`function()`, with the step's retries, timeout and seed. Raises what its last attempt raised."""
    for attempt in range(options.retries + 1):
        try:
            with seeding(options, key):
                return function() if options.timeout is None else _bounded(function, options.timeout, step)
        except Exception:
            if attempt == options.retries:
                raise
            time.sleep(pause_s(attempt))
    raise AssertionError("unreachable: the last attempt returns or raises")


def seeding(options: Options, key: bytes | None) -> AbstractContextManager[None]:
    """A block with seeded generators, if the step asks for them."""
    return seeded(key) if options.seed and key is not None else nullcontext()


def pause_s(attempt: int) -> float:
    """How long to wait after a failed attempt: twice as long each time, within bounds."""
    return float(min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**attempt))


def timed_out(step: str, timeout_s: float) -> StepTimeoutError:
    """The error for a step whose time is up."""
    return StepTimeoutError(
        f"{step} ran longer than its timeout of {timeout_s:g} s and was given up. "
        "Raise @step(timeout=...), or make it faster.",
        step=step,
        timeout_s=timeout_s,
    )


def _bounded(function: Callable[[], Any], timeout_s: float, step: str) -> Any:
    """Run it on a thread of its own; when time is up, interrupt that thread at its next bytecode and leave it."""
    outcome: list[tuple[bool, Any]] = []
    context = contextvars.copy_context()

    def work() -> None:
        try:
            outcome.append((True, context.run(function)))
        except BaseException as error:  # noqa: BLE001  see below
            # Whatever it is belongs to the caller's thread, which raises it below.
            outcome.append((False, error))

    thread = threading.Thread(target=work, name=f"mlflowish-{step}", daemon=True)
    thread.start()
    thread.join(min(timeout_s, threading.TIMEOUT_MAX))
    if not outcome:
        interrupt(thread.ident)
        raise timed_out(step, timeout_s)
    succeeded, result = outcome[0]
    if succeeded:
        return result
    raise result


class _GiveUp(BaseException):
    """Ends a step whose time is up: not an Exception, so that the step's own handlers let it pass."""


def interrupt(thread_id: int | None) -> None:
    """Let a thread give up at its next bytecode."""
    import ctypes

    if thread_id is not None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread_id), ctypes.py_object(_GiveUp))
