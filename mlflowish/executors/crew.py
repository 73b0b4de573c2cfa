"""A crew of threads that never keeps a program from ending: unlike those of the standard library they are daemons."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue

_MOST_ADDED = 64

_log = logging.getLogger("mlflowish.executors")


class Crew:
    """Runs functions on at most `most` threads, started as they are needed. Thread-safe.

    Whoever wants work to be finished before the program ends waits for it.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._added = 0
        self._waiting: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def submit(self, work: Callable[[], None]) -> None:
        """Have it done by the next thread that is free."""
        self._waiting.put(work)
        if self._idle.acquire(blocking=False):
            return
        with self._lock:
            if len(self._threads) < self._most + self._added:
                name = f"mlflowish_{len(self._threads)}"
                thread = threading.Thread(target=self._work, name=name, daemon=True)
                self._threads.append(thread)
                thread.start()

    def add(self, places: int) -> bool:
        """Have so many threads more, because others wait, or so many less. False if there are enough of them."""
        with self._lock:
            if self._added + places > _MOST_ADDED:
                return False
            self._added += places
            return True

    def end(self, *, wait: bool) -> None:
        """No more comes: the threads end when they have done what there is; `wait` for that."""
        with self._lock:
            threads, self._threads = self._threads, []
        for _ in threads:
            self._waiting.put(None)
        for thread in threads if wait else ():
            if thread is not threading.current_thread():
                thread.join()

    def _work(self) -> None:
        while True:
            if self._waiting.empty():
                self._idle.release()
            work = self._waiting.get()
            if work is None:
                return
            try:
                work()
            except BaseException:  # noqa: BLE001  what a call raises is in its future; this came from elsewhere
                _log.exception("A thread of an executor was interrupted; it goes on with the next call")
            del work  # nothing is kept alive by a thread that has nothing to do
