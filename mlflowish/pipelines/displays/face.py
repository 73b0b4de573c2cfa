"""The seam between what is known of a run and where it is shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from mlflowish.pipelines.displays.board import Board
from mlflowish.pipelines.displays.estimate import Estimate, rough
from mlflowish.pipelines.endings import Ending
from mlflowish.pipelines.marks import counted


@dataclass(frozen=True, slots=True)
class View:
    """A run at one moment, to be shown. `now_s` on the monotonic clock."""

    board: Board
    now_s: float
    estimate: Estimate | None = None
    ending: Ending | None = field(default=None)

    @property
    def elapsed_s(self) -> float:
        """How long it goes on."""
        return self.now_s - self.board.started_s


class Face(Protocol):
    """Shows a run somewhere. Used by one thread, which bears with whatever it raises. `every_s`: how often it wants to
    be shown."""

    every_s: float

    def show(self, view: View) -> None:
        """Show how far it is."""

    def end(self, view: View) -> None:
        """It is over: leave one line behind. Called once after `show`."""


def clock(seconds: float) -> str:
    """A time that goes on: `0:07`, `12:40`, `1:02:03`."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def running_lines(view: View) -> list[str]:
    """What is computed now, those first that began first; several of one name together: `train ×3  0:12`."""
    named: dict[str, list[float]] = {}
    for each in sorted(view.board.running.values(), key=lambda each: each.since_s):
        named.setdefault(each.node.label, []).append(each.since_s)
    return [
        f"{label}{f' ×{len(since)}' if len(since) > 1 else ''}  {clock(view.now_s - since[0])}"
        for label, since in named.items()
    ]


def progress_line(view: View) -> str:
    """How far it is, as a line: `12 of 40: 8 cached, 3 done, 1 running, 28 waiting; about 3 min left`."""
    board = view.board
    left = f"; {view.estimate}" if view.estimate is not None else ""
    return f"{board.ended:,} of {board.total:,}: {counted(board.counts)}{left}"


def summary_line(view: View) -> str:
    """How it ended, as a line: `nightly: 3 done, 8 cached in 12 s`."""
    board, ending = view.board, view.ending
    how = "" if ending is None or ending.status == "FINISHED" else f" {ending.status.lower()}"
    counts = {state: count for state, count in board.counts.items() if state != "running"}
    return f"{board.pipeline}{how}: {counted(counts) or 'nothing to do'} in {rough(view.elapsed_s)}"
