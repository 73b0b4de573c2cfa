"""Which executor `submit` and `map` use: of the `with` block, else the last one set, else threads."""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import Any

from mlflowish.errors import CapabilityError, InvalidInputError, nearest
from mlflowish.executors.base import Executor
from mlflowish.executors.serial import SerialExecutor
from mlflowish.executors.threads import ThreadExecutor

_KNOWN = ("serial", "threads")
_block: ContextVar[Executor | None] = ContextVar("mlflowish_executor", default=None)
_default: Executor | None = None


class ExecutorHandle:
    """What `executor(...)` returns: in effect at once; as a `with` block, until its end, where submitted calls are
    finished first."""

    def __init__(self, executor: Executor, before: Executor | None) -> None:
        self.executor = executor
        self._before = before
        self._token: Token[Executor | None] | None = None

    def __enter__(self) -> Executor:
        global _default
        _default = self._before
        self._token = _block.set(self.executor)
        return self.executor

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            _block.reset(self._token)
        self.executor.shutdown()

    def __repr__(self) -> str:
        return f"executor({type(self.executor).__name__})"


def executor(kind: str | Executor = "threads", *, workers: int | None = None) -> ExecutorHandle:
    """Choose where submitted calls run: "threads" or "serial", or an object with our `submit`; for good, or in a
    `with` block.

    `workers`: how many at a time. InvalidInputError for a name that is not known, CapabilityError for a kind that
    this version cannot use.

    >>> import mlflowish as mf
    >>> with mf.executor("threads", workers=2):
    ...     [future.result() for future in (mf.step(abs).submit(n) for n in (-1, 2))]
    [1, 2]
    """
    global _default
    chosen = _make(kind, workers)
    handle = ExecutorHandle(chosen, _default)
    _default = chosen
    return handle


def active_executor() -> Executor:
    """The executor that `submit` uses now."""
    global _default
    if (found := _block.get() or _default) is None:
        found = _default = ThreadExecutor()
    return found


def _make(kind: Any, workers: int | None) -> Executor:
    if workers is not None and (not isinstance(workers, int) or isinstance(workers, bool) or workers < 1):
        raise InvalidInputError(f"workers is a positive number of workers, found {workers!r}", found=workers)
    if kind == "threads":
        return ThreadExecutor(workers)
    if kind == "serial":
        return SerialExecutor()
    if isinstance(kind, (SerialExecutor, ThreadExecutor)):
        return kind
    if isinstance(kind, str) and kind != "processes":
        raise InvalidInputError(
            f"There is no executor {kind!r}; there are {', '.join(nearest(kind, _KNOWN))}", found=kind, known=_KNOWN
        )
    raise CapabilityError(
        f"This version runs submitted steps on threads or serially, not on {kind!r}: use executor('threads')",
        found=repr(kind),
    )
