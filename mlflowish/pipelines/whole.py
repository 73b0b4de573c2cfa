"""A pipeline as one call: its entry, with the calls inside it as children, and passing it in one look-up.

The entry may be used as long as every call inside would be read back, one by one, with the same result: the code and
the arguments are the same (its key), nothing of these steps was forgotten since (epochs), functions that only running
showed are unchanged (observed), all of them keep their results for ever, and what it returned can still be loaded.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from mlflowish.codecs import describe, encode
from mlflowish.errors import MlflowishError, StorageError, UncacheableError
from mlflowish.pipelines.packing import pack
from mlflowish.pipelines.passing import VERSION, Passed, look_up, not_for_ever, whole_key
from mlflowish.pipelines.specs import CALL, MAP, Group
from mlflowish.pipelines.trace import Trace
from mlflowish.steps import parts, writing
from mlflowish.steps.frames import Frame, current_frame
from mlflowish.steps.identity import Identity
from mlflowish.steps.noting import tell
from mlflowish.steps.reference import Outcome, Reference, described, token_of
from mlflowish.store import Entry, Store
from mlflowish.store.context import CallNote, active_run_id
from mlflowish.store.forgetting import epoch

if TYPE_CHECKING:
    from mlflowish.pipelines.definition import Pipeline
    from mlflowish.pipelines.progress import Progress

_WHOLE = 1 << 40
_DESCRIBED, _LONGEST = 4, 200


@dataclass(slots=True)
class _Book:
    """What is known of one pipeline of the run: the outermost, or a nested one."""

    pipeline: Pipeline[..., Any]
    identity: Identity | None = None
    key: bytes | None = None
    frame: Frame | None = None
    children: list[tuple[int, str]] = field(default_factory=list)
    observed: set[tuple[str, str, bytes]] = field(default_factory=set)
    files: list[Reference] = field(default_factory=list)
    reason: str = ""  # why it cannot be passed in one look-up; "" if it can
    started: float = field(default_factory=time.perf_counter)
    epochs: dict[str, bytes] = field(default_factory=dict)


class Whole:
    """The pipelines of one run, each as one call."""

    def __init__(
        self,
        store: Store,
        trace: Trace,
        identity: Identity,
        key: bytes | None,
        *,
        inside: Frame | None,
        passes_nested: bool = True,
    ) -> None:
        self._passes_nested = passes_nested
        self.has_passed = False  # a nested pipeline, in one look-up
        self._store = store
        self._trace = trace
        self._epochs: dict[str, bytes] = {}
        top = trace.groups[0].pipeline
        assert top is not None
        self._books: dict[int, _Book] = {0: _Book(top, identity, key)}
        self.is_inside_a_step = inside is not None
        self._groups: list[int] = [self._pipeline_around(number) for number in range(len(trace.groups))]
        self._frame_set = -1
        for number, group in enumerate(trace.groups):
            if group.pipeline is not None:
                book = self._books.setdefault(number, _Book(group.pipeline))
                book.reason, names = _steps_of(trace, group)
                book.epochs = {name: self._epoch(name) for name in names}
        self._look_for_what_was_forgotten()
        self._books[0].frame = Frame(top.name, key.hex() if key is not None else None)

    def _epoch(self, name: str) -> bytes:
        # As it was before anything was looked up: what is forgotten while we run must show.
        if name not in self._epochs:
            self._epochs[name] = epoch(self._store, name)
        return self._epochs[name]

    def _look_for_what_was_forgotten(self) -> None:
        """A result that was removed before an epoch was read must be gone for the look-ups to come: what is known of
        calls may be older than the epoch, and would be written down as what holds in it, for ever."""
        if not any(self._epochs.values()):
            return
        try:
            self._store.journals("calls").refresh()
        except StorageError as error:  # what is known is used, as in any call, and nothing is concluded from it
            for book in self._books.values():
                book.reason = book.reason or f"it could not be seen what was forgotten: {error}"

    def _pipeline_around(self, number: int) -> int:
        while self._trace.groups[number].is_branch:
            number = self._trace.groups[number].parent
        return number

    def look_up(self, *, put_back: bool = True) -> Passed | None:
        """What the whole pipeline gave, if it can be passed in one look-up. Missing files are put back, unless one only
        asks."""
        book = self._books[0]
        if book.key is None or book.reason:
            return None
        return look_up(self._store, book.key, put_back=put_back)

    # -- while it runs -----------------------------------------------------------------------------

    def use_frame_of(self, group: int) -> None:
        """Calls made from now on are inside that pipeline."""
        number = self._groups[group]
        if number != self._frame_set:
            while self._books[number].frame is None:
                number = self._pipeline_around(self._trace.groups[number].parent)
            current_frame.set(self._books[number].frame)
            self._frame_set = self._groups[group]

    def note(self, group: int, number: int, outcome: Outcome) -> None:
        """A call of that pipeline ended."""
        book = self._books[self._groups[group]]
        if outcome.key is not None:
            book.children.append((number, outcome.key))
        book.observed.update(outcome.observed)
        reference = outcome.reference
        if reference is None:
            book.reason = book.reason or f"{outcome.step} is not cached: {outcome.reason}"
        elif reference.holds_files:
            book.files.append(reference)

    def enter(self, number: int, args: tuple[Any, ...], kwargs: dict[str, Any], *, look: bool) -> list[Any] | None:
        """A nested pipeline gets its arguments: the results of its outputs if it can be passed."""
        book = self._books[number]
        book.started = time.perf_counter()
        book.identity = book.pipeline.identify_by_reference(args, kwargs)
        spec = self._trace.specs[self._trace.groups[number].gate]
        book.key = whole_key(book.identity, self._trace, self._trace.groups[number], spec.args, spec.kwargs)
        book.frame = Frame(book.pipeline.name, book.key.hex() if book.key is not None else None)
        if not look or not self._passes_nested or book.key is None or book.reason:
            return None
        passed = look_up(self._store, book.key)
        if passed is None:
            return None
        book.observed.update(passed.observed)
        book.files += passed.files
        return passed.outputs

    def passed_over(self, number: int) -> None:
        """A nested pipeline was passed: for the one around it, it is one call."""
        book = self._books[number]
        assert book.key is not None
        self.has_passed = True
        tell(CallNote(book.key.hex(), book.pipeline.name, True, 0.0, None))
        self._hand_up(number, book)

    def leave(self, number: int, progress: Progress) -> None:
        """Everything in a pipeline has ended well: write its entry, unless it was there."""
        book, group = self._books[number], self._trace.groups[number]
        if group.gate >= 0 and progress.was_passed(group):
            return
        outputs = [progress.results[output] for output in group.outputs]
        self._write(book, group, outputs, progress)
        if group.parent >= 0:
            self._hand_up(number, book)

    def _hand_up(self, number: int, book: _Book) -> None:
        outer = self._books[self._pipeline_around(self._trace.groups[number].parent)]
        if book.key is not None and not book.reason:
            outer.children.append((self._trace.groups[number].gate, book.key.hex()))
        else:
            outer.children += book.children
        outer.observed |= book.observed
        outer.files += book.files
        outer.reason = outer.reason or book.reason

    # -- the entry ---------------------------------------------------------------------------------

    def _write(self, book: _Book, group: Group, outputs: list[Any], progress: Progress) -> None:
        key, identity = book.key, book.identity
        if key is None or identity is None or identity.fingerprint is None:
            return
        children = tuple(dict.fromkeys(child for _, child in sorted(book.children)))
        try:
            head = self._head(book, group, outputs)
            earlier = self._store.entries(key)
            if earlier and earlier[0].head == head and earlier[0].meta.children == children:
                self._tell(book, earlier[0].meta.duration_s, earlier[0].meta.output, hit=True)
                return
            result = progress.filled(group.result)
            duration_s = time.perf_counter() - book.started
            meta = writing.describe_call(
                step=book.pipeline.name,
                fingerprint=identity.fingerprint.digest.hex(),
                arguments=_arguments(book.pipeline, identity),
                output=_digest_of(self._store, result),
                output_description=_described(result),
                duration_s=duration_s,
                status="computed",
                reason=book.reason,
                parent=self._parent_of(group),
                children=children,
                run_id=active_run_id.get(),
            )
            parts.remember(self._store, identity.fingerprint)
            entry = Entry(key, os.urandom(16), time.time(), "plain", head, packed_meta=meta.packed())
            self._store.add_uses(key, meta)
            self._store.add_entry(entry, step=book.pipeline.name)
            self._tell(book, duration_s, meta.output, hit=False)
        except Exception as error:  # noqa: BLE001  whatever the user's types do when they are described
            # The results are there; that they belong together is worth a word, not a failure.
            book.pipeline.warn(f"its entry could not be written: {error}")

    def _head(self, book: _Book, group: Group, outputs: list[Any]) -> bytes:
        packed = None
        if not book.reason:
            try:
                packed = [pack(output) for output in outputs]
                result = pack(group.result, {number: place for place, number in enumerate(group.outputs)})
            except UncacheableError as error:
                packed, book.reason = None, str(error)
        body: dict[str, Any] = {"pipeline": VERSION, "reason": book.reason}
        if packed is not None:
            files = {reference.entry_id: pack(reference) for reference in book.files}
            body |= {
                "outputs": packed,
                "result": result,
                "observed": sorted(book.observed),
                "epochs": dict(sorted(book.epochs.items())),
                "files": [files[name] for name in sorted(files)],
            }
        return encode(body, inline_limit=_WHOLE).head

    def _tell(self, book: _Book, duration_s: float, output: str | None, *, hit: bool) -> None:
        assert book.key is not None
        tell(CallNote(book.key.hex(), book.pipeline.name, hit, duration_s, output))

    def _parent_of(self, group: Group) -> str | None:
        if group.parent < 0:
            return None
        key = self._books[self._pipeline_around(group.parent)].key
        return key.hex() if key is not None else None


def _steps_of(trace: Trace, group: Group) -> tuple[str, list[str]]:
    """Why a pipeline with these steps is never passed in one look-up ("" if it can be), and their names."""
    reason = ""
    names = set()
    for spec in trace.specs[group.first : group.last]:
        if spec.kind in (CALL, MAP):
            names.add(spec.step.name)
            reason = reason or not_for_ever(spec.step)
    return reason, sorted(names)


def _arguments(pipeline: Pipeline[..., Any], identity: Identity) -> tuple[tuple[str, str, str], ...]:
    from mlflowish.steps.keys import argument_digests

    digests = argument_digests(pipeline.identifier.names, identity.values, identity.token)
    return tuple(
        (name, digest.hex(), described(name, value))
        for (name, digest), value in zip(digests, identity.values, strict=True)
    )


def _digest_of(store: Store, result: Any) -> str | None:
    try:
        if type(result) is Reference:
            return result.digest
        token = token_of(store, ("result", "_"), (result, [...]))  # the second makes it digests, whatever it is
        return token[1:17].hex()
    except MlflowishError:
        return None


def _described(result: Any) -> str:
    """One line about what a pipeline gave."""
    if type(result) is Reference:
        return result.description
    if type(result) not in (list, tuple, dict):
        return describe(result)
    if type(result) is dict:
        shown = [f"{name!r:.40}: {_described(each)}" for name, each in islice(result.items(), _DESCRIBED)]
    else:
        shown = [_described(each) for each in islice(result, _DESCRIBED)]
    more = ["..."] if len(result) > len(shown) else []
    text = ", ".join([*shown, *more])[:_LONGEST]
    return f"{{{text}}}" if type(result) is dict else f"[{text}]" if type(result) is list else f"({text})"
