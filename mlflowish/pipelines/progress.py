"""How far a run is: the state of every spec, and what may go on when one ends. Lists and counters, linear in the graph.

Knows nothing of stores and executors. Every node is in one state of `observing`; results are *referring values*:
references, or containers of references, or plain values.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from mlflowish.errors import StateError
from mlflowish.pipelines.nodes import Node, index_of
from mlflowish.pipelines.observing import (
    CACHED,
    DONE,
    FAILED,
    RUNNING,
    SKIPPED,
    WAITING,
    Change,
    NodeInfo,
    Observers,
)
from mlflowish.pipelines.specs import CALL, ENTER, MAP, Group, Spec
from mlflowish.pipelines.trace import Trace

_CONTAINERS = frozenset({list, tuple, dict})
_QUEUED = "queued"  # with the executor, and not begun: waiting, for all but us
_OPEN = frozenset({WAITING, _QUEUED, RUNNING})


class Progress:
    """The states of the specs of a trace while it runs, and the results so far."""

    def __init__(self, trace: Trace, observers: Observers, *, instead_of: Progress | None = None) -> None:
        self.trace = trace
        self.observers = observers
        self.specs: list[Spec] = list(trace.specs)  # the items of maps are added at its end
        count = len(self.specs)
        self.states = [WAITING] * count
        self.results: list[Any] = [None] * count
        self.durations: list[float | None] = [None] * count
        self.inside: dict[int, int] = {}  # the item of a map -> the map
        self.items: dict[int, range] = {}  # a map -> its items
        self._left = [len(spec.deps) for spec in self.specs]
        self._dependents: list[list[int]] = [[] for _ in range(count)]
        for number, spec in enumerate(self.specs):
            for dep in spec.deps:
                self._dependents[dep].append(number)
        self.ready = deque(number for number in range(count) if not self._left[number])
        self._has_gates = len(trace.groups) > 1
        self._stale = bytearray(count) if self._has_gates else bytearray()
        self._opened: set[int] = set()
        self._passed: set[int] = set()  # gates of nested pipelines that were passed over
        self._broken: set[int] = set()  # maps with an item that failed
        self._infos: dict[int, NodeInfo] = {}
        self._nodes_behind: dict[int, tuple[int, ...]] | None = None
        self._told_before: dict[tuple[int, int], int] = {}  # the items of maps that observers know: their numbers
        self._first_new = 0
        if instead_of is not None:
            self._go_on_from(instead_of)
        elif observers:
            observers.begin(trace.name, [self.info(n) for n, spec in enumerate(self.specs) if spec.kind in (CALL, MAP)])

    def _go_on_from(self, earlier: Progress) -> None:
        """The run begins once more, and for those who watch goes on: what had ended waits again."""
        self._told_before = {
            (number, item - items.start): item for number, items in earlier.items.items() for item in items
        }
        self._first_new = len(earlier.specs)
        for number, state in enumerate(earlier.states):
            if self.observers and seen_as(state) != WAITING and earlier.specs[number].kind in (CALL, MAP):
                self.observers.change(Change(earlier.info(number), WAITING))

    # -- what goes on ------------------------------------------------------------------------------

    def finish(self, number: int, result: Any, state: str = DONE, duration_s: float | None = None) -> None:
        """It has a result; what waited for it alone is ready."""
        self.results[number] = result
        self.durations[number] = duration_s
        self.enter_state(number, state)
        if number not in self._opened:
            self._release(self._dependents[number])

    def enter_state(self, number: int, state: str, error: BaseException | None = None) -> None:
        """It is in that state now."""
        self.states[number] = state
        if self.observers and self.specs[number].kind in (CALL, MAP):
            self.observers.change(Change(self.info(number), state, self.durations[number], error))

    def queue(self, number: int) -> None:
        """It is with the executor. For those who watch it waits, until it begins."""
        self.states[number] = _QUEUED

    def begin(self, number: int) -> None:
        """It runs now, if nobody has told so before. Observers are told: in the thread of the run."""
        if self.states[number] == _QUEUED:
            self.enter_state(number, RUNNING)

    def begin_quietly(self, number: int) -> None:
        """The same where nobody observes: in any thread, before the call ends."""
        if self.states[number] == _QUEUED:
            self.states[number] = RUNNING

    def _release(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self._left[number] -= 1
            if self.states[number] != WAITING and self.specs[number].kind != MAP:
                continue
            if not self._left[number]:
                self.ready.append(number)
            elif self._has_gates and self.specs[number].kind == ENTER and self._stale[number]:
                self._try_open(number)

    def fail(self, number: int, error: BaseException) -> None:
        """It failed: what needs it is skipped."""
        self.enter_state(number, FAILED, error)
        self._give_up_on(number)

    def _give_up_on(self, number: int) -> None:
        lost = [number]
        while lost:
            for dependent in self._dependents[lost.pop()]:
                if self.specs[dependent].kind == MAP and self.states[dependent] == RUNNING:
                    self._broken.add(dependent)
                    self._release((dependent,))  # the other items go on
                elif self.states[dependent] == WAITING:
                    self.enter_state(dependent, SKIPPED)
                    lost.append(dependent)

    def spawn(self, number: int, specs: list[Spec]) -> None:
        """The items of a map are known: they are ready, and it ends when they have."""
        first = len(self.specs)
        self.items[number] = range(first, first + len(specs))
        self.specs += specs
        self.states += [WAITING] * len(specs)
        self.results += [None] * len(specs)
        self.durations += [None] * len(specs)
        self._left += [0] * len(specs)
        self._left[number] = len(specs)
        self._dependents += [[number] for _ in specs]
        self.inside.update((place, number) for place in self.items[number])
        if self._has_gates:
            self._stale += bytes(len(specs))
        self.enter_state(number, RUNNING)
        self.ready.extend(self.items[number])
        if not specs:
            self.ready.append(number)

    def end_of_map(self, number: int) -> None:
        """All items of a map have ended."""
        if number in self._broken:
            self.enter_state(number, SKIPPED)
            self._give_up_on(number)
            return
        results = [self.results[item] for item in self.items[number]]
        cached = all(self.states[item] == CACHED for item in self.items[number])
        took = sum(self.durations[item] or 0.0 for item in self.items[number])
        self.finish(number, results, CACHED if cached else DONE, took)

    def has_ended(self, number: int) -> bool:
        """Will nothing more become of it?"""
        return self.states[number] not in _OPEN

    def check_complete(self) -> None:
        """StateError if anything was left behind: better no result than one with holes."""
        for spec, state in zip(self.specs, self.states, strict=True):
            if state in _OPEN:
                raise StateError(
                    f"{self.trace.name}: {spec.label} ({spec.place}) was left {state} although nothing failed. This is "
                    "a defect of mlflowish; please report it.",
                    step=spec.label,
                )

    def skip_the_rest(self) -> None:
        """Nothing more will run."""
        for number, state in enumerate(self.states):
            if state in _OPEN:
                self.enter_state(number, SKIPPED)

    # -- groups ------------------------------------------------------------------------------------

    def pass_over(self, group: Group, outputs: list[Any]) -> None:
        """A whole nested pipeline is cached: these are the results of its outputs, its other nodes are not visited."""
        for number, result in zip(group.outputs, outputs, strict=True):
            self.results[number] = result
        self._passed.add(group.gate)
        self._end_of_group(group, CACHED)

    def was_passed(self, group: Group) -> bool:
        """Was the whole nested pipeline cached?"""
        return group.gate in self._passed

    def leave_out(self, group: Group) -> None:
        """A branch was not chosen."""
        self._end_of_group(group, SKIPPED)

    def _end_of_group(self, group: Group, state: str) -> None:
        inside = range(group.first, group.last)
        for number in inside:
            self.enter_state(number, state)
        for number in inside:
            self._release(dependent for dependent in self._dependents[number] if dependent not in inside)

    def mark_stale(self, number: int) -> None:
        """It has to run: a nested pipeline that needs it, near or far, need not hold back nodes that do not."""
        if not self._has_gates:
            return
        reached = [number]
        while reached:
            for dependent in self._dependents[reached.pop()]:
                if not self._stale[dependent]:
                    self._stale[dependent] = True
                    reached.append(dependent)
                    if self.specs[dependent].kind == ENTER:
                        self._try_open(dependent)

    def _try_open(self, gate: int) -> None:
        """Let through what waits for the gate alone, once what stands around it is open itself."""
        outer = self.trace.groups[self.specs[gate].group].gate
        is_inside = outer < 0 or outer in self._opened or self.states[outer] in (DONE, CACHED)
        if is_inside and gate not in self._opened and self.states[gate] == WAITING:
            self._opened.add(gate)
            self._release(self._dependents[gate])

    def is_untouched(self, group: Group) -> bool:
        """Has nothing in a group begun, though its gate may have been open for a while?"""
        return all(self.states[number] == WAITING for number in range(group.first, group.last))

    # -- reading -----------------------------------------------------------------------------------

    def filled(self, value: Any) -> Any:
        """The value with the results so far in the place of nodes."""
        kind = type(value)
        if kind is Node:
            return self.results[index_of(value)]
        if kind not in _CONTAINERS:
            return value
        members = value.values() if kind is dict else value
        kinds = set(map(type, members))
        if Node not in kinds and _CONTAINERS.isdisjoint(kinds):
            return value
        if kind is dict:
            return {name: self.filled(member) for name, member in value.items()}
        return kind(self.filled(member) for member in value)

    def info(self, number: int) -> NodeInfo:
        """A node for observers."""
        found = self._infos.get(number)
        if found is None:
            spec = self.specs[number]
            pipeline = self.trace.pipeline_of(spec.group)
            needs = self._needs_of(spec) if self._has_gates else spec.deps
            inside = self.inside.get(number)
            index = number if inside is None or not self._first_new else self._index_of_item(number, inside)
            found = self._infos[number] = NodeInfo(
                index, spec.label, spec.step.name, spec.file, spec.line, needs, pipeline, inside
            )
        return found

    def _index_of_item(self, number: int, inside: int) -> int:
        """What observers know the item of a map by, from before the run began once more."""
        known = self._told_before.get((inside, number - self.items[inside].start))
        return known if known is not None else self._first_new + number

    def _needs_of(self, spec: Spec) -> tuple[int, ...]:
        """The nodes that it waits for: in the place of gates, which are none, those that these wait for."""
        behind = self._nodes_behind
        if behind is None:
            behind = self._nodes_behind = {}
            for number, gate in enumerate(self.trace.specs):  # what one waits for comes before it
                if gate.kind not in (CALL, MAP):
                    behind[number] = tuple(dict.fromkeys(need for dep in gate.deps for need in behind.get(dep, (dep,))))
        return tuple(dict.fromkeys(need for dep in spec.deps for need in behind.get(dep, (dep,))))

    def counts(self) -> dict[str, int]:
        """How many nodes are in which state."""
        counts: dict[str, int] = {}
        for spec, state in zip(self.specs, self.states, strict=True):
            if spec.kind == CALL:
                state = seen_as(state)
                counts[state] = counts.get(state, 0) + 1
        return counts


def seen_as(state: str) -> str:
    """A state as those see it who watch."""
    return WAITING if state == _QUEUED else state
