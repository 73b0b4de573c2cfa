"""`Step`: an ordinary function whose calls are looked up before they run, and stored after."""

from __future__ import annotations

import functools
import inspect
import time
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from mlflowish.errors import IntegrityError, StorageError, UncachedWarning
from mlflowish.steps import accepting, using, writing
from mlflowish.steps.auditing import still_valid
from mlflowish.steps.bound import BoundStep, check_class_is_there
from mlflowish.steps.calls import Call
from mlflowish.steps.frames import current_frame
from mlflowish.steps.identity import Identifier, Identity, Tokenizer, default_name
from mlflowish.steps.job import Job
from mlflowish.steps.keys import arguments_token
from mlflowish.steps.lease import leased
from mlflowish.steps.living import living
from mlflowish.steps.loading import load_value
from mlflowish.steps.noting import tell
from mlflowish.steps.options import Options
from mlflowish.steps.provenance import SHARED, remember
from mlflowish.steps.reloading import follow_autoreload
from mlflowish.steps.running import run
from mlflowish.steps.tracing import recorder
from mlflowish.steps.travelling import by_name, has_name, named
from mlflowish.store import Entry, Store, as_store, remembered
from mlflowish.store.context import CallNote, on_call

if TYPE_CHECKING:
    from mlflowish.executors import Future
    from mlflowish.hashing import Fingerprint
    from mlflowish.steps.explaining import Explanation
    from mlflowish.steps.reference import Outcome
    from mlflowish.store import Meta, Table


P = ParamSpec("P")
R = TypeVar("R")


