"""One call to run again, and running it in this process: twice if it does not come out the same."""

from __future__ import annotations

import asyncio
import inspect
import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mlflowish.codecs import decode, describe
from mlflowish.errors import MlflowishError, UncacheableError
from mlflowish.hashing import Fingerprint, hexdigest
from mlflowish.hashing.fingerprint import fingerprint
from mlflowish.hashing.parts import Part, diff
from mlflowish.reproduction.arguments import NotPossible, bound
from mlflowish.reproduction.distances import distance
from mlflowish.reproduction.records import DIFFERENT, NOT_POSSIBLE, SAME, ReproducedCall
from mlflowish.steps import code as codes
from mlflowish.steps import parts, writing
from mlflowish.steps.code import KeptCode
from mlflowish.steps.explaining import Difference
from mlflowish.steps.options import Options
from mlflowish.steps.running import seeding
from mlflowish.steps.wrapper import Step
from mlflowish.store import Entry, Meta, Store
from mlflowish.store.file_codecs import decode_below

_TEXT = 300


@dataclass(frozen=True, slots=True)
class Task:
    """A call to run again. `module` and `name`: where its function stands, on the page of that name if `module` is "".
    `packages`: versions of what was installed when it ran, as far as its run recorded that. `is_kept`: others need its
    result, which is not stored any more."""

    key: str
    meta: Meta
    module: str = ""
    name: str = ""
    page: str = ""
    seed: bool = False
    hidden: tuple[str, ...] = ()
    packages: Mapping[str, str] = field(default_factory=dict)
    is_kept: bool = False

    def answer(self, outcome: Any, **facts: Any) -> ReproducedCall:
        """What came of it."""
        meta = self.meta
        return ReproducedCall(meta.step, self.key, outcome, meta.output, recorded_duration_s=meta.duration_s, **facts)


def kept_code(store: Store, key: str) -> KeptCode | None:
    """The code of a call, if its entry and its code are there."""
    entries = store.entries(bytes.fromhex(key))
    fingerprint = entries[0].meta.fingerprint if entries else ""
    return codes.recall(store, bytes.fromhex(fingerprint)) if fingerprint else None


