"""What the program prints, copied on its way. The streams themselves stay where they are: only their `write` is
wrapped, so whoever holds one (a logging handler, a notebook) prints as before, and is heard as well.

What a library or a child process writes past Python's streams is not seen: docs/decisions says why.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

LARGEST_BYTES = 10 << 20
_LINE = 4096

Sink = Callable[[str, str], None]


class ConsoleCopy:
    """Gives `sink(stream name, text)` what is written to standard output and error, until `stop`. Never raises into the
    program, never swallows its output; after 10 MB it says so and stops listening."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._wrapped: list[tuple[Any, Any]] = []
        self._buffers = {"stdout": "", "stderr": ""}
        self._room = LARGEST_BYTES
        self._lock = threading.RLock()
        self._busy = threading.local()
        self._is_on = True

    def start(self) -> None:
        """Begin to listen. IPython puts back its own `write` after each cell: we come again before the next."""
        self._wrap()
        if (events := _cell_events()) is not None:
            events.register("pre_run_cell", self._wrap)

    def _wrap(self, *_: Any) -> None:
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name, None)
            write = getattr(stream, "write", None)
            if stream is None or write is None or getattr(_own_write(stream), "copy", None) is self:
                continue
            wrapper = _Wrapper(self, name, write, _own_write(stream))
            try:
                stream.write = wrapper
            except (AttributeError, TypeError):  # a stream that cannot be wrapped is not captured
                continue
            self._wrapped.append((stream, wrapper))

    def stop(self) -> None:
        """Let go of the streams, unless somebody has wrapped them after us: then the wrapper only passes on."""
        self.flush()
        self._is_on = False
        if (events := _cell_events()) is not None:
            try:
                events.unregister("pre_run_cell", self._wrap)
            except ValueError:  # somebody has taken it away
                pass
        for stream, wrapper in self._wrapped:
            if _own_write(stream) is wrapper:
                under = wrapper.under
                while isinstance(under, _Wrapper) and not under.copy._is_on:  # ended before us, and could not let go
                    under = under.under
                if under is None:
                    del stream.write
                else:
                    stream.write = under
        self._wrapped.clear()

    def flush(self) -> None:
        """Hand on lines that are not ended yet."""
        for name in self._buffers:
            with self._lock:
                text, self._buffers[name] = self._buffers[name], ""
            if text:
                self._hand_on(name, text)

    def _take(self, name: str, text: str) -> None:
        if getattr(self._busy, "is_set", False):  # a warning of our own, about what it is busy with
            return
        self._busy.is_set = True
        try:
            with self._lock:
                whole = self._buffers[name] + text
                is_due = "\n" in text or len(whole) > _LINE
                self._buffers[name] = "" if is_due else whole
            if is_due:
                self._hand_on(name, whole)
        finally:
            self._busy.is_set = False

    def _hand_on(self, name: str, text: str) -> None:
        self._room -= len(text)
        if self._room < 0:
            self._is_on = False
            text = f"\n[more than {LARGEST_BYTES >> 20} MB were printed: the rest is not kept]\n"
        try:
            self._sink(name, text)
        except Exception:  # noqa: BLE001  whatever it is, the program only wanted to print
            self._is_on = False


class _Wrapper:
    """Stands for a stream's `write`; `under` is what stood there before us, None for the stream's own."""

    def __init__(self, copy: ConsoleCopy, name: str, write: Callable[..., Any], under: Any) -> None:
        self.copy, self._name, self._write, self.under = copy, name, write, under

    def __call__(self, text: str, *rest: Any) -> Any:
        if not self.copy._is_on or getattr(self.copy._busy, "is_set", False):
            return self._write(text, *rest)
        self.copy._busy.is_set = True  # should we stand in the chain twice, it is heard once
        try:
            result = self._write(text, *rest)
        finally:
            self.copy._busy.is_set = False
        if type(text) is str and text:
            self.copy._take(self._name, text)
        return result


def _cell_events() -> Any:
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None and hasattr(module, "get_ipython") else None
    return getattr(shell, "events", None)


def _own_write(stream: Any) -> Any:
    return getattr(stream, "__dict__", {}).get("write")
