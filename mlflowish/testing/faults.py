"""A storage that fails on purpose: where a plan says so, in the ways in which real ones fail.

Run an operation once with `NoFaults` and look at `calls`; then run it again for each of their numbers and each fault,
and look whether what must hold still holds:

>>> from mlflowish.storage import MemoryStorage
>>> storage = FaultyStorage(MemoryStorage("doc-faults"))
>>> storage.put_if_absent("a", b"1"), storage.get("a")
(True, b'1')
>>> [str(call) for call in storage.calls]
['1 put_if_absent a', '2 get a']
>>> FaultyStorage(MemoryStorage("doc-faults"), At(1, Fault.FAIL_AFTER)).put_if_absent("b", b"2")
Traceback (most recent call last):
    ...
mlflowish.errors.StorageError: Planned fault fail_after at call 1 put_if_absent b
"""

from __future__ import annotations

import contextvars
import enum
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from mlflowish.errors import StorageError
from mlflowish.storage.base import Appender, Buffer, Capabilities, ObjectInfo, Staging, Storage

T = TypeVar("T")


class Fault(enum.Enum):
    """What goes wrong at a call."""

    FAIL_BEFORE = "fail_before"  # nothing was done
    FAIL_AFTER = "fail_after"  # it was done, and the answer is lost
    LATE = "late"  # the answer is lost, and a put or deletion is done some calls later, as in buckets: `late_by`
    TORN = "torn"  # half of it was written, under a temporary name (an appended file keeps the half), and it failed
    TWICE = "twice"  # delivered twice; the first answer arrives
    DELAY = "delay"
    STALE_LIST = "stale_list"  # what the same listing said before; nothing the first time
    FULL = "full"  # no space for whatever writes
    KILL_BEFORE = "kill_before"  # SIGKILL to this process
    KILL_AFTER = "kill_after"


@dataclass(frozen=True, slots=True)
class Call:
    """The `number`-th call (from 1) of any operation of one `FaultyStorage`."""

    number: int
    operation: str
    path: str

    def __str__(self) -> str:
        return f"{self.number} {self.operation} {self.path}".rstrip()


class Plan(Protocol):
    """Says what happens at a call."""

    def __call__(self, call: Call) -> Fault | None: ...


@dataclass(frozen=True, slots=True)
class NoFaults:
    """Only counts."""

    def __call__(self, call: Call) -> Fault | None:
        return None


@dataclass(frozen=True, slots=True)
class At:
    """One fault at one call."""

    number: int
    fault: Fault

    def __call__(self, call: Call) -> Fault | None:
        return self.fault if call.number == self.number else None


@dataclass(frozen=True, slots=True)
class On:
    """One fault at each call of an operation whose path begins with `below`."""

    operation: str
    fault: Fault
    below: str = ""

    def __call__(self, call: Call) -> Fault | None:
        return self.fault if call.operation == self.operation and call.path.startswith(self.below) else None


@dataclass(frozen=True, slots=True)
class Seeded:
    """Faults at a `rate` of all calls, the same for the same seed and order of calls."""

    seed: int
    rate: float
    faults: tuple[Fault, ...]

    def __call__(self, call: Call) -> Fault | None:
        chance = random.Random(f"{self.seed}/{call.number}")
        return chance.choice(self.faults) if chance.random() < self.rate else None


class Meanwhile:
    """No fault: before each of some calls, what others do in the meantime, whole and in a context of its own. For all
    interleavings of two operations, of which the one is done while the other is stopped:

    >>> from mlflowish.storage import MemoryStorage
    >>> inner = MemoryStorage("doc-meanwhile")
    >>> storage = FaultyStorage(inner, Meanwhile({2}, lambda: inner.put("a", b"theirs")))
    >>> storage.put("a", b"ours"), storage.get("a")
    (None, b'theirs')
    """

    def __init__(self, numbers: Collection[int], act: Callable[[], object]) -> None:
        self.met: list[Call] = []
        self._left, self._act = set(numbers), act
        self._is_over = False
        self._lock = threading.RLock()

    def __call__(self, call: Call) -> Fault | None:
        with self._lock:
            if call.number in self._left and not self._is_over:
                self._left.remove(call.number)
                self.met.append(call)
                contextvars.Context().run(self._act)
        return None

    def end(self) -> None:
        """From now on nothing happens: a thread that the operation has left behind may still call the storage."""
        with self._lock:
            self._is_over = True


_WRITES = frozenset({"put_if_absent", "put", "stage.write", "stage.commit", "open_append", "append.write"})
_SENT = frozenset({"put_if_absent", "put", "delete"})  # what can be on its way when the caller has given it up
_REPEATABLE = frozenset({"get", "size", "put_if_absent", "put", "delete", "append.write", "append.sync"})


