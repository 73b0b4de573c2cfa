"""What a call prints on a worker, kept for whoever submitted it: the streams listen in the contexts that ask for it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

MOST_CHARACTERS = 1 << 20
_LONGEST_LINE = 4096

Sink = Callable[[str, str], None]
_sink: ContextVar[Sink | None] = ContextVar("mlflowish_printed", default=None)


@contextmanager
def printed_to(sink: Sink) -> Iterator[None]:
    """In the block, `sink(stream name, text)` gets what this context writes to standard output and error."""
    for name in ("stdout", "stderr"):
        if not isinstance(getattr(sys, name), _Listening):
            setattr(sys, name, _Listening(getattr(sys, name), name))
    token = _sink.set(sink)
    try:
        yield
    finally:
        _sink.reset(token)


class Kept:
    """A sink that keeps up to a million characters, and says so when there were more."""

    def __init__(self) -> None:
        self.pieces: list[tuple[str, str]] = []
        self._room = MOST_CHARACTERS

    def __call__(self, stream: str, text: str) -> None:
        if self._room <= 0:
            return
        self._room -= len(text)
        if self._room <= 0:
            text = "\n[more than a million characters were printed: the rest is not kept]\n"
        if self.pieces and self.pieces[-1][0] == stream:
            text = self.pieces.pop()[1] + text
        self.pieces.append((stream, text))


class Lines:
    """A sink that hands on whole lines, so that those of several workers do not mix."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._begun = {"stdout": "", "stderr": ""}

    def __call__(self, stream: str, text: str) -> None:
        whole = self._begun[stream] + text
        end = whole.rfind("\n") + 1 if len(whole) < _LONGEST_LINE else len(whole)
        self._begun[stream] = whole[end:]
        if end:
            self._sink(stream, whole[:end])

    def end(self) -> None:
        """Hand on what is left."""
        for stream, text in self._begun.items():
            if text:
                self._begun[stream] = ""
                self._sink(stream, text)


def print_here(pieces: tuple[tuple[str, str], ...]) -> None:
    """Print what was printed on a worker."""
    for name, text in pieces:
        stream = getattr(sys, name, None)
        if stream is not None:
            stream.write(text)
            stream.flush()


class _Listening:
    """Stands for a stream. Where nobody listens it is that stream."""

    def __init__(self, under: Any, name: str) -> None:
        self._under, self._name = under, name

    def write(self, text: str) -> int:
        sink = _sink.get()
        if sink is None:
            return int(self._under.write(text) or 0)
        sink(self._name, text)
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._under, name)
