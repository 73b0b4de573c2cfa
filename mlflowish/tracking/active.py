"""A run while it is open in this process: what it takes in, and how it ends."""

from __future__ import annotations

import functools
import getpass
import logging
import os
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from mlflowish.errors import InvalidInputError, StateError, StorageError
from mlflowish.store import Store
from mlflowish.store.context import CallNote
from mlflowish.tracking import reading
from mlflowish.tracking.capture import Capture, Watched
from mlflowish.tracking.folding import FAILED, FINISHED, KILLED, NOTE_TAG, RunRecord
from mlflowish.tracking.host import this_process
from mlflowish.tracking.intake import Intake
from mlflowish.tracking.run import Run
from mlflowish.tracking.stack import entered, left
from mlflowish.tracking.values import tag_text
from mlflowish.tracking.writer import writer_of

_log = logging.getLogger("mlflowish.tracking")


class ActiveRun(Intake, Run):
    """A run that is open here: a context manager, whose end is the run's. What it reads is always as of now.

    Thread-safe. A forked child may log into it; only the process that opened it ends it.
    """

    def __init__(self, store: Store, run_id: str, *, params: Mapping[str, str] | None, belongs_to: str | None) -> None:
        Run.__init__(self, store, run_id)
        Intake.__init__(self, writer_of(store), bytes.fromhex(run_id), params)
        self.belongs_to = belongs_to  # its experiment, where it is known without asking the store
        self._session = os.urandom(8)
        self._pid = os.getpid()
        self._ending = threading.RLock()  # a signal handler may end it in the middle of its end
        self._capture: Capture | None = None

    @property
    def is_open(self) -> bool:
        """Does it still take in what is logged?"""
        return self._is_open

    @property
    def record(self) -> RunRecord:
        """Everything that is known of it now, as one record."""
        return reading.read_run(self.store, self.run_id)

    def end(self, status: str = FINISHED, *, reason: str = "") -> None:
        """End it; harmless when it has ended. FINISHED, FAILED or KILLED."""
        if status not in (FINISHED, FAILED, KILLED):
            raise InvalidInputError(f"A run ends FINISHED, FAILED or KILLED, found {status!r}", found=status)
        with self._ending:
            if not self._is_open or self._pid != os.getpid():
                return
            self._is_open = False
            if self._capture is not None:
                self._capture.stop()
            self._event("end", {"session": self._session, "status": status, "reason": reason})
            left(self)
            self._writer.ended(self._key)

    def __enter__(self) -> ActiveRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        status, reason = ending_of(error)
        self.end(status, reason=reason)

    def _begin(self, watched: Watched) -> None:
        self._event("session", {"session": self._session, "process": this_process().packed()})
        self._is_open = True
        self._capture = capture = Capture(self, watched)
        self._writer.opened(self._key, capture.tick)
        entered(self)
        capture.start()

    def _line(self, stream: str, text: str) -> None:
        """The program printed something."""
        self._writer.line(self._key, self._now(), stream, text)

    def _sampled(self, values: Mapping[str, float], step: int) -> None:
        """A look at the hardware."""
        time_us = self._now()
        self._writer.points(self._key, [(name, step, time_us, float(value)) for name, value in values.items()])

    def _note(self, note: CallNote) -> None:
        """A step was called in this run."""
        key = bytes.fromhex(note.key) if note.key else None
        row = (self._now(), key and key.hex(), note.step, note.hit, note.duration_s, note.output, note.status)
        self._writer.call(self._key, row)


def begin_run(
    store: Store,
    run_id: str,
    *,
    name: str,
    experiment: str,
    tags: Mapping[str, Any],
    description: str | None,
    parent: str | None,
    forked_from: tuple[str, int] | None,
    watched: Watched,
) -> ActiveRun:
    """Open a new run."""
    run = ActiveRun(store, run_id, params={}, belongs_to=experiment)
    body: dict[str, Any] = {"name": name, "experiment": experiment, "user": user_name()}
    if parent is not None:
        body["parent"] = parent
    if forked_from is not None:
        body["forked_from"] = forked_from
    run._event("start", body)
    _first_tags(run, tags, description)
    run._begin(watched)
    return run


def resume_run(
    store: Store, run_id: str, *, tags: Mapping[str, Any], description: str | None, watched: Watched
) -> ActiveRun:
    """Open a run that exists, to log into it from here as well."""
    params: Mapping[str, str] | None = None
    experiment = None
    try:
        record = reading.read_run(store, run_id)
    except StorageError as error:  # out of reach: it cannot be looked up, and must not stop the program
        _log.warning("Run %s cannot be looked up in %s now (%s); what is logged is kept", run_id, store.url, error)
    else:
        if record.is_deleted:
            raise _is_deleted(store, run_id)
        params, experiment = record.params, record.experiment
    run = ActiveRun(store, run_id, params=params, belongs_to=experiment)
    _first_tags(run, tags, description)
    run._begin(watched)
    # Whoever deletes it at this very moment may not have seen that it was opened: one of the two is told. What is in a
    # bucket, nobody sees at once.
    if params is not None and store.storage.capabilities.append and run.record.is_deleted:
        run.end()
        raise _is_deleted(store, run_id)
    return run


def _is_deleted(store: Store, run_id: str) -> StateError:
    return StateError(
        f"Run {run_id} in {store.url} is deleted; mf.restore_run({run_id!r}) brings it back", run_id=run_id
    )


def ending_of(error: BaseException | None) -> tuple[str, str]:
    """Status and reason of a run whose block ended so. Of an exception its type is kept: the text may hold data."""
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return FINISHED, ""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return (KILLED if isinstance(error, KeyboardInterrupt) else FAILED), name


@functools.lru_cache(maxsize=1)
def user_name() -> str:
    """Who is logged in, "" if nobody says."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return ""


def _first_tags(run: ActiveRun, tags: Mapping[str, Any], description: str | None) -> None:
    given = dict(tags)
    if description is not None:
        given[NOTE_TAG] = tag_text(NOTE_TAG, description)
    if given:
        run.set_tags(given)
