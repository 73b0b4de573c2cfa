"""What is built once in each worker, and used by every call there: a model, a connection, a tokenizer."""

from __future__ import annotations

import functools
import os
import threading
import uuid
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class PerWorker(Generic[P, T]):
    """A function whose result is kept in each process, for each combination of arguments. See `per_worker`.

    Thread-safe: built once, while the other threads wait. A forked child builds its own. It travels to other processes
    without what it holds. In the fingerprint of a step it counts as its function.
    """

    def __init__(self, function: Callable[P, T]) -> None:
        functools.update_wrapper(self, function)
        self.fn = function
        self._id = uuid.uuid4().hex
        self._clear()

    def _clear(self) -> None:
        self._built: dict[Any, T] = {}
        self._locks: dict[Any, threading.Lock] = {}
        self._lock = threading.Lock()
        self._pid = os.getpid()

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> T:
        if self._pid != os.getpid():
            self._clear()
        key = (args, tuple(sorted(kwargs.items())), tuple(map(type, args)))
        try:
            return self._built[key]
        except KeyError:
            pass
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if key not in self._built:
                self._built[key] = self.fn(*args, **kwargs)
            return self._built[key]

    def clear(self) -> None:
        """Forget what is built in this process: the next call builds anew."""
        self._clear()

    def __reduce__(self) -> Any:
        module, qualname = self.fn.__module__, self.fn.__qualname__
        if module != "__main__" and _by_name(module, qualname) is self:
            return _by_name, (module, qualname)
        return _arrived, (self._id, self.fn)

    def __repr__(self) -> str:
        return f"<per_worker {self.fn.__qualname__}>"


def per_worker(function: Callable[P, T]) -> PerWorker[P, T]:
    """Decorate what is slow to set up: it is called once in each process, and its result is used by all calls there.

    For each combination of arguments, which must be hashable. A step that uses it depends on its code, and not on what
    it returns: whatever decides the results, such as the version of a model, belongs into the arguments of the step.

    >>> import mlflowish as mf
    >>> @mf.per_worker
    ... def table(version):
    ...     print("set up")
    ...     return {"a": version, "b": 2 * version}
    >>> @mf.step
    ... def look_up(word, version):
    ...     return table(version)[word]
    >>> with mf.executor("serial"):
    ...     look_up.map(["a", "b"], version=3)
    set up
    [3, 6]
    """
    return PerWorker(function)


_here: dict[tuple[str, str], PerWorker[Any, Any]] = {}


def _arrived(token: str, function: Callable[..., Any]) -> PerWorker[Any, Any]:
    """The one of this process, however often it is unpickled here; a new definition of the name takes its place."""
    name = (function.__module__, function.__qualname__)
    found = _here.get(name)
    if found is None or found._id != token:
        found = PerWorker(function)
        found._id = token
        _here[name] = found
    return found


def _by_name(module: str, qualname: str) -> Any:
    import importlib

    found: Any = importlib.import_module(module)
    for name in qualname.split("."):
        found = getattr(found, name, None)
    return found