class Workshop:
    """Where calls are run again: `store` has what is recorded, `scratch` takes what is computed on the way, `folder`
    files that are needed."""

    def __init__(self, store: Store, scratch: Store, folder: str) -> None:
        self.store, self._scratch, self._folder = store, scratch, folder

    def reproduced(self, task: Task, find: Callable[[], Any], given: Mapping[str, Any]) -> ReproducedCall:
        """Run the function that `find()` gives on the recorded arguments, and compare. Never raises."""
        try:
            return self._reproduced(task, find(), given)
        except NotPossible as why:
            return task.answer(NOT_POSSIBLE, reason=str(why))
        except Exception as error:  # noqa: BLE001  the recorded code, run in another world, may do anything
            return task.answer(NOT_POSSIBLE, reason=_told(error))

    def _reproduced(self, task: Task, found: Any, given: Mapping[str, Any]) -> ReproducedCall:
        differences = self._differences(task, found)
        started = time.perf_counter()
        try:
            value = self._computed(task, found, given)
        except NotPossible:
            raise
        except Exception as error:  # noqa: BLE001  as above
            return task.answer(NOT_POSSIBLE, reason=f"it raised {_told(error)}", differences=differences)
        took = time.perf_counter() - started
        if task.is_kept:
            self._keep(task, value)
        digest = _digest(value)
        facts: dict[str, Any] = {"found": digest, "duration_s": took, "differences": differences}
        if digest is None or task.meta.output is None:
            return task.answer(NOT_POSSIBLE, reason=f"its result has no digest: {describe(value)}", **facts)
        if digest == task.meta.output:
            return task.answer(SAME, **facts)
        again = _digest(self._computed(task, found, given))
        recorded = self._recorded(task)
        far = None if recorded is None else distance(recorded, value)
        return task.answer(DIFFERENT, is_deterministic=again == digest, distance=far, **facts)

    def _computed(self, task: Task, found: Any, given: Mapping[str, Any]) -> Any:
        function = found.fn if isinstance(found, Step) else found
        positional, named = bound(function, task.meta, given, self.result_of)
        options = found.options if isinstance(found, Step) else Options(seed=task.seed)
        with seeding(options, bytes.fromhex(task.key)):
            return self._whole(task, function(*positional, **named))

    def _whole(self, task: Task, value: Any) -> Any:
        """The value itself; of a coroutine or a generator, what it gives when it has run."""
        if inspect.iscoroutine(value):
            return asyncio.run(value)
        self._scratch.create()
        draining = writing.Draining(self._scratch, bytes.fromhex(task.key), os.urandom(16), task.meta.step)
        if inspect.isasyncgen(value):
            return asyncio.run(draining.all_of_async(value)).value
        return draining.all_of(value).value if writing.is_generator(value) else value

    def result_of(self, key: str) -> Any:
        """The result of another call, as it is stored, or as it was computed on the way."""
        raw = bytes.fromhex(key)
        problem = "it is not stored any more"
        for store in (self._scratch, self.store):
            for entry in store.entries(raw):
                try:
                    return self._loaded(store, entry)
                except Exception as error:  # noqa: BLE001  whatever loading a value of the user's meets
                    problem = _told(error)
        raise NotPossible(f"the result of the call {key[:12]} cannot be loaded: {problem}")

    def _loaded(self, store: Store, entry: Entry) -> Any:
        """The value of an entry, without putting files back: what lies in their place today is the user's."""
        readers = [store.objects.reader(ref) for ref in entry.objects]
        if entry.executes_code:
            self._find_classes(entry)
        if entry.codec in ("file", "dir"):
            folder = os.path.join(self._folder, entry.id.hex())
            return decode_below(folder, entry.codec, entry.head, readers)
        return decode(entry.codec, entry.head, readers, allow_pickle=entry.executes_code)

    def _find_classes(self, entry: Entry) -> None:
        """Called before a pickle is loaded, which may name classes of the script that made it."""

    def _recorded(self, task: Task) -> Any:
        try:
            return self.result_of(task.key) if not task.is_kept else None
        except NotPossible:
            return None

    def _keep(self, task: Task, value: Any) -> None:
        stored = writing.store_value(self._scratch, value, format=None)
        entry = Entry(
            bytes.fromhex(task.key),
            os.urandom(16),
            time.time(),
            stored.codec,
            stored.head,
            stored.objects,
            stored.executes_code,
            packed_meta=task.meta.packed(),
        )
        self._scratch.add_entry(entry, step=task.meta.step)

    # -- what differs ------------------------------------------------------------------------------

    def _differences(self, task: Task, found: Any) -> tuple[Difference, ...]:
        rows = [Difference("secret", name, "what it was", _HIDDEN) for name in task.hidden]
        python = platform.python_version()
        if task.meta.python and task.meta.python != python:
            rows.append(Difference("python", "", task.meta.python, python))
        present = found.fingerprint if isinstance(found, Step) else fingerprint(found)
        rows += self._of_code(task, present)
        named = {row.name for row in rows if row.kind == "package"}
        rows += [row for row in _of_packages(task.packages) if row.name not in named]
        rows += _of_extras(task.meta, found)
        return tuple(rows)

    def _of_code(self, task: Task, present: Fingerprint) -> list[Difference]:
        if present.digest.hex() == task.meta.fingerprint:
            return []
        old = parts.recall(self.store, bytes.fromhex(task.meta.fingerprint))
        if old is None:
            return [Difference("function", task.meta.step, task.meta.fingerprint[:12], present.digest.hex()[:12])]
        before = [(part.label, part.kind, part.digest, part.description) for part in old]
        changes = diff(before, map(Part.recorded, present.parts))
        # Things named with depends= belong to the decorator, which a page does not keep.
        return [
            Difference(change.kind, change.label, change.old, change.new)
            for change in changes
            if change.change != "renamed" and not change.label.startswith("depends[")
        ]


_HIDDEN = "<hidden>, since texts that are assigned to names of secrets are not recorded"


def _of_packages(recorded: Mapping[str, str]) -> list[Difference]:
    """Installed packages that are loaded now, and had another version when the run recorded them."""
    import sys

    from mlflowish.hashing.packages import distribution_of, realm_of_module

    known = {name.lower().replace("_", "-"): version for name, version in recorded.items()}
    tops = {name.partition(".")[0] for name in list(sys.modules)} if known else set()
    found = {}
    for top in sorted(tops):
        if realm_of_module(top) == "package" and (now := distribution_of(top)) is not None:
            then = known.get(now[0])
            if then is not None and then != now[1]:
                found[now[0]] = Difference("package", now[0], then, now[1])
    return list(found.values())


def _of_extras(meta: Meta, found: Any) -> list[Difference]:
    """Declared extras (version, variables of the environment) whose values are others now."""
    if not isinstance(found, Step):
        return []
    now = {name: hexdigest(value) for name, value in found.identifier.extra_values()}
    return [
        Difference("extra", name, digest[:12], now[name][:12])
        for name, digest in meta.extras
        if name in now and now[name] != digest
    ]


def _digest(value: Any) -> str | None:
    try:
        return hexdigest(value)
    except (UncacheableError, MlflowishError):
        return None


def _told(error: BaseException) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text[:_TEXT]}" if text else type(error).__name__
