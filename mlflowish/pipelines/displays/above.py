"""A picture at the bottom of a terminal that is drawn over and over, with what the program prints above it.

The streams stay where they are, only their `write` is wrapped: whoever holds one, a logging handler say, prints above
the picture too, and whoever copies what is printed hears it, but not the picture.
"""

from __future__ import annotations

import os
import threading
from typing import Any

_PENDING = 4096  # characters of a line that does not end


class Picture:
    """Lines at the bottom of a terminal. `stream`: where they are drawn; `others`: streams to the same terminal."""

    def __init__(self, stream: Any, others: tuple[Any, ...]) -> None:
        self._stream = stream
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._lines: list[str] = []
        self._wrapped: list[_Above] = []
        self._is_on = True
        for each in dict.fromkeys((stream, *others)):
            self._wrapped.append(_Above(self, each))

    def draw(self, lines: list[str]) -> None:
        """Show these lines in the place of the former; none may be wider than the terminal."""
        with self._lock:
            up = f"\r\x1b[{len(self._lines)}A" if self._lines else "\r"
            self._write(up + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J")
            self._lines = lines

    def take_away(self) -> None:
        """Leave the terminal as it was, but for what was printed."""
        with self._lock:
            self._is_on = False
            self._erase()
            for each in self._wrapped:
                each.let_go()

    @property
    def is_here(self) -> bool:
        """Is it drawn, and by this process? A forked child only prints."""
        return self._is_on and os.getpid() == self._pid

    def above(self, wrapped: _Above, text: str) -> int:
        """Print whole lines above the picture, and keep what is not whole for later."""
        with self._lock:
            if not self.is_here:
                return wrapped.pass_on(text)
            whole, newline, rest = (wrapped.pending + text).rpartition("\n")
            wrapped.pending = rest
            if newline or len(rest) > _PENDING:
                if not newline:
                    whole, newline, wrapped.pending = rest, "\n", ""
                lines = self._lines
                self._erase()
                wrapped.pass_on(whole + newline)
                wrapped.stream.flush()
                self.draw(lines)
            return len(text)

    def _erase(self) -> None:
        if self._lines:
            self._write(f"\r\x1b[{len(self._lines)}A\x1b[J")
        self._lines = []

    def _write(self, text: str) -> None:
        """As the stream's own class does it, past whoever has wrapped it."""
        write = getattr(type(self._stream), "write", None)
        if write is None:
            self._stream.write(text)
        else:
            write(self._stream, text)
        self._stream.flush()


class _Above:
    """Stands for the `write` of a stream."""

    def __init__(self, picture: Picture, stream: Any) -> None:
        self._picture, self.stream = picture, stream
        self.pending = ""
        self._under = getattr(stream, "__dict__", {}).get("write")
        self._write = stream.write
        try:
            stream.write = self
        except (AttributeError, TypeError):  # cannot be wrapped: what is printed there stands in the picture, for once
            pass

    def __call__(self, text: str) -> int:
        if not self._picture.is_here:
            return self.pass_on(text)
        return self._picture.above(self, text)

    def pass_on(self, text: str) -> int:
        """To the stream, as if we were not there."""
        return int(self._write(text) or 0)

    def let_go(self) -> None:
        """Print what is left, and give the stream back, unless somebody has wrapped it after us."""
        if self.pending:
            self.pass_on(self.pending)
            self.pending = ""
        if getattr(self.stream, "__dict__", {}).get("write") is self:
            if self._under is None:
                del self.stream.write
            else:
                self.stream.write = self._under
