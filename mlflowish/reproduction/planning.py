"""Which calls are run again for a run, a model version or a call, in which order, and with which code."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from mlflowish.addresses import named
from mlflowish.errors import IntegrityError, InvalidInputError, MlflowishError, NotFoundError
from mlflowish.lineage import Lineage, of
from mlflowish.reproduction.composed import is_pipeline
from mlflowish.reproduction.tasks import Task
from mlflowish.steps import code as codes
from mlflowish.steps.code import KeptCode
from mlflowish.store import Entry, Event, Meta, Store
from mlflowish.store.entries import ENTRY, EVENT, unpack_entry, unpack_event
from mlflowish.tracking import Run, read_run, reading

_HEX = re.compile(r"[0-9a-f]{32}\Z")
_log = logging.getLogger("mlflowish.reproduction")


def keys_of(store: Store, thing: Any) -> list[str]:
    """The keys of the calls that a run, a model version, a `Call` or a result means, in the order in which they ran."""
    if isinstance(thing, str) and (meant := named(thing, store)) is not None:
        thing = meant
    if isinstance(thing, str) and _HEX.match(thing):
        return _keys_of_hex(store, thing)
    if isinstance(thing, Run):
        return _keys_of_run(store, thing)
    if hasattr(thing, "uncached_reason") and hasattr(thing, "key"):
        if thing.key is None:
            raise InvalidInputError(
                f"This call of {thing.step} has no identity, so nothing of it is recorded: {thing.uncached_reason}",
                step=thing.step,
            )
        return [thing.key]
    if isinstance(thing, Lineage):
        return [call.key for call in thing.calls()]
    found = of(thing, store=store)
    if found.roots[0].startswith("call:"):
        return [root.removeprefix("call:") for root in found.roots if root.startswith("call:")][:1]
    keys = [call.key for call in found.calls()]
    if not keys:
        raise NotFoundError(
            f"No call of a step is known that made {found.roots[0]}: it was not returned by a step of this store",
            node=found.roots[0],
        )
    return keys


def _keys_of_hex(store: Store, text: str) -> list[str]:
    if meta_of(store, text) is not None:
        return [text]
    try:
        record = read_run(store, text)
    except NotFoundError:
        return keys_of(store, of(text, store=store))
    return _keys_of_run(store, Run(store, text, record))


def _keys_of_run(store: Store, run: Run) -> list[str]:
    rows = reading.read_calls(run.store, run.run_id)
    keys = dict.fromkeys(row[1] for row in rows if row[1])
    if not keys:
        raise NotFoundError(
            f"The run {run.name} ({run.run_id}) made no calls of steps that are recorded", run=run.run_id
        )
    return list(keys)


def meta_of(store: Store, key: str) -> Meta | None:
    """What is recorded of a call, even if its result was dropped, as long as the record is there."""
    found = record_of(store, key)
    return None if found is None else found.meta


def record_of(store: Store, key: str) -> Entry | Event | None:
    """The newest record of a call: a stored result first, then one that was dropped, then one of a call without."""
    raw = bytes.fromhex(key)
    entries = store.entries(raw)
    if entries:
        return entries[0]
    found: list[Entry | Event] = []
    for payload in store.journals("calls").get(raw):
        try:
            if payload[:1] == ENTRY:
                found.append(unpack_entry(raw, payload))
            elif payload[:1] == EVENT:
                found.append(unpack_event(raw, payload))
        except IntegrityError as error:
            _log.info("Passed over a record: %s", error)
    return max(found, key=lambda record: (isinstance(record, Entry), record.created_s), default=None)


def is_stored(store: Store, key: str) -> bool:
    """Is the result of a call there, with all of its objects?"""
    for entry in store.entries(bytes.fromhex(key)):
        try:
            if all(store.storage.size(ref.path) == ref.size_bytes for ref in entry.objects):
                return True
        except NotFoundError:
            continue
    return False


@dataclass(frozen=True, slots=True)
class Planned:
    """A call to run again, with its code and whether it was asked for. `members`: of a pipeline, the calls that it is
    made of, which come before it."""

    task: Task
    code: KeptCode | None
    is_asked: bool
    members: tuple[str, ...] | None = None


def tasks_of(store: Store, keys: Iterable[str]) -> Iterator[Planned]:
    """What is run again, each call once; calls whose results are needed and not stored any more come before those that
    need them, those of a pipeline before the pipeline."""
    planned = _Plan(store)
    for key, members in _inside_out(store, keys):
        if members is None:
            yield from planned.of(key, is_asked=True)
        else:
            yield Planned(planned.task(key)[0], None, True, members)


def _inside_out(store: Store, keys: Iterable[str]) -> Iterator[tuple[str, tuple[str, ...] | None]]:
    """The keys, each once; those of pipelines with their members, which come before them."""
    waiting: list[tuple[str, tuple[str, ...] | None]] = [(key, None) for key in reversed(list(keys))]
    seen: set[str] = set()
    while waiting:
        key, members = waiting.pop()
        if members is not None:
            yield key, members
            continue
        if key in seen:
            continue
        seen.add(key)
        record = record_of(store, key)
        if record is None or not is_pipeline(record) or _has_code(store, record.meta):
            yield key, None
            continue
        children = tuple(record.meta.children)
        waiting.append((key, children))
        waiting += [(child, None) for child in reversed(children)]


def _has_code(store: Store, meta: Meta) -> bool:
    return bool(meta.fingerprint) and codes.recall(store, bytes.fromhex(meta.fingerprint)) is not None


class _Plan:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._done: set[str] = set()
        self._packages: dict[str, dict[str, str]] = {}

    def of(self, key: str, *, is_asked: bool) -> Iterator[Planned]:
        """The call, and before it those whose results it needs and that are not stored any more."""
        waiting = [(key, is_asked, False)]
        while waiting:
            at, asked, is_ready = waiting.pop()
            if at in self._done and not asked:
                continue
            record = record_of(self._store, at)
            if record is None:
                if asked:
                    raise NotFoundError(f"Nothing is recorded of a call with the key {at} in {self._store.url}", key=at)
                continue
            if not is_ready:
                waiting.append((at, asked, True))
                sources = dict.fromkeys(source for _, _, source in record.meta.sources)
                waiting += [(source, False, False) for source in sources if not is_stored(self._store, source)]
                continue
            self._done.add(at)
            yield Planned(*self._task(at, record), asked)

    def task(self, key: str) -> tuple[Task, KeptCode | None]:
        """The call of that key, which is recorded, and its code."""
        record = record_of(self._store, key)
        assert record is not None
        return self._task(key, record)

    def _task(self, key: str, record: Entry | Event) -> tuple[Task, KeptCode | None]:
        meta = record.meta
        task = Task(key, meta, packages=self._packages_of(meta.run_id), is_kept=not is_stored(self._store, key))
        kept = codes.recall(self._store, bytes.fromhex(meta.fingerprint)) if meta.fingerprint else None
        if kept is None:
            return task, None
        return replace(task, module=kept.module, name=kept.name, page=kept.page, seed=kept.seed), kept

    def _packages_of(self, run_id: str | None) -> dict[str, str]:
        """What was installed, as the run that a call was made in recorded it."""
        if run_id is None:
            return {}
        if run_id not in self._packages:
            try:
                facts = read_run(self._store, run_id).facts.get("environment", {})
            except MlflowishError as error:
                _log.info("The environment of run %s cannot be read: %s", run_id, error)
                facts = {}
            self._packages[run_id] = dict(facts.get("packages", {}))
        return self._packages[run_id]
