"""What is known of a run of a pipeline while it goes: states, counts, what runs since when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlflowish.pipelines.observing import CACHED, DONE, FAILED, RUNNING, SKIPPED, WAITING, Change, NodeInfo


@dataclass(frozen=True, slots=True)
class Running:
    """A call that is computed now; `since_s` on the monotonic clock."""

    node: NodeInfo
    since_s: float


class Board:
    """One run. `counts`: nodes by state; a `map` counts by its items as soon as they are known. `durations`: seconds
    that calls took, by step, when they were computed in this run or before. `failures`: a line each. Not thread-safe.

    More calls may be with the executor than it has workers, so that none of these has to wait: the first of them run,
    as many as there are `workers`, and the others count as waiting.
    """

    def __init__(self, pipeline: str, started_s: float, workers: int | None = None) -> None:
        self.pipeline = pipeline.rpartition(".")[2]
        self.workers = workers
        self.started_s = started_s
        self.nodes: dict[int, NodeInfo] = {}
        self.states: dict[int, str] = {}
        self.counts: dict[str, int] = dict.fromkeys((CACHED, DONE, RUNNING, WAITING, FAILED, SKIPPED), 0)
        self.running: dict[int, Running] = {}
        self.failures: list[str] = []
        self.durations: dict[str, list[float]] = {}
        self._queued: dict[int, NodeInfo] = {}
        self._maps: set[int] = set()

    @property
    def total(self) -> int:
        """How many calls there are, as far as known."""
        return sum(self.counts.values())

    @property
    def ended(self) -> int:
        """How many of them are over, however."""
        return self.total - self.counts[WAITING] - self.counts[RUNNING]

    def apply(self, changes: Sequence[tuple[Change, float]]) -> None:
        """Take in changes, each with the time on the monotonic clock."""
        for change, at_s in changes:
            self._apply(change, at_s)

    @property
    def width(self) -> int:
        """How many calls go on at once."""
        return self.workers or len(self.running) or 1

    def waiting(self) -> list[NodeInfo]:
        """What has not begun."""
        return [self.nodes[index] for index, state in self.states.items() if state == WAITING]

    def add(self, node: NodeInfo) -> None:
        """One more node is known; it waits. The items of a map come after it."""
        if node.inside is not None:
            self._opened(node.inside)
        self.nodes[node.index] = node
        self.states[node.index] = WAITING
        self.counts[WAITING] += 1

    def start_over(self) -> None:
        """Nothing has begun; what is known of durations stays."""
        self.nodes, self.states, self.running, self._queued, self._maps = {}, {}, {}, {}, set()
        self.counts = dict.fromkeys(self.counts, 0)

    def _apply(self, change: Change, at_s: float) -> None:
        node, state = change.node, change.state
        if node.index in self._maps:
            return
        if state == RUNNING:
            self._queued[node.index] = node
            self._begin(at_s)
            return
        self._set(node.index, state)
        self._queued.pop(node.index, None)
        if self.running.pop(node.index, None) is not None:
            self._begin(at_s)
        if state in (CACHED, DONE) and change.duration_s is not None:
            self.durations.setdefault(node.step, []).append(change.duration_s)

    def _set(self, index: int, state: str) -> None:
        self.counts[self.states[index]] -= 1
        self.counts[state] = self.counts.get(state, 0) + 1
        self.states[index] = state

    def _begin(self, at_s: float) -> None:
        """What stands first in the queue runs, if a worker is free."""
        while self._queued and (self.workers is None or len(self.running) < self.workers):
            index = next(iter(self._queued))
            self.running[index] = Running(self._queued.pop(index), at_s)
            self._set(index, RUNNING)

    def _opened(self, index: int) -> None:
        """The items of a map are known: they count, not the map."""
        if index in self._maps or index not in self.nodes:
            return
        self._maps.add(index)
        self.counts[self.states[index]] -= 1
        self.states[index] = ""
        self._queued.pop(index, None)
        self.running.pop(index, None)