class Step(Generic[P, R]):
    """A function as a step. Call it as the function; see `mlflowish.step`.

    Thread-safe. Works as a method. Picklable where its function is importable; cloudpickle carries the others.
    """

    def __init__(self, function: Callable[P, R], options: Options) -> None:
        functools.update_wrapper(self, function)
        self.fn = function
        self.options = options
        self.name = options.name or default_name(function)
        self.identifier = Identifier(function, options, step=self.name)
        # What would not become a method without us (an object, a builtin, a bound method) does not with us.
        self._binds = hasattr(type(function), "__get__") and not isinstance(function, types.MethodType)
        follow_autoreload(Step)
        living[self.name] = self

    # -- calling -----------------------------------------------------------------------------------

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        if (tracing := recorder.get()) is not None:
            node: R = tracing.call(self, args, kwargs)
            return node
        identity = self.identifier.identify(args, kwargs)
        found = self._look_up(identity)
        value: R = found[1] if found is not None else self.compute(identity, args, kwargs).value
        return value

    def call(self, /, *args: Any, **kwargs: Any) -> Any:
        """Like calling it, but the whole `Call`: value, hit, key, inputs, output, duration, and why it is uncached if
        it is.

        >>> import mlflowish as mf
        >>> @mf.step
        ... def double(x):
        ...     return 2 * x
        >>> double.call(4).hit, double.call(4).hit, double.call(4).value
        (False, True, 8)
        """
        identity = self.identify(args, kwargs)
        found = self._look_up(identity)
        return self.hit_call(identity, *found) if found is not None else self.compute(identity, args, kwargs)

    def call_by_reference(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Outcome:
        """Like `call`, with nothing loaded that need not be: arguments may be a `Reference`, also inside lists, tuples
        and dicts, and the result is one. A hit costs a look-up, however large the data. Waits for coroutines.

        ResultGoneError if something referred to is not in the store any more and is needed.
        """
        from mlflowish.steps.reference import Outcome, find_by_reference

        found = find_by_reference(self, args, kwargs)
        return found if isinstance(found, Outcome) else found.compute()

    def look_up(self, identity: Identity) -> tuple[Entry, Any] | None:
        """The entry and value of a call if it is stored; runs nothing."""
        return self._look_up(identity)

    def identify(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], token_of: Tokenizer = arguments_token
    ) -> Identity:
        """Who a call is that is asked about, and not simply made."""
        if (tracing := recorder.get()) is not None:
            tracing.question(self, "call, is_cached or explain")
        check_class_is_there(self, args, kwargs)
        return self.identifier.identify(args, kwargs, token_of)

    def _look_up(self, identity: Identity) -> tuple[Entry, Any] | None:
        if identity.key is None or not self.options.cache:
            return None
        store = self.store
        found = self.find(store, identity)
        if found is not None:
            self._note_hit(identity.key, *found)
            if self.identifier.noted_in is not store:
                self.note_code(store, identity)
            if remembered.waiting:
                remembered.write_down(store)
        return found

    def note_code(self, store: Store, identity: Identity) -> None:
        """Let the store know which code calls go by: once per fingerprint, in this process."""
        assert identity.fingerprint is not None
        using.note(store, self.name, identity.fingerprint.digest)
        self.identifier.noted_in = store

    def _note_hit(self, key: bytes, entry: Entry, value: Any) -> None:
        """Let the step around this call, whoever listens, and whoever asks for a producer later, know of it."""
        if type(value) not in SHARED:
            remember(value, key.hex(), codec=entry.codec, size_bytes=len(entry.head))
        self._tell_hit(key, entry.meta if on_call.get() is not None else None)

    def _tell_hit(self, key: bytes, meta: Meta | None) -> None:
        if (frame := current_frame.get()) is not None:
            frame.children.append(key.hex())
        if meta is not None and on_call.get() is not None:
            tell(CallNote(key.hex(), self.name, True, meta.duration_s, meta.output))

    def note_hit_by_reference(self, identity: Identity, meta: Meta) -> None:
        """The same for a hit whose value stays where it is."""
        assert identity.key is not None
        store = self.store
        self._tell_hit(identity.key, meta)
        if self.identifier.noted_in is not store:
            self.note_code(store, identity)
        if remembered.waiting:
            remembered.write_down(store)

    @property
    def declared(self) -> list[tuple[str, Any]]:
        """What `@step` was told that counts beside the code, by name: of a step that calls this one, too."""
        depends = [(f"depends[{place}]", item) for place, item in enumerate(self.options.depends)]
        # What is ignored no longer is what makes other results of the same calls.
        ignored = [("ignore", sorted(self.options.ignore))] if self.options.ignore else []
        return [*self.identifier.extra_values(), *depends, *ignored]

    @property
    def store(self) -> Store:
        """Where this step's results are now: `step(store=...)`, else the active store."""
        return as_store(self.options.store)

    def find(self, store: Store, identity: Identity) -> tuple[Entry, Any] | None:
        """The newest entry that can be used, with its value; None to compute."""
        for entry in self._entries(store, identity):
            if not self.usable(entry):
                continue
            try:
                return entry, load_value(store, entry)
            except Exception as error:  # noqa: BLE001  what can be computed is, whatever happens in putting a stored value together
                self.warn(f"its stored result cannot be read and is computed again: {error or type(error).__name__}")
        return None

    def find_entry(self, store: Store, identity: Identity) -> Entry | None:
        """The newest entry that can be used, its value not loaded."""
        return next(filter(self.usable, self._entries(store, identity)), None)

    def _entries(self, store: Store, identity: Identity) -> list[Entry]:
        key = identity.key
        assert key is not None  # callers ask for calls that have an identity
        try:
            return store.entries(key) or accepting.entries(store, self.identifier, identity)
        except (StorageError, IntegrityError) as error:
            self.warn(f"looking it up failed: {error}")
            return []

    def usable(self, entry: Entry) -> bool:
        """May this entry be read back now: young enough, and its observed dependencies unchanged?"""
        max_age = self.options.max_age
        # Dated ahead of now, by a clock that was wrong, a result would stay young for as long as that.
        if max_age is not None and abs(time.time() - entry.created_s) > max_age:
            return False
        return not entry.observed or still_valid(entry.observed)

    def hit_call(self, identity: Identity, entry: Entry, value: Any) -> Call:
        """The record of a call that was read back."""
        meta = entry.meta
        frame = current_frame.get()
        inputs = {name: digest for name, digest, _ in meta.arguments}
        parent = frame.key if frame else None
        return Call(
            value, True, identity.hex, self.name, inputs, meta.output, meta.duration_s, meta.run_id, None, parent
        )

    # -- computing ---------------------------------------------------------------------------------

    def compute(self, identity: Identity, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        """Run a call that is not stored, and store it."""
        if self.options.lock is None or identity.key is None:
            return self._run_and_store(identity, args, kwargs)
        with self._leased(identity) as found:
            if found is not None:
                return self.hit_call(identity, *found)
            return self._run_and_store(identity, args, kwargs)

    @contextmanager
    def _leased(self, identity: Identity) -> Iterator[tuple[Entry, Any] | None]:
        """Hold the key's lease in the block; gives the result instead if another holder stored it meanwhile."""
        store, key, length_s = self.store, identity.key, self.options.lock
        assert key is not None
        assert length_s is not None
        with leased(store, key, length_s, find=lambda: self.find(store, identity), warn=self.warn) as found:
            if found is not None:
                self._note_hit(key, *found)
            yield found

    def _run_and_store(self, identity: Identity, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        job = Job(self, identity)
        drained: list[Call] = []

        def computed() -> Any:
            value: Any = self.fn(*args, **kwargs)
            if writing.is_generator(value):
                # Its body runs while it is drained: so that retries, timeout and seed are about that.
                drained.append(job.finish_generator(value))
            return value

        with job.running():
            value = run(computed, self.options, step=self.name, key=identity.key)
        return drained[-1] if drained else job.finish(value)

    # -- questions ---------------------------------------------------------------------------------

    def is_cached(self, /, *args: Any, **kwargs: Any) -> bool:
        """Would this call be read back? Runs nothing, loads nothing.

        >>> import mlflowish as mf
        >>> @mf.step
        ... def triple(x):
        ...     return 3 * x
        >>> triple.is_cached(1), triple(1), triple.is_cached(1)
        (False, 3, True)
        """
        identity = self.identify(args, kwargs)
        if identity.key is None or not self.options.cache:
            return False
        store = self.store
        entries = store.entries(identity.key) or accepting.entries(store, self.identifier, identity)
        return any(self.usable(entry) for entry in entries)

    def explain(self, /, *args: Any, **kwargs: Any) -> Explanation:
        """Why this call would be a hit or a miss: which argument, helper, global, class or package differs from the
        nearest stored call.

        >>> import mlflowish as mf
        >>> @mf.step
        ... def scaled(x, by=1):
        ...     return x * by
        >>> _ = scaled(2)
        >>> [(found.kind, found.name, found.old, found.new) for found in scaled.explain(2, by=5).differences]
        [('argument', 'by', '1', '5')]
        """
        from mlflowish.steps.explaining import explain

        return explain(self, args, kwargs)

    def history(self) -> Table:
        """Past calls of this step that ran, oldest first: key, time, duration, status, arguments.

        >>> import mlflowish as mf
        >>> @mf.step
        ... def half(x):
        ...     return x / 2
        >>> _ = half(3), half(3), half(5)
        >>> half.history().column("arguments")
        ['x=3', 'x=5']
        """
        from mlflowish.steps.past import history

        return history(self)

    def forget(self, /, *args: Any, **kwargs: Any) -> int:
        """Drop the entry of this call; without arguments, all of the step's. Returns how many were dropped. What hits
        it now is computed again.

        >>> import mlflowish as mf
        >>> @mf.step
        ... def square(x):
        ...     return x * x
        >>> _ = square.map([1, 2, 3])
        >>> square.forget(1), square.forget(), square.is_cached(2)
        (1, 2, False)
        """
        from mlflowish.steps.past import forget

        return forget(self, args, kwargs)

    @property
    def fingerprint(self) -> Fingerprint:
        """What the code is now: `.digest` and `.parts`, everything that it depends on.

        >>> import mlflowish as mf
        >>> RATE = 3
        >>> @mf.step
        ... def rated(x):
        ...     return x * RATE
        >>> sorted({part.kind for part in rated.fingerprint.parts})
        ['function', 'value']
        """
        return self.identifier.current()

    # -- many at once ------------------------------------------------------------------------------

    def submit(self, /, *args: Any, **kwargs: Any) -> Future:
        """A future of the call on the active executor. Futures among the arguments, also inside lists, tuples and
        dicts, are waited for.

        >>> import mlflowish as mf
        >>> @mf.step
        ... def add(a, b):
        ...     return a + b
        >>> add.submit(add.submit(1, 2), 3).result()
        6
        """
        from mlflowish.steps.fanout import submit

        return submit(self, args, kwargs)

    def map(self, /, *iterables: Any, **common: Any) -> list[Any]:
        """The results of a call for each item (of each iterable, in step), in order; `common` goes to every call.

        Only items without a stored result run, equal ones once, on the active executor. All are finished before a
        failure is raised, as StepError with `.failures` (index -> exception); running it again computes only what
        failed. Over units (`mf.files("*.csv")`, `mf.partitions(table, by=...)`, ...) they are also found by name:
        `results["data/a.csv"]`. `batch=100` submits so many tiny items together, if the step has no parameter of that
        name. StepError if two items return one file.

        >>> import mlflowish as mf
        >>> @mf.step
        ... def plus(x, n=0):
        ...     return x + n
        >>> plus.map([1, 2, 3], n=10)
        [11, 12, 13]
        """
        results: list[Any] = self.map_bound((), iterables, common)
        return results

    def map_bound(self, first: tuple[Any, ...], iterables: tuple[Any, ...], common: dict[str, Any]) -> Any:
        """`map`, with `first` in front of the arguments of every call."""
        from mlflowish.steps.mapping import map_step

        return map_step(self, first, iterables, common)

    # -- being a function --------------------------------------------------------------------------

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None or not self._binds else BoundStep(self, instance)

    def warn(self, reason: str) -> None:
        """Tell the caller that the value was returned, and why the store has no part in it."""
        warnings.warn(f"{self.name}: {reason}", UncachedWarning, stacklevel=_stacklevel())

    def __reduce__(self) -> Any:
        if has_name(self, self.fn):
            return by_name, (self.fn.__module__, self.fn.__qualname__)
        return named, (type(self), self.fn, self.options, self.name)

    def __repr__(self) -> str:
        return f"<step {self.name}{inspect.signature(self.fn)}>"


def _stacklevel() -> int:
    """How far up the first frame outside this package is: warnings point at the user's line."""
    frame, level = inspect.currentframe(), 0
    while frame is not None and str(frame.f_globals.get("__name__", "")).startswith(
        ("mlflowish.", "contextlib", "asyncio")
    ):
        frame, level = frame.f_back, level + 1
    return max(level, 1)
