"""Which executor `submit` and `map` use: of the `with` block, else the last one set, else threads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import Any

from mlflowish.errors import InvalidInputError, nearest
from mlflowish.executors.base import Executor, OnMismatch
from mlflowish.executors.choosing import chosen_executor
from mlflowish.executors.threads import ThreadExecutor

_block: ContextVar[Executor | None] = ContextVar("mlflowish_executor", default=None)
_default: Executor | None = None


class ExecutorHandle:
    """What `executor(...)` returns: in effect at once; as a `with` block, until its end, where submitted calls are
    finished first; when an exception ends it, those that have not begun are cancelled, and Ctrl-C ends those that
    run in processes of ours."""

    def __init__(self, executor: Executor, before: Executor | None) -> None:
        self.executor = executor
        self._before = before
        self._token: Token[Executor | None] | None = None

    def __enter__(self) -> Executor:
        global _default
        _default = self._before
        self._token = _block.set(self.executor)
        return self.executor

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._token is not None:
            _block.reset(self._token)
        # An ordinary failure lets the others finish: what they compute is kept, and the next run has it.
        self.executor.shutdown(cancel=kind is not None and not issubclass(kind, Exception))

    def __repr__(self) -> str:
        return f"executor({type(self.executor).__name__})"


def executor(
    kind: Any = "threads",
    *,
    workers: int | None = None,
    memory: Any = None,
    gpus: int | None = None,
    limits: Mapping[str, int] | None = None,
    on_mismatch: OnMismatch = "raise",
) -> ExecutorHandle:
    """Choose where submitted calls run, for good or in a `with` block.

    `kind`: "threads", "serial", "processes"; any `concurrent.futures.Executor`; a Dask `Client`, or the address of its
    scheduler ("tcp://host:8786"); "ray"; or an object with our `submit`. What you give is used as it is, and stays
    yours to close. `workers`: how many at a time. `memory` ("8 GB"), `gpus` and `limits` ({"database": 2}) say how much
    calls that ask for some may have together; what is not given is what this machine has, and 1 of each limit.

    `on_mismatch`: a worker with another Python, other packages or other code than here is refused ("raise"), or used
    with a WorkerWarning ("warn").

    InvalidInputError for a kind that is not known, MissingExtraError for one that needs an extra, StateError for a
    cluster that cannot be reached.

    >>> import mlflowish as mf
    >>> with mf.executor("threads", workers=2):
    ...     [future.result() for future in (mf.step(abs).submit(n) for n in (-1, 2))]
    [1, 2]
    """
    global _default
    if workers is not None and (not isinstance(workers, int) or isinstance(workers, bool) or workers < 1):
        raise InvalidInputError(f"workers is a positive number of workers, found {workers!r}", found=workers)
    if on_mismatch not in ("raise", "warn"):
        known = nearest(str(on_mismatch), ("raise", "warn"))
        raise InvalidInputError(f"on_mismatch is one of {known}, found {on_mismatch!r}", found=on_mismatch)
    chosen = chosen_executor(kind, workers=workers, memory=memory, gpus=gpus, limits=limits, on_mismatch=on_mismatch)
    handle = ExecutorHandle(chosen, _default)
    _default = chosen
    return handle


def active_executor() -> Executor:
    """The executor that `submit` uses now."""
    global _default
    if (found := _block.get() or _default) is None:
        found = _default = ThreadExecutor()
    return found


@contextmanager
def executor_block(executor: Executor) -> Iterator[None]:
    """A block in which this is the active executor; it stays open."""
    token = _block.set(executor)
    try:
        yield
    finally:
        _block.reset(token)
