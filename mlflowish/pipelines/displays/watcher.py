"""Watches a run for a display, from a thread of its own that looks how far it is: the run itself does nothing for it.

The thread shows nothing in the first second. Whatever a display does, slow or broken, the run goes on and is not held
up.
"""

from __future__ import annotations

import _thread
import logging
import threading
from collections.abc import Callable, Sequence
from contextvars import copy_context
from time import monotonic

from mlflowish.pipelines.displays.board import Board
from mlflowish.pipelines.displays.estimate import Estimate, estimate
from mlflowish.pipelines.displays.face import Face, View
from mlflowish.pipelines.endings import Ending, Failure
from mlflowish.pipelines.observing import WAITING, Change
from mlflowish.pipelines.progress import Progress, seen_as
from mlflowish.pipelines.specs import CALL, MAP

APPEARS_AFTER_S = 1.0
_ENDS_WITHIN_S = 2.0  # a terminal that takes no more is not waited for any longer
_SHARE = 0.05  # of the time, at most, for showing
_TURN_S = 0.5  # how often a display looks whether it is its turn

_log = logging.getLogger("mlflowish.pipelines")
_stage = threading.Lock()
"""Held by the display that is on: one at a time in a process, the others wait for their turn."""

Past = Callable[[Sequence[str]], dict[str, list[float]]]


class ProgressWatcher:
    """Shows one run on a face. `past(steps)`: how long steps took before."""

    def __init__(self, make_face: Callable[[], Face], past: Past, *, appears_after_s: float = APPEARS_AFTER_S) -> None:
        self._make_face, self._past_of = make_face, past
        self._appears_after_s = appears_after_s
        self._face: Face | None = None
        self._guard = threading.Lock()
        self._look: _Look | None = None
        self._is_over = threading.Event()
        self._has_ended = threading.Event()
        self._ending: Ending | None = None
        self._past: dict[str, list[float]] = {}
        self._asked: set[str] = set()
        self._estimate: Estimate | None = None
        self._estimate_s = 0.0

    # -- in the thread of the run ------------------------------------------------------------------

    def begin(self, progress: Progress, failures: Sequence[Failure], workers: int | None) -> None:
        """A run begins. `workers`: how many calls go on at once, as far as that is known."""
        board = Board(progress.trace.name, monotonic(), workers)
        look = self._look = _Look(progress, failures, board)
        context = copy_context()  # a notebook knows by it which cell the output belongs to
        try:
            # A bare thread: threading's would have us wait until it runs, which takes longer than a small pipeline.
            _thread.start_new_thread(context.run, (self._watch, board, look))
        except RuntimeError as error:  # no more threads to be had
            _log.info("The progress of a pipeline is not shown: %s", error)

    def go_on(self, progress: Progress, failures: Sequence[Failure]) -> None:
        """The run begins once more: the display goes on with that."""
        if self._look is not None:
            self._look.turn_to(progress, failures)

    def end(self, ending: Ending) -> None:
        """It is over. Waits for the last line, if anything was shown."""
        with self._guard:
            self._ending = ending
            self._is_over.set()
            is_shown = self._face is not None
        if is_shown:
            self._has_ended.wait(_ENDS_WITHIN_S)

    # -- in the thread of the display --------------------------------------------------------------

    def _watch(self, board: Board, look: Callable[[], None]) -> None:
        try:
            self._show_until_over(board, look)
        except Exception:  # noqa: BLE001  whatever a display does, the work is worth more
            _log.info("The progress of a pipeline could not be shown; the run goes on", exc_info=True)
        finally:
            if self._face is not None:
                _stage.release()
            self._has_ended.set()

    def _show_until_over(self, board: Board, look: Callable[[], None]) -> None:
        wait_s = self._appears_after_s
        while not self._is_over.wait(wait_s):
            started = monotonic()
            if self._face is None and not self._appear():
                wait_s = _TURN_S
                continue
            assert self._face is not None
            look()
            self._face.show(self._view(board))
            wait_s = max(self._face.every_s, (monotonic() - started) / _SHARE)
        if self._face is not None:
            look()
            self._face.end(View(board, monotonic(), None, self._ending))

    def _appear(self) -> bool:
        """Is it our turn, and is the run not over?"""
        if not _stage.acquire(blocking=False):
            return False
        try:
            face = self._make_face()
            with self._guard:
                if not self._is_over.is_set():
                    self._face = face
        finally:
            if self._face is None:
                _stage.release()
        return self._face is not None

    def _view(self, board: Board) -> View:
        now = monotonic()
        if now >= self._estimate_s:
            self._look_back(board)
            self._estimate = estimate(board, self._past, now)
            took = monotonic() - now
            self._estimate_s = now + max(0.5, took / _SHARE)
        return View(board, now, self._estimate)

    def _look_back(self, board: Board) -> None:
        """Ask how long steps took that this run has not shown yet; each once."""
        nodes = [board.nodes[index] for index in board.running] + board.waiting()
        steps = {node.step for node in nodes} - board.durations.keys() - self._asked
        if steps:
            self._asked |= steps
            self._past.update(self._past_of(sorted(steps)))


class _Look:
    """Brings a board up to date: compares the states of a run, which another thread changes, with those seen before."""

    def __init__(self, progress: Progress, failures: Sequence[Failure], board: Board) -> None:
        self._progress, self._failures, self._board = progress, failures, board
        self._seen: list[str] = []
        self._next: tuple[Progress, Sequence[Failure]] | None = None

    def turn_to(self, progress: Progress, failures: Sequence[Failure]) -> None:
        """Look at this from now on; called from the other thread."""
        self._next = progress, failures

    def __call__(self) -> None:
        if self._next is not None:
            (self._progress, self._failures), self._next = self._next, None
            self._seen = []
            self._board.start_over()
        progress, seen, now = self._progress, self._seen, monotonic()
        states = list(map(seen_as, progress.states.copy()))
        specs, durations, known = progress.specs, progress.durations, len(seen)
        for number in range(known, len(states)):
            if specs[number].kind in (CALL, MAP):
                self._board.add(progress.info(number))
        seen += [WAITING] * (len(states) - known)
        changed = [number for number, (old, new) in enumerate(zip(seen, states, strict=True)) if old != new]
        self._board.apply(
            [
                (Change(progress.info(number), states[number], durations[number]), now)
                for number in changed
                if specs[number].kind in (CALL, MAP)
            ]
        )
        self._board.failures = [failure_line(each) for each in self._failures]
        self._seen = states


def failure_line(failure: Failure) -> str:
    """What failed and why, in a line."""
    return f"{failure.label}: {type(failure.error).__name__}: {failure.error}".partition("\n")[0]