class FaultyStorage:
    """Any storage, with the faults of a plan at its calls, those of its stagings and appenders included.

    `calls` lists all of them, in order. What goes past the storage (`local_path` and then the file itself) is not seen.
    """

    def __init__(self, inner: Storage, plan: Plan | None = None, *, delay_s: float = 0.02, late_by: int = 3) -> None:
        """`delay_s`: how long a `DELAY` is. `late_by`: what is `LATE` is done before the so manieth call after it."""
        self.inner = inner
        self.plan: Plan = plan or NoFaults()
        self.delay_s, self.late_by = delay_s, late_by
        self.calls: list[Call] = []
        self._lock = threading.Lock()
        self._listed: dict[str, list[ObjectInfo]] = {}
        self._litter: list[Staging] = []
        self._late: list[tuple[int, Callable[[], object]]] = []  # number of the call before which it is done

    def __repr__(self) -> str:
        return f"FaultyStorage({self.inner!r}, {self.plan!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _made, (self.inner, self.plan, self.delay_s, self.late_by)

    @property
    def url(self) -> str:
        return self.inner.url

    @property
    def capabilities(self) -> Capabilities:
        return self.inner.capabilities

    def get(self, path: str, start: int = 0, end: int | None = None) -> bytes:
        return self._do("get", path, lambda: self.inner.get(path, start, end))

    def size(self, path: str) -> int:
        return self._do("size", path, lambda: self.inner.size(path))

    def put_if_absent(self, path: str, data: Buffer) -> bool:
        return self._do("put_if_absent", path, lambda: self.inner.put_if_absent(path, data), lambda: self._tear(data))

    def put(self, path: str, data: Buffer) -> None:
        self._do("put", path, lambda: self.inner.put(path, data), lambda: self._tear(data))

    def stage(self) -> Staging:
        return _FaultyStaging(self, self._do("stage", "", self.inner.stage))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        before = self._listed.get(prefix, [])
        now = self._do("list", prefix, lambda: [*self.inner.list(prefix)])
        stale = self.plan(self.calls[-1]) is Fault.STALE_LIST
        self._listed[prefix] = now
        return iter(before if stale else now)

    def delete(self, path: str) -> None:
        self._do("delete", path, lambda: self.inner.delete(path))

    def local_path(self, path: str) -> str | None:
        return self.inner.local_path(path)

    def open_append(self, path: str) -> Appender:
        return _FaultyAppender(self, self._do("open_append", path, lambda: self.inner.open_append(path)))

    def is_claimed(self, path: str) -> bool:
        return self._do("is_claimed", path, lambda: self.inner.is_claimed(path))

    def _do(self, operation: str, path: str, act: Callable[[], T], tear: Callable[[], None] | None = None) -> T:
        with self._lock:
            call = Call(len(self.calls) + 1, operation, path)
            self.calls.append(call)
        self._arrive(call.number)
        fault = self.plan(call)
        if fault is Fault.KILL_BEFORE:
            os.kill(os.getpid(), signal.SIGKILL)
        if fault is Fault.DELAY:
            time.sleep(self.delay_s)
        if fault is Fault.LATE and operation in _SENT:
            with self._lock:
                self._late.append((call.number + self.late_by, act))
        if fault in (Fault.FAIL_BEFORE, Fault.LATE) or (fault is Fault.FULL and operation in _WRITES):
            raise _planned(fault, call)
        if fault is Fault.TORN and tear is not None:
            tear()
            raise _planned(fault, call)
        result = act()
        if fault is Fault.TWICE and operation in _REPEATABLE:
            act()
        if fault is Fault.KILL_AFTER:
            os.kill(os.getpid(), signal.SIGKILL)
        if fault is Fault.FAIL_AFTER:
            raise _planned(fault, call)
        return result

    def arrive(self) -> None:
        """Do now what is late."""
        self._arrive(None)

    def _arrive(self, number: int | None) -> None:
        with self._lock:
            due = [act for when, act in self._late if number is None or when <= number]
            self._late = [one for one in self._late if number is not None and one[0] > number]
        for act in due:
            try:
                act()
            except StorageError:  # nobody waits for the answer any more
                pass

    def _tear(self, data: Buffer) -> None:
        staging = self.inner.stage()
        staging.write(_half(data))
        self._litter.append(staging)  # held, so that nobody tidies it up


class _FaultyStaging:
    def __init__(self, outer: FaultyStorage, inner: Staging) -> None:
        self._outer, self._inner = outer, inner

    def write(self, data: Buffer) -> None:
        self._outer._do("stage.write", "", lambda: self._inner.write(data), lambda: self._inner.write(_half(data)))

    def commit(self, path: str, *, subsecond_ns: int | None = None, is_synced: bool = True) -> bool:
        return self._outer._do(
            "stage.commit",
            path,
            lambda: self._inner.commit(path, subsecond_ns=subsecond_ns, is_synced=is_synced),
            lambda: self._outer._litter.append(self._inner),
        )

    def discard(self) -> None:
        self._outer._do("stage.discard", "", self._inner.discard)


class _FaultyAppender:
    def __init__(self, outer: FaultyStorage, inner: Appender) -> None:
        self._outer, self._inner = outer, inner
        self.path = inner.path

    def write(self, data: bytes) -> int:
        def tear() -> None:
            self._inner.write(bytes(_half(data)))

        return self._outer._do("append.write", self.path, lambda: self._inner.write(data), tear)

    def add(self, data: bytes) -> None:
        self.write(data)

    def sync(self) -> None:
        self._outer._do("append.sync", self.path, self._inner.sync)

    def close(self) -> None:
        self._outer._do("append.close", self.path, self._inner.close)


def _made(inner: Storage, plan: Plan, delay_s: float, late_by: int) -> FaultyStorage:
    return FaultyStorage(inner, plan, delay_s=delay_s, late_by=late_by)


def _half(data: Buffer) -> memoryview:
    whole = memoryview(bytes(data))
    return whole[: len(whole) // 2]


def _planned(fault: Fault, call: Call) -> StorageError:
    return StorageError(f"Planned fault {fault.value} at call {call}", path=call.path, fault=fault.value)
