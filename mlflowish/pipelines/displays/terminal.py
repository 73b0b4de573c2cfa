"""Progress in a terminal, painted by rich: a bar, the counts, and what runs since when. At the end it is one line."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from mlflowish.pipelines.displays.above import Picture
from mlflowish.pipelines.displays.face import View, clock, running_lines, summary_line
from mlflowish.pipelines.marks import MARKS, mark_of

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

_SHOWN = 8  # lines of what runs, and of what failed
_BAR = 30


class Terminal:
    """Drawn on standard error. What the program prints meanwhile stands above it."""

    every_s = 0.125

    def __init__(self) -> None:
        from rich.console import Console

        self._stream = sys.stderr
        self._console = Console(file=self._stream, highlight=False, force_terminal=True, force_jupyter=False)
        self._picture: Picture | None = None

    def show(self, view: View) -> None:
        """Draw it anew."""
        if self._picture is None:
            # What goes to a file or a pipe does not disturb the picture.
            self._picture = Picture(self._stream, (sys.stdout,) if is_terminal(sys.stdout) else ())
        self._picture.draw(self._painted(drawn(view, self._console))[: self._console.height - 1])

    def end(self, view: View) -> None:
        """Take the picture away and leave a line."""
        from rich.text import Text

        if self._picture is not None:
            self._picture.take_away()
        finished = view.ending is None or view.ending.status == "FINISHED"
        line = Text.assemble(_sign("done" if finished else "failed", self._console), " ", summary_line(view))
        self._stream.write("\n".join(self._painted(line)) + "\n")
        self._stream.flush()

    def _painted(self, picture: RenderableType) -> list[str]:
        with self._console.capture() as painted:
            self._console.print(picture, soft_wrap=False)
        return painted.get().splitlines()


def drawn(view: View, console: Console) -> RenderableType:
    """The picture of one moment."""
    from rich.console import Group
    from rich.text import Text

    board = view.board
    head = Text(no_wrap=True, overflow="ellipsis")
    head.append(board.pipeline, style="bold").append(" ")
    head.append_text(_bar(board.counts, board.total, console))
    head.append(f" {board.ended:,}/{board.total:,}  {clock(view.elapsed_s)}")
    if view.estimate is not None:
        head.append(f"  {view.estimate}", style="bold")
    counts = Text("  ", no_wrap=True, overflow="ellipsis")
    for state in ("cached", "done", "running", "waiting", "failed", "skipped"):
        if board.counts.get(state):
            counts.append_text(_sign(state, console)).append(f" {board.counts[state]:,} {state}   ")
    lines = [head, counts]
    lines += [_line("failed", text, console) for text in board.failures[-_SHOWN:]]
    running = running_lines(view)
    lines += [_line("running", text, console) for text in running[:_SHOWN]]
    if len(running) > _SHOWN:
        lines.append(Text(f"    and {len(running) - _SHOWN:,} more", style="bright_black"))
    return Group(*lines)


def _line(state: str, text: str, console: Console) -> Text:
    from rich.text import Text

    return Text.assemble("  ", _sign(state, console), " ", text, no_wrap=True, overflow="ellipsis")


def _bar(counts: dict[str, int], total: int, console: Console) -> Text:
    """Parts of a line in the colours of the states."""
    from rich.text import Text

    full, empty = ("━", "╌") if _has_signs(console) else ("#", "-")
    width = min(_BAR, max(10, console.width // 4))
    bar = Text()
    used = ended = 0
    for state in ("cached", "done", "failed", "skipped", "running"):
        ended += counts.get(state, 0)
        upto = width * ended // total if total else 0
        bar.append(full * (upto - used), style=mark_of(state).colour + (" dim" if state == "cached" else ""))
        used = upto
    return bar.append(empty * (width - used), style="bright_black")


def _sign(state: str, console: Console) -> Text:
    from rich.text import Text

    mark = MARKS[state]
    return Text(mark.sign if _has_signs(console) else mark.plain, style=mark.colour)


def _has_signs(console: Console) -> bool:
    return console.encoding.lower().replace("-", "") in ("utf8", "utf16", "utf32")


def is_terminal(stream: Any) -> bool:
    """Does a person look at it?"""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):  # no stream, or a closed one
        return False
