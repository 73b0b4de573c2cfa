"""Lets calls begin when what they need is free, in the order in which they came."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from mlflowish.executors.resources import Capacity, Resources

Start = Callable[[], None]
Amounts = dict[str, float]

_PATIENCE_S = 1.0

_held: ContextVar[frozenset[str]] = ContextVar("mlflowish_held", default=frozenset())


class Gate:
    """Thread-safe. A call that waits for much is not overtaken for ever: those behind it leave what it waits for."""

    def __init__(self, capacity: Capacity) -> None:
        self.capacity = capacity
        self._used: Amounts = {}
        self._waiting: deque[tuple[Amounts, Start]] = deque()
        self._lock = threading.Lock()

    def enter(self, wanted: Resources, start: Start) -> None:
        """Call `start` as soon as there is room: now, or in the thread that makes room. `leave` when the call is done.

        CapabilityError if there will never be room.
        """
        amounts = self.capacity.fitted(wanted)
        with self._lock:
            self._waiting.append((amounts, start))
        self._admit()

    def leave(self, wanted: Resources) -> None:
        """A call that was started is done."""
        self._give_back(self.capacity.fitted(wanted))

    @contextmanager
    def aside(self, wanted: Resources) -> Iterator[None]:
        """A block that runs in the place of a caller who only waits for it: on the caller's core, and with what the
        caller holds already. Waits for what else it needs."""
        held = _held.get()
        amounts = {
            name: amount for name, amount in self.capacity.fitted(wanted).items() if name != "cpus" and name not in held
        }
        if amounts:
            room = threading.Event()
            with self._lock:
                self._waiting.appendleft((amounts, room.set))
            self._admit()
            room.wait()
        try:
            with holding(wanted):
                yield
        finally:
            if amounts:
                self._give_back(amounts)

    @contextmanager
    def lending(self, wanted: Resources) -> Iterator[None]:
        """A block in which a call that was started only waits for others: its cores are theirs.

        At its end it waits until there is room again, but not for long: what holds the cores may wait for it in a way
        that we do not see.
        """
        amounts = {name: amount for name, amount in self.capacity.fitted(wanted).items() if name == "cpus"}
        self._give_back(amounts)
        try:
            yield
        finally:
            room = threading.Event()
            waits = amounts, room.set
            with self._lock:
                self._waiting.appendleft(waits)
            self._admit()
            if not room.wait(_PATIENCE_S):
                with self._lock:
                    if waits in self._waiting:
                        self._waiting.remove(waits)
                        for name, amount in amounts.items():
                            self._used[name] = self._used.get(name, 0) + amount

    def _give_back(self, amounts: Amounts) -> None:
        with self._lock:
            for name, amount in amounts.items():
                self._used[name] -= amount
        self._admit()

    def _admit(self) -> None:
        with self._lock:
            started = self._taken()
        for start in started:
            start()

    def _taken(self) -> list[Start]:
        """Those that may begin now; what they need is theirs."""
        started: list[Start] = []
        passed: deque[tuple[Amounts, Start]] = deque()
        kept: Amounts = {}
        while self._waiting and ("cpus" not in self._waiting[0][0] or self._free("cpus", kept) > 0):
            amounts, start = self._waiting.popleft()
            if all(amount <= self._free(name, kept) for name, amount in amounts.items()):
                for name, amount in amounts.items():
                    self._used[name] = self._used.get(name, 0) + amount
                started.append(start)
                continue
            passed.append((amounts, start))
            for name, amount in amounts.items():
                # What is scarce is kept for it; it does not keep a core from those that it cannot use yet.
                if name != "cpus" or amount > self._free(name, kept):
                    kept[name] = kept.get(name, 0) + amount
        self._waiting.extendleft(reversed(passed))
        return started

    def _free(self, name: str, kept: Amounts) -> float:
        return self.capacity.of(name) - self._used.get(name, 0) - kept.get(name, 0)


@contextmanager
def holding(wanted: Resources) -> Iterator[None]:
    """The block in which a call has what it wanted: those inside it that the caller waits for need not wait for the
    same."""
    if not (names := frozenset(wanted.amounts) - {"cpus"}):
        yield
        return
    token = _held.set(_held.get() | names)
    try:
        yield
    finally:
        _held.reset(token)
