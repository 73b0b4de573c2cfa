"""One computation of a call, from before it runs until it is stored."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol

from mlflowish.codecs import describe
from mlflowish.errors import MlflowishError, UncacheableError
from mlflowish.hashing import digest
from mlflowish.hashing.audit import watching
from mlflowish.steps import code, inputs, parts, provenance, writing
from mlflowish.steps.auditing import observed
from mlflowish.steps.calls import Call
from mlflowish.steps.frames import Frame, current_frame
from mlflowish.steps.held import HeldItems
from mlflowish.steps.identity import Identifier, Identity
from mlflowish.steps.keys import argument_digests
from mlflowish.steps.loading import load_value
from mlflowish.steps.noting import tell
from mlflowish.steps.options import Options
from mlflowish.steps.sources import sources_of
from mlflowish.store import Event, Meta, Store, remembered
from mlflowish.store.context import CallNote, active_run_id


class Owner(Protocol):
    """What a job needs of its step."""

    name: str
    fn: Callable[..., Any]
    options: Options
    identifier: Identifier

    @property
    def store(self) -> Store: ...

    def note_code(self, store: Store, identity: Identity) -> None: ...

    def warn(self, reason: str) -> None: ...


class Job:
    """One computation of a call, from before it runs until it is stored.

    What sync, async and generator steps share.
    """

    def __init__(self, step: Owner, identity: Identity) -> None:
        self._step = step
        self._identity = identity
        self._frame = Frame(step.name, identity.hex)
        self._parent = current_frame.get()
        self._run_id = active_run_id.get()
        self._reason = identity.reason if step.options.cache else "the step has cache=False"
        self._arguments: tuple[tuple[str, str, str], ...] = ()
        self._sources = identity.sources or sources_of(step.identifier.names, identity.values)
        self._inputs: tuple[bytes, ...] = ()
        self._watch = watching(identity.fingerprint, last_duration_s=step.identifier.last_duration_s)
        self._files = step.identifier.declared_files() if self._reason is None else ()
        self._entry_id = os.urandom(16)
        self._started = 0.0
        self._duration_s = 0.0
        if identity.key is not None:
            digests = argument_digests(step.identifier.names, identity.values, identity.token)
            self._arguments = tuple(
                (name, digest.hex(), writing.described(name, value))
                for (name, digest), value in zip(digests, identity.values, strict=True)
            )
            # Before it runs: the function may change them.
            self._inputs = inputs.recorded(
                step.identifier.names, identity.values, identity.token, has_secrets=step.identifier.has_secrets
            )

    @contextmanager
    def running(self) -> Iterator[None]:
        """The block in which the function runs: its step calls are our children; a failure is recorded and passes
        through."""
        token = current_frame.set(self._frame)
        self._started = time.perf_counter()
        try:
            with self._watch:
                yield
        except Exception as error:
            self._duration_s = time.perf_counter() - self._started
            # The type alone: a message may hold anything, secrets too.
            self._record("failed", type(error).__qualname__)
            raise
        finally:
            current_frame.reset(token)
            self._duration_s = self._duration_s or time.perf_counter() - self._started

    def finish(self, value: Any) -> Call:
        """Store the value if it can be, and give the call."""
        self._duration_s = time.perf_counter() - self._started
        reason = self._reason or self._changed()
        if reason is not None:
            return self._uncached(value, reason)
        step = self._step
        try:
            stored = writing.store_value(step.store, value, format=step.options.format)
            return self._add(stored)
        except (UncacheableError, MlflowishError, OSError) as error:
            return self._unstorable(value, error)
        except Exception as error:  # noqa: BLE001  a computed result is never lost because storing it failed, whatever the user's types do
            return self._unstorable(value, error)

    def finish_generator(self, iterator: Generator[Any, None, Any]) -> Call:
        """Drain a generator into the store; into memory when it cannot be stored."""
        if (reason := self._unready()) is not None:
            return self._held(HeldItems.drained(iterator), reason)
        try:
            stored = self._draining().all_of(iterator)
        except Exception as error:  # noqa: BLE001  raised again, unless it has rescued what was computed
            return self._rescued(error)
        return self._finish_drained(stored)

    async def finish_async_generator(self, iterator: AsyncIterator[Any]) -> Call:
        """The same for an async one."""
        if (reason := self._unready()) is not None:
            return self._held(HeldItems([item async for item in iterator]), reason)
        try:
            stored = await self._draining().all_of_async(iterator)
        except Exception as error:  # noqa: BLE001  as above
            return self._rescued(error)
        return self._finish_drained(stored)

    def _unready(self) -> str | None:
        """The reason why nothing can be stored, before anything is."""
        if self._reason is None:
            try:
                self._step.store.create()
            except MlflowishError as error:
                return f"it cannot be stored: {error}"
        return self._reason

    def _draining(self) -> writing.Draining:
        assert self._identity.key is not None  # without one there is a reason
        return writing.Draining(self._step.store, self._identity.key, self._entry_id, self._step.name)

    def _held(self, value: HeldItems, reason: str) -> Call:
        self._duration_s = time.perf_counter() - self._started
        return self._uncached(value, reason)

    def _rescued(self, error: Exception) -> Call:
        if (rescued := getattr(error, "rescued", None)) is None:
            raise error  # the generator's own
        # Storing failed, not the step: nothing that it computed is lost.
        value = HeldItems.drained(rescued)
        self._duration_s = time.perf_counter() - self._started
        return self._unstorable(value, error)

    def _finish_drained(self, stored: writing.Stored) -> Call:
        self._duration_s = time.perf_counter() - self._started
        if (reason := self._changed()) is not None:
            return self._uncached(stored.value, reason)
        try:
            return self._add(stored)
        except MlflowishError as error:
            return self._unstorable(stored.value, error)

    def _changed(self) -> str | None:
        """The reason not to store a call under its key: what that was made of is no longer what it was."""
        identifier = self._step.identifier
        if (reason := identifier.mutated(self._identity)) is not None or not self._files:
            return reason
        try:
            unchanged = identifier.declared_files() == self._files
        except MlflowishError:  # it is not there any more
            unchanged = False
        return None if unchanged else "a file or folder of depends= changed while it ran, and it may have read either"

    def _add(self, stored: writing.Stored) -> Call:
        step, identity = self._step, self._identity
        assert identity.key is not None
        assert identity.fingerprint is not None
        meta = self._meta("computed", "", stored)
        store = step.store
        parts.remember(store, identity.fingerprint)
        unforeseen = observed(self._watch, step.name)
        entry = writing.make_entry(identity.key, stored, meta, unforeseen, entry_id=self._entry_id)
        store.add_uses(entry.key, meta)
        store.add_entry(entry, step=step.name)
        for _ in range(writing.MOST_TRIES):
            if not store.are_doomed(entry.objects):
                break
            # A collection came between: it may delete what the entry names. That is still named while it is stored
            # again: what a generator gave is read from there.
            doomed = entry
            try:
                stored = writing.store_value(store, stored.value, format=step.options.format)
                entry = writing.make_entry(identity.key, stored, meta, unforeseen)
                store.add_entry(entry, step=step.name)
            finally:
                store.forget(doomed.key, [doomed.id], step=step.name)
        if entry.id != self._entry_id and stored.codec == "items":  # of the caller's, too, nobody else knows the parts
            stored = replace(stored, value=load_value(store, entry))
        step.identifier.last_duration_s = self._duration_s
        if remembered.waiting:
            remembered.write_down(store)
        if step.identifier.noted_in is not store:
            step.note_code(store, identity)
        if step.identifier.kept_in is not store:
            code.keep(store, step, identity.fingerprint)
            step.identifier.kept_in = store
        provenance.remember(stored.value, identity.key.hex(), codec=stored.codec, size_bytes=len(stored.head))
        self._tell("computed", meta.output)
        return self._call(stored.value, meta.output, None)

    def _unstorable(self, value: Any, error: Exception) -> Call:
        if self._step.options.strict and isinstance(error, UncacheableError):
            raise UncacheableError(
                f"{self._step.name} is strict, and its result cannot be stored: {error}",
                **{**error.data, "value": value},
            ) from error
        return self._uncached(value, f"its result cannot be stored: {error or type(error).__name__}")

    def _uncached(self, value: Any, reason: str) -> Call:
        if self._step.options.cache:
            if self._step.options.strict and self._reason is None and "changes its argument" in reason:
                raise UncacheableError(f"{self._step.name} is strict: {reason}", path=reason)
            self._step.warn(f"this call is not cached: {reason}")
        self._record("uncached", reason)
        if self._identity.hex is not None:
            provenance.remember(value, self._identity.hex, codec="", size_bytes=0)
        return self._call(value, None, reason)

    def _record(self, status: str, reason: str) -> None:
        """Leave a trace of a call without a result; a store that cannot be written has told so already, or tells it
        now."""
        step = self._step
        key = self._identity.key or os.urandom(16)
        meta = self._meta(status, reason, None)
        try:
            step.store.add_event(Event(key, os.urandom(16), time.time(), meta.packed()), step=step.name)
        except MlflowishError as error:
            if status == "failed":
                step.warn(f"its failure is not recorded: {error}")
        self._tell(status, None)

    def _tell(self, status: str, output: str | None) -> None:
        tell(CallNote(self._identity.hex, self._step.name, False, self._duration_s, output, status))

    def _meta(self, status: str, reason: str, stored: writing.Stored | None) -> Meta:
        if self._parent is not None and self._identity.hex is not None and status == "computed":
            self._parent.children.append(self._identity.hex)
        fingerprint = self._identity.fingerprint
        output = stored.identity if stored is not None else None
        return writing.describe_call(
            step=self._step.name,
            fingerprint=fingerprint.digest.hex() if fingerprint is not None else "",
            arguments=self._arguments,
            output=output.digest.hex() if output is not None and output.digest is not None else None,
            output_description=describe(stored.value) if stored is not None else "",
            duration_s=self._duration_s,
            status=status,
            reason=reason,
            parent=self._parent.key if self._parent is not None else None,
            children=tuple(self._frame.children),
            extras=tuple((name, digest(value).hex()) for name, value in self._step.identifier.extra_values()),
            run_id=self._run_id,
            sources=self._sources,
            output_kind=output.kind if output is not None else "",
            output_code=output.code if output is not None else (),
            inputs=self._inputs,
        )

    def _call(self, value: Any, output: str | None, reason: str | None) -> Call:
        inputs = {name: digest for name, digest, _ in self._arguments}
        parent = self._parent.key if self._parent is not None else None
        return Call(
            value,
            False,
            self._identity.hex,
            self._step.name,
            inputs,
            output,
            self._duration_s,
            self._run_id,
            reason,
            parent,
        )
