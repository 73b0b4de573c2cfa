"""How long a run will still take: a guess from how long its steps took before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from mlflowish.pipelines.displays.board import Board
from mlflowish.pipelines.observing import NodeInfo

_LATEST = 30  # calls of a step that count, the latest
_CHAINS_UP_TO = 20_000  # nodes; in larger graphs only the amount of work is looked at, and not its longest chain
_OVERTIME = 0.1  # what runs longer than it should goes on for this share of the time it ran


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds still to go. `is_whole`: the duration of all that waits is known; else it takes longer than that."""

    seconds: float
    is_whole: bool

    def __str__(self) -> str:
        return f"{'about' if self.is_whole else 'over'} {rough(self.seconds)} left"


def rough(seconds: float) -> str:
    """A guessed duration: `5 s`, `3 min`, `2 h 10 min`."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if minutes < 48 * 60 else f"{minutes // 1440} days"


def estimate(board: Board, past: Mapping[str, Sequence[float]], now_s: float) -> Estimate | None:
    """What is left of a run; None when nothing is known. `past`: seconds by step, from earlier runs; what the run shows
    itself counts more.

    The larger of two bounds: all the work shared by as many workers as there are, and the longest chain of calls that
    wait for each other.
    """
    usual = _Usual(board.durations, past)
    left: dict[int, float] = {}
    unknown = 0
    for index, running in board.running.items():
        known, ran = usual.of(running.node.step), now_s - running.since_s
        unknown += known is None
        left[index] = ran * _OVERTIME if known is None else max(known - ran, ran * _OVERTIME)
    waiting = board.waiting()
    for node in waiting:
        known = usual.of(node.step) if not _may_be_many(node) else None
        unknown += known is None
        left[node.index] = known or 0.0
    if not left or unknown == len(left):
        return None
    seconds = sum(left.values()) / board.width
    if len(left) <= _CHAINS_UP_TO:
        seconds = max(seconds, _longest(left, waiting))
    return Estimate(seconds, unknown == 0)


def _may_be_many(node: NodeInfo) -> bool:
    """A `map` whose items are not known yet: they may be any number."""
    return node.label.endswith(".map")


def _longest(left: Mapping[int, float], waiting: Sequence[NodeInfo]) -> float:
    """Seconds of the longest chain. A node is numbered after those that it needs, but for items of maps."""
    ends = dict(left)
    for node in sorted(waiting, key=lambda node: node.index):
        ends[node.index] = left[node.index] + max((ends.get(need, 0.0) for need in node.needs), default=0.0)
    return max(ends.values(), default=0.0)


class _Usual:
    """How long a call of a step usually takes: the median of the latest ones."""

    def __init__(self, now: Mapping[str, Sequence[float]], past: Mapping[str, Sequence[float]]) -> None:
        self._now, self._past = now, past
        self._known: dict[str, float | None] = {}

    def of(self, step: str) -> float | None:
        """Seconds, None if it was never seen."""
        if step not in self._known:
            latest = self._now.get(step) or self._past.get(step) or ()
            self._known[step] = median(latest[-_LATEST:]) if latest else None
        return self._known[step]
