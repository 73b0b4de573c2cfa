"""Arguments for one call alone: what the call does to them is seen by no other, as if it ran in a process of its own.

In a pipeline several calls get the same object: one that the body gave, or a result that is not stored. Large arrays
and frames are mapped from a file in memory, copy on write: all calls together cost one copy, and what is written to.
"""

from __future__ import annotations

import copy
import datetime
import mmap
import os
import pickle
import tempfile
import threading
import weakref
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import IO, Any

from mlflowish.errors import UncacheableError
from mlflowish.pipelines.given import digest_of
from mlflowish.steps.held import HeldItems
from mlflowish.steps.lending import size_bytes
from mlflowish.steps.provenance import SHARED, pass_on, producers_in
from mlflowish.steps.reference import Known, Miss, Outcome, Reference

LARGE_BYTES = 1 << 24
_ALIGN = 64
_FIXED = SHARED | {slice, Reference, datetime.datetime, datetime.date, datetime.time, datetime.timedelta}
_CODE = (type, FunctionType, BuiltinFunctionType, ModuleType)
_MAPPED = frozenset({"numpy", "pandas"})
# Arrow's data cannot be changed; ours stand for what rests elsewhere (a file, a model).
_UNCHANGEABLE = frozenset({"pyarrow", "mlflowish"})


class Apart:
    """Gives each call arguments of its own. Thread-safe; for one run, whose objects it keeps alive."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._mapped: dict[int, tuple[Any, _Mapped | None]] = {}

    def compute(self, miss: Miss) -> Outcome:
        """Compute a call with arguments of its own.

        UncacheableError if it has changed one that cannot be copied: others may have seen it.
        """
        copies = _Copies(self, miss)
        outcome = miss.compute(copies.of_all)
        for value, then in copies.shared:
            if digest_of(value) != then:
                raise UncacheableError(
                    f"{miss.step.name} changes one of its arguments, or another call did meanwhile: "
                    f"{type(value).__qualname__} cannot be copied for each call of the pipeline, so that others may "
                    "have seen it. Let the step make something new and return it.",
                    step=miss.step.name,
                    path=type(value).__qualname__,
                )
        return outcome

    def mapped(self, value: Any) -> _Mapped | None:
        """The file that a large value is mapped from; None if it is no memory that could be."""
        with self._lock:
            known = self._mapped.get(id(value))
            if known is None:
                known = self._mapped[id(value)] = value, _Mapped.of(value)
            return known[1]


class _Copies:
    """The copies for one call: what is one object stays one."""

    def __init__(self, apart: Apart, miss: Miss) -> None:
        self._apart = apart
        self._names = miss.step.identifier.binding.names
        self._ignored = miss.step.options.ignore
        self._memo: dict[int, Any] = {}
        self.shared: list[tuple[Any, bytes | None]] = []  # what could not be copied, and its digest

    def of_all(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """A copy of each argument, with the same producers; the same tuple and dict if nothing had to be copied."""
        values = (*args, *kwargs.values())
        if _FIXED.issuperset(map(type, values)):
            return args, kwargs
        names = (*self._names[: len(args)], *[""] * (len(args) - len(self._names)), *kwargs)
        # What is ignored counts for no result: a logger or a connection stays the one that it is.
        made = [value if name in self._ignored else self.of(value) for name, value in zip(names, values, strict=True)]
        for value, copied in zip(values, made, strict=True):
            if copied is not value and (producers := producers_in(value)):
                pass_on(copied, producers)
        return tuple(made[: len(args)]), dict(zip(kwargs, made[len(args) :], strict=True))

    def of(self, value: Any) -> Any:
        """A copy; the value itself if nothing can change it."""
        kind = type(value)
        if kind in _FIXED or isinstance(value, _CODE):
            return value
        if id(value) in self._memo:
            return self._memo[id(value)]
        if kind is tuple:
            return self._keep(value, value if _FIXED.issuperset(map(type, value)) else tuple(map(self.of, value)))
        if kind is list:
            if _FIXED.issuperset(map(type, value)):
                return self._keep(value, value.copy())
            members: list[Any] = self._keep(value, [])
            members.extend(map(self.of, value))
            return members
        if kind is dict:
            named: dict[Any, Any] = self._keep(value, {})
            named.update((name, self.of(member)) for name, member in value.items())
            return named
        if kind is Known:
            return Known(self.of(value.value), value.key)
        return self._of_object(value)

    def _keep(self, value: Any, made: Any) -> Any:
        self._memo[id(value)] = made
        return made

    def _of_object(self, value: Any) -> Any:
        package = type(value).__module__.partition(".")[0]
        if package in _UNCHANGEABLE and type(value) is not HeldItems:
            return value
        if package in _MAPPED and size_bytes(value) >= LARGE_BYTES and (mapped := self._apart.mapped(value)):
            return self._keep(value, mapped.view())
        try:
            made = copy.deepcopy(value, self._memo)
        except Exception:  # noqa: BLE001  whatever the user's types do: then it is shared, and watched
            made = value
        if made is value:
            self.shared.append((value, digest_of(value)))
        return self._keep(value, made)


class _Mapped:
    """A large value as a pickle, with its memory in a file that each view maps privately."""

    def __init__(self, pickled: bytes, file: int, places: list[tuple[int, int]]) -> None:
        self._pickled, self._file, self._places = pickled, file, places
        weakref.finalize(self, os.close, file)

    @classmethod
    def of(cls, value: Any) -> _Mapped | None:
        """The value in a file; None if it is not made of large pieces of memory."""
        buffers: list[pickle.PickleBuffer] = []
        try:
            pickled = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
            pieces = [buffer.raw() for buffer in buffers]
        except Exception:  # noqa: BLE001  an object in it cannot be pickled, or does not lie in one piece
            return None
        if sum(piece.nbytes for piece in pieces) < LARGE_BYTES:
            return None
        places, end = [], 0
        with _memory_file() as file:
            for piece in pieces:
                start = file.seek(-(-end // _ALIGN) * _ALIGN)
                file.write(piece)
                end = start + piece.nbytes
                places.append((start, end))
            file.flush()
            return cls(pickled, os.dup(file.fileno()), places)

    def view(self) -> Any:
        """The value anew; writing to it is seen by nobody else."""
        memory = memoryview(mmap.mmap(self._file, 0, access=mmap.ACCESS_COPY))
        return pickle.loads(self._pickled, buffers=[memory[start:end] for start, end in self._places])


def _memory_file() -> IO[bytes]:
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("mlflowish"), "w+b")
    return tempfile.TemporaryFile()
