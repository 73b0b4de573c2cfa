"""Progress as plain lines, for logs of machines: few of them, and fewer as time goes on."""

from __future__ import annotations

import sys

from mlflowish.pipelines.displays.face import View, clock, progress_line, running_lines, summary_line

_FIRST_S, _LAST_S = 5.0, 60.0
_NAMED = 3


class Lines:
    """Writes to standard error. A line when it appears and when something fails, then after 5 s, 10 s, up to one each
    minute."""

    every_s = 0.5

    def __init__(self) -> None:
        self._next_s = 0.0
        self._pause_s = _FIRST_S
        self._told = 0

    def show(self, view: View) -> None:
        """A line, if one is due."""
        self._tell_failures(view)
        if view.now_s < self._next_s:
            return
        self._next_s = view.now_s + self._pause_s
        self._pause_s = min(self._pause_s * 2, _LAST_S)
        running = running_lines(view)
        named = ", ".join(running[:_NAMED]) + (", ..." if len(running) > _NAMED else "")
        now = f"; now {named}" if named else ""
        _write(f"{view.board.pipeline} {clock(view.elapsed_s)} {progress_line(view)}{now}")

    def end(self, view: View) -> None:
        """The last line."""
        self._tell_failures(view)
        _write(summary_line(view))

    def _tell_failures(self, view: View) -> None:
        failures = view.board.failures
        for text in failures[self._told :]:
            _write(f"{view.board.pipeline} failed: {text}")
        self._told = len(failures)


def _write(line: str) -> None:
    stream = sys.stderr
    if stream is not None:
        stream.write(f"{line}\n")
        stream.flush()
