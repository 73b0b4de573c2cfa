"""What is taken down about a run without being asked: console, source, environment, hardware. Cheap at the start,
slow things in the background, and nothing of it ever stops the program."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlflowish.tracking import options
from mlflowish.tracking.artifacts import is_doomed, put_bytes
from mlflowish.tracking.console import ConsoleCopy
from mlflowish.tracking.environment import describe_environment
from mlflowish.tracking.hardware import Sampler
from mlflowish.tracking.source import describe_source, entry_script, is_notebook, notebook_text

if TYPE_CHECKING:
    from mlflowish.tracking.active import ActiveRun

FRESH_S = 60.0  # runs that follow each other in one process share what was found out
EXIT_S = 5.0
_TRIES = 3  # each time a collection would have to choose the same object again
_log = logging.getLogger("mlflowish.tracking")


@dataclass(frozen=True, slots=True)
class Watched:
    """What to take down."""

    console: bool
    hardware: bool
    source: bool
    environment: bool

    @classmethod
    def chosen(cls, *, console: bool | None, hardware: bool | None) -> Watched:
        """What the caller says, else the settings."""
        return cls(
            options.is_on("console") if console is None else console,
            options.is_on("hardware") if hardware is None else hardware,
            options.is_on("source"),
            options.is_on("environment"),
        )


class Capture:
    """Watches one open run."""

    def __init__(self, run: ActiveRun, watched: Watched) -> None:
        self._run, self._watched = run, watched
        self._console: ConsoleCopy | None = None
        self._sampler: Sampler | None = None
        self._samples = 0
        self._entry = entry_script() if watched.source else None

    def start(self) -> None:
        if self._watched.console:
            self._console = ConsoleCopy(lambda stream, text: self._run._line(stream, text))
            self._console.start()
        if (self._watched.source or self._watched.environment) and not self._describe_from_memory():
            thread = threading.Thread(target=self._describe, name="mlflowish-describe", daemon=True)
            _describing.append(thread)
            thread.start()

    def tick(self) -> None:
        """Called from the background every few seconds."""
        if self._console is not None:
            self._console.flush()
        if not self._watched.hardware:
            return
        if self._sampler is None:
            self._sampler = Sampler()
        elif self._sampler.is_due:
            self._run._sampled(self._sampler.sample(), self._samples)
            self._samples += 1

    def stop(self) -> None:
        """The run ends."""
        if self._console is not None:
            self._console.stop()
        if self._watched.source and is_notebook():
            _quietly(self._keep_notebook)

    def _keep_notebook(self) -> None:
        self._keep("notebook", {}, {"notebook": notebook_text()})

    def _describe(self) -> None:
        if self._watched.environment:
            _quietly(lambda: self._run._fact("environment", _fresh("environment", describe_environment)))
        if self._watched.source:
            _quietly(lambda: self._keep("source", *_fresh("source", lambda: describe_source(self._entry))))

    def _describe_from_memory(self) -> bool:
        """Write down at once what was found out a moment ago; False if it was not."""
        if any(_age_s(name) > FRESH_S for name in ("environment", "source") if getattr(self._watched, name)):
            return False
        self._describe()
        return True

    def _keep(self, name: str, facts: dict[str, Any], texts: dict[str, bytes]) -> None:
        """Write down facts and the texts that belong to them; again if a collection gave up one of these meanwhile."""
        store = self._run.store
        for _ in range(_TRIES):
            refs = {title: put_bytes(store, text) for title, text in texts.items()}
            named = {title: (ref.name, ref.size_bytes) for title, ref in refs.items()}
            self._run._fact(name, {**facts, "texts": named, "refs": list(named.values())})
            if not any(is_doomed(store, ref) for ref in refs.values()):
                return


def finish_describing(timeout_s: float = EXIT_S) -> None:
    """Wait for what is still being found out about runs."""
    deadline = time.monotonic() + timeout_s
    while _describing:
        _describing[-1].join(max(deadline - time.monotonic(), 0.0))
        _describing.pop()


def _fresh(name: str, find_out: Callable[[], Any]) -> Any:
    if _age_s(name) > FRESH_S:
        with _finding:  # runs that begin meanwhile wait for this one's answer
            if _age_s(name) > FRESH_S:
                _found[name] = (time.monotonic(), find_out())
    return _found[name][1]


def _age_s(name: str) -> float:
    found = _found.get(name)
    return float("inf") if found is None else time.monotonic() - found[0]


def _quietly(act: Callable[[], None]) -> None:
    try:
        act()
    except Exception as error:  # noqa: BLE001  nothing that is only looked at may stop the program
        _log.info("Something about the run could not be found out: %s", error)


_found: dict[str, tuple[float, Any]] = {}
_describing: list[threading.Thread] = []
_finding = threading.RLock()  # a signal handler may begin a run


def _forget_threads() -> None:
    """In a forked child: whoever was finding something out is not here."""
    global _finding
    _finding = threading.RLock()
    _describing.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
