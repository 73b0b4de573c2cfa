"""From what was logged about a run to what it is: pure functions of its batches, in whatever order they come.

Within a run: a param is what was said first, a tag what was said last, a metric's value that of the highest step. The
status is that of the session that ended last, RUNNING while one may be alive, KILLED for one that ended without a word.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mlflowish.storage import ObjectRef
from mlflowish.tracking.burial import DROP, PURGE, is_buried
from mlflowish.tracking.host import Process
from mlflowish.tracking.records import Batch, Event, Last

_log = logging.getLogger("mlflowish.tracking")
RUNNING, FINISHED, FAILED, KILLED = "RUNNING", "FINISHED", "FAILED", "KILLED"
ENDINGS = (FINISHED, FAILED, KILLED)
HARDWARE = "system/"
_TEXT = frozenset({str})
NAME_TAG, NOTE_TAG = "mlflow.runName", "mlflow.note.content"


@dataclass(frozen=True, slots=True)
class Artifact:
    """A stored file of a run: its path there, the object that holds it; `key` and `step` of an image of a series."""

    path: str
    ref: ObjectRef
    media_type: str = ""
    key: str | None = None
    step: int | None = None
    time_s: float = 0.0

    @property
    def size_bytes(self) -> int:
        return self.ref.size_bytes


@dataclass(frozen=True, slots=True)
class Dataset:
    """Data that a run used. `digest` identifies the content, `context` says what for (training, validation)."""

    name: str
    digest: str
    context: str | None = None
    source: str = ""
    kind: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True)
class LoggedModel:
    """A model that a run stored: `manifest` is the object that describes it, `refs` are all of its objects."""

    name: str
    manifest: ObjectRef
    refs: tuple[ObjectRef, ...] = ()
    flavor: str = ""
    time_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Session:
    """One process at work on a run, from `start_run` to its end. Times in microseconds since 1970."""

    id: bytes
    process: Process
    began_us: int
    ended_us: int | None = None
    status: str = RUNNING
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What is known of a run; times in seconds since 1970. `metrics` holds the newest point of each series."""

    run_id: str
    name: str
    experiment: str
    status: str
    start_s: float
    end_s: float | None = None
    reason: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, Last] = field(default_factory=dict)
    hardware: Mapping[str, Last] = field(default_factory=dict)
    datasets: tuple[Dataset, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    models: tuple[LoggedModel, ...] = ()
    parent_id: str | None = None
    forked_from: tuple[str, int] | None = None
    user: str = ""
    is_deleted: bool = False
    sessions: tuple[Session, ...] = ()
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def host(self) -> str:
        """The machine on which it was started."""
        return self.sessions[0].process.host if self.sessions else ""

    @property
    def refs(self) -> tuple[ObjectRef, ...]:
        """The objects that it needs."""
        named = [artifact.ref for artifact in self.artifacts]
        for model in self.models:
            named += [model.manifest, *model.refs]
        named += [
            ObjectRef(*ref) for facts in self.facts.values() for ref in facts.get("refs", ()) if isinstance(ref, tuple)
        ]
        return tuple(dict.fromkeys(named))


def unique(batches: Iterable[Batch]) -> list[Batch]:
    """Each spool file's batch once: of the same one read twice, the one that holds more."""
    known = list(batches)
    if len(known) < 2:
        return known
    found: dict[tuple[bytes, int], Batch] = {}
    for batch in known:
        name = (batch.writer, batch.number)
        before = found.get(name)
        if before is None or (len(batch.events), _newest(batch)) > (len(before.events), _newest(before)):
            found[name] = batch
    return list(found.values())


def fold(run_id: bytes, batches: Iterable[Batch], is_dead: Callable[[Process], bool] | None = None) -> RunRecord | None:
    """The run that these batches tell of; None if none of them says that it began, or if it was purged. `is_dead` is
    asked about the process of each session that nobody has ended."""
    known = unique(batches)
    return None if is_buried(known) else _folded(run_id, known, is_dead)


def fold_all(
    run_id: bytes, batches: Iterable[Batch], is_dead: Callable[[Process], bool] | None = None
) -> RunRecord | None:
    """The same, of a purged run too: what it named is there until its records are removed."""
    return _folded(run_id, unique(batches), is_dead)


def _folded(run_id: bytes, known: list[Batch], is_dead: Callable[[Process], bool] | None) -> RunRecord | None:
    state = _State(is_dead or Process.is_dead)
    for batch in known:
        state.see(batch)
    for writer, event in _in_order(known):
        state.try_to_take(writer, event)
    return state.record(run_id.hex())


def _in_order(known: list[Batch]) -> Iterable[tuple[bytes, Event]]:
    """What happened, with who told it; of one moment in an order that is always the same."""
    if len(known) == 1:  # as that of nearly all runs that ended
        [batch] = known
        return [(batch.writer, event) for event in sorted(batch.events, key=_time_of)]
    ordered = sorted(
        (
            (event.time_us, batch.writer, batch.number, place, event)
            for batch in known
            for place, event in enumerate(batch.events)
        ),
        key=lambda item: item[:4],
    )
    return ((writer, event) for _, writer, _, _, event in ordered)


class _State:
    def __init__(self, is_dead: Callable[[Process], bool]) -> None:
        self.is_dead = is_dead
        self.start: Event | None = None
        self.params: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        self.lasts: dict[str, Last] = {}
        self.artifacts: dict[str, Artifact] = {}
        self.models: dict[str, LoggedModel] = {}
        self.datasets: dict[tuple[str, str, str | None], Dataset] = {}
        self.facts: dict[str, dict[str, Any]] = {}
        self.is_deleted = self.is_remainder = False
        self.began: dict[bytes, tuple[bytes, Process, int]] = {}
        self.ended: dict[bytes, Event] = {}
        self.seen: list[Batch] = []

    def see(self, batch: Batch) -> None:
        """Last values."""
        self.seen.append(batch)
        if len(self.seen) == 1:
            self.lasts = dict(batch.lasts)
            return
        for name, last in batch.lasts.items():
            before = self.lasts.get(name)
            if before is None or last.rank() > before.rank():
                self.lasts[name] = last

    def sign_us(self, writer: bytes | None = None) -> int:
        """When a writer was last heard of; without one, any of them."""
        return max([0, *(_newest(batch) for batch in self.seen if writer in (None, batch.writer))])

    def try_to_take(self, writer: bytes, event: Event) -> None:
        """Pass over what nobody of ours has written: shared folders have many writers."""
        try:
            self.take(writer, event)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            _log.warning("Passed over an event of kind %s in a run: %r", event.kind, error)

    def take(self, writer: bytes, event: Event) -> None:
        body = event.body
        if event.kind == "session":
            self.began[body["session"]] = (writer, Process.unpacked(body.get("process", {})), event.time_us)
        elif event.kind in _TAKERS:
            _TAKERS[event.kind](self, event)
        # Kinds that a later release invented are passed over.

    def record(self, run_id: str) -> RunRecord | None:
        start = self.start
        if start is None:
            return None
        sessions = tuple(self._session(session_id) for session_id in self.began)
        status, end_us, reason = _verdict(sessions)
        if not sessions and self.is_remainder:
            status, end_us, reason = KILLED, self.sign_us(), "what was known of it before was purged"
        hardware = {name: last for name, last in self.lasts.items() if name.startswith(HARDWARE)}
        own = {name: last for name, last in self.lasts.items() if name not in hardware} if hardware else self.lasts
        origin, parent = start.body.get("forked_from"), start.body.get("parent")
        return RunRecord(
            run_id=run_id,
            name=self.tags.get(NAME_TAG) or str(start.body.get("name", "")),
            experiment=str(start.body.get("experiment", "")),
            status=status,
            start_s=start.time_us / 1e6,
            end_s=None if end_us is None else end_us / 1e6,
            reason=reason,
            params=self.params,
            tags=self.tags,
            metrics=own,
            hardware=hardware,
            datasets=tuple(self.datasets.values()),
            artifacts=tuple(self.artifacts[path] for path in sorted(self.artifacts)),
            models=tuple(self.models.values()),
            parent_id=None if parent is None else str(parent),
            forked_from=(str(origin[0]), int(origin[1])) if origin else None,
            user=str(start.body.get("user", "")),
            is_deleted=self.is_deleted,
            sessions=sessions,
            facts=self.facts,
        )

    def _session(self, session_id: bytes) -> Session:
        writer, process, began_us = self.began[session_id]
        end = self.ended.get(session_id)
        if end is not None:
            status, reason = str(end.body.get("status", FINISHED)), str(end.body.get("reason", ""))
            return Session(session_id, process, began_us, end.time_us, status, reason)
        if not self.is_dead(process):
            return Session(session_id, process, began_us)
        seen_us = max(self.sign_us(writer), began_us)
        return Session(session_id, process, began_us, seen_us, KILLED, "its process ended without a word")

    def take_start(self, event: Event) -> None:
        self.start = self.start or event

    def take_params(self, event: Event) -> None:
        values = event.body.get("values", {})
        if not self.params and _TEXT.issuperset(map(type, (*values, *values.values()))):
            self.params.update(values)
            return
        for name, text in values.items():
            if name not in self.params or event.body.get("overwrite"):
                self.params[str(name)] = str(text)

    def take_tags(self, event: Event) -> None:
        for name, text in event.body.get("values", {}).items():
            if text is None:
                self.tags.pop(name, None)
            else:
                self.tags[str(name)] = str(text)

    def take_artifact(self, event: Event) -> None:
        body = event.body
        self.artifacts[body["path"]] = Artifact(
            body["path"],
            ObjectRef(*body["ref"]),
            str(body.get("type", "")),
            body.get("key"),
            body.get("step"),
            event.time_us / 1e6,
        )

    def take_model(self, event: Event) -> None:
        body = event.body
        refs = tuple(ObjectRef(*ref) for ref in body.get("refs", ()))
        self.models[body["name"]] = LoggedModel(
            body["name"], ObjectRef(*body["manifest"]), refs, str(body.get("flavor", "")), event.time_us / 1e6
        )

    def take_input(self, event: Event) -> None:
        body = event.body
        texts = {name: str(body.get(name, "")) for name in ("name", "digest", "source", "kind", "description")}
        context = body.get("context")
        dataset = Dataset(context=None if context is None else str(context), **texts)
        self.datasets[dataset.name, dataset.digest, dataset.context] = dataset

    def take_fact(self, event: Event) -> None:
        values = event.body.get("values", {})
        for ref in values.get("refs", ()):
            ObjectRef(*ref)
        self.facts[str(event.body.get("name", ""))] = dict(values)

    def take_life(self, event: Event) -> None:
        self.is_deleted = bool(event.body.get("deleted"))

    def take_purge(self, event: Event) -> None:
        """Of a run whose records were removed, and that something came of later."""
        if self.start is None and isinstance(event.body.get("start"), Mapping):
            self.start = Event("start", int(event.body["start_us"]), dict(event.body["start"]))
            self.is_deleted, self.is_remainder = bool(event.body.get("deleted")), True

    def take_drop(self, event: Event) -> None:
        """Compactions obey it: it changes nothing of the run."""

    def take_end(self, event: Event) -> None:
        # What somebody said who found the process dead counts only if it had nothing to say itself.
        session_id = event.body["session"]
        if session_id not in self.ended or self.ended[session_id].body.get("found_dead"):
            self.ended[session_id] = event


_TAKERS: dict[str, Callable[[_State, Event], None]] = {
    "start": _State.take_start,
    "params": _State.take_params,
    "tags": _State.take_tags,
    "artifact": _State.take_artifact,
    "model": _State.take_model,
    "input": _State.take_input,
    "fact": _State.take_fact,
    "life": _State.take_life,
    PURGE: _State.take_purge,
    DROP: _State.take_drop,
    "end": _State.take_end,
}
EVENT_KINDS = ("session", *_TAKERS)


def _verdict(sessions: tuple[Session, ...]) -> tuple[str, int | None, str]:
    """Status, end and reason of a run with these sessions."""
    if not sessions or any(session.ended_us is None for session in sessions):
        return RUNNING, None, ""
    last = max(sessions, key=lambda session: (session.ended_us or 0, session.began_us))
    return last.status, last.ended_us, last.reason


def _time_of(event: Event) -> int:
    return event.time_us


def _newest(batch: Batch) -> int:
    times = [event.time_us for event in batch.events] + [last.time_us for last in batch.lasts.values()]
    return max(times, default=0)
