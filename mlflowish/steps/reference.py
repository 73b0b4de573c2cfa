"""Results passed on by reference: calls whose arguments rest in the store, identified without loading them.

The law: a call with references has the key that the same call has with the loaded values. A reference carries the
digest that was recorded when its value was stored; where a key needs more than that (plain values count by their
bytes), or the digest may have changed since (code in the value was edited), the value is loaded to identify it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mlflowish.codecs import decode
from mlflowish.errors import MlflowishError, ResultGoneError
from mlflowish.hashing.identified import OTHER, PLAIN, SCALAR, still_identified
from mlflowish.hashing.writer import Done
from mlflowish.steps import writing
from mlflowish.steps.identity import Identity
from mlflowish.steps.keys import arguments_token
from mlflowish.steps.loading import load_value
from mlflowish.steps.provenance import SHARED, remember
from mlflowish.steps.sources import Source, sources_of
from mlflowish.store import Entry, Meta, Store

if TYPE_CHECKING:
    from mlflowish.steps.calls import Call
    from mlflowish.steps.wrapper import Step

_INLINE_BYTES = 4096
_CONTAINERS = frozenset({list, tuple, dict})
_FILES = "mlflowish.store.files"
Own = Callable[[tuple[Any, ...], dict[str, Any]], tuple[tuple[Any, ...], dict[str, Any]]]

ABSENT: Any = type("Absent", (), {"__repr__": lambda self: "<absent>", "__reduce__": lambda self: "ABSENT"})()
"""The value of an `Outcome` whose result rests in the store."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Stands for the stored result of a call: may be given to `Step.call_by_reference` in place of the value, also
    inside lists, tuples and dicts. Picklable; it names no store, whoever uses it says which.

    `key`: of the call. `entry_id`: of its entry. `digest`: value digest of the result, 32 hex digits, None if it has
    none. `kind`, `code`: what that digest rests on, see `hashing.identified`. `inline`: codec and bytes of a small
    result.
    """

    key: bytes
    entry_id: bytes
    digest: str | None
    kind: str
    code: tuple[tuple[str, str, bytes], ...] = ()
    inline: tuple[str, bytes] | None = field(default=None, repr=False)
    description: str = field(default="", compare=False)  # one line about the result

    @classmethod
    def to(cls, entry: Entry, meta: Meta | None = None) -> Reference:
        """The reference to the result that an entry holds; `meta` is the entry's, if it was parsed already."""
        meta = meta or entry.meta
        small = not entry.objects and not entry.executes_code and len(entry.head) <= _INLINE_BYTES
        inline = (entry.codec, entry.head) if small else None
        return cls(
            entry.key, entry.id, meta.output, meta.output_kind, meta.output_code, inline, meta.output_description
        )

    def load(self, store: Store) -> Any:
        """The value: new and the caller's own, each time. ResultGoneError if it cannot be had any more."""
        try:
            return self._decoded(store)
        except ResultGoneError:
            raise
        except Exception as error:  # whatever happens in putting it together, it can be computed again
            raise self._gone(store, f"it cannot be read: {error or type(error).__name__}") from error

    def _decoded(self, store: Store) -> Any:
        if self.inline is not None:
            codec, head = self.inline
            value = decode(codec, head, (), allow_pickle=store.allow_pickle)
        else:
            entry = self._entry(store)
            codec, head = entry.codec, entry.head
            value = load_value(store, entry)
        if type(value) not in SHARED:
            remember(value, self.key.hex(), codec=codec, size_bytes=len(head))
        return value

    def _entry(self, store: Store) -> Entry:
        entries = store.entries(self.key)
        if all(entry.id != self.entry_id for entry in entries):
            # What another machine has just stored may be news here.
            store.journals("calls").refresh()
            entries = store.entries(self.key)
        for entry in entries:
            if entry.id == self.entry_id:
                return entry
        for entry in entries:
            if self.digest is not None and entry.meta.output == self.digest:
                return entry
        # Another result under the same key is another value: what is computed from it has another key.
        raise self._gone(store, "its entry is not there any more")

    def _gone(self, store: Store, why: str) -> ResultGoneError:
        return ResultGoneError(
            f"The result of call {self.key.hex()} in {store.url} was to be loaded, and {why}. Run that step again.",
            key=self.key.hex(),
        )

    @property
    def holds_files(self) -> bool:
        """Is a file or folder in it, which loading puts back where it belongs? True where that is not known."""
        if not self.code:
            return not self.kind
        return any(module == _FILES or not module for module, _, _ in self.code)


@dataclass(frozen=True, slots=True)
class Known:
    """A value that is at hand, for an argument of a call by reference, and the key of the call that it is part of the
    result of: numbers and texts do not tell that themselves."""

    value: Any
    key: bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call by reference ended. `reference` to its result; `value` only where the store has no part in it, else
    ABSENT. `key`: 32 hex digits or None. `duration_s`: how long the function ran, now or when it was computed.
    `reason`: why the result is not in the store, None if it is."""

    reference: Reference | None
    value: Any
    hit: bool
    key: str | None
    step: str
    duration_s: float
    reason: str | None = None
    run_id: str | None = None
    observed: tuple[tuple[str, str, bytes], ...] = ()  # what has to be unchanged before the result may be used again

    def load(self, store: Store) -> Any:
        """The value, wherever it is."""
        return self.value if self.reference is None else self.reference.load(store)


@dataclass(frozen=True, slots=True)
class Miss:
    """A call by reference that has to run, identified already."""

    step: Step[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    identity: Identity

    def compute(self, own: Own | None = None) -> Outcome:
        """Load what it refers to, run it, store it. `own` makes arguments that are this call's alone."""
        step, identity, store = self.step, self.identity, self.step.store
        load = _Loader(store)
        args, kwargs = (self.args, self.kwargs) if own is None else own(self.args, self.kwargs)
        args, kwargs = load.all_in(args), load.all_in(kwargs)
        if args is not self.args or kwargs is not self.kwargs:
            values = step.identifier.values_of(args, kwargs)
            sources = _sources(step.identifier.names, identity.values, values)
            identity = _Referring(identity.key, values, identity.fingerprint, identity.token, identity.reason, sources)
        return _outcome(step, store, step.compute(identity, args, kwargs))


def find_by_reference(step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Outcome | Miss:
    """The outcome of a call if it is stored, without loading it; else what computes it."""
    identity = identify_by_reference(step, args, kwargs)
    if identity.key is None or not step.options.cache:
        return Miss(step, args, kwargs, identity)
    entry = step.find_entry(step.store, identity)
    if entry is None:
        return Miss(step, args, kwargs, identity)
    meta = entry.meta
    reference = Reference.to(entry, meta)
    if reference.holds_files:
        try:
            reference.load(step.store)
        except ResultGoneError as error:
            step.warn(f"its stored result is computed again: {error}")
            return Miss(step, args, kwargs, identity)
    step.note_hit_by_reference(identity, meta)
    return Outcome(reference, ABSENT, True, identity.hex, step.name, meta.duration_s, None, meta.run_id, entry.observed)


def identify_by_reference(step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Identity:
    """Who a call is, some of whose arguments are references: the key is that of the call with the loaded values."""
    return step.identify(args, kwargs, _Loader(step.store).token)


def items_of(iterable: Any, store: Store) -> Any:
    """The items of a stored result, each knowing where it is from; anything else as it is."""
    if type(iterable) is not Reference:
        return iterable
    from mlflowish.units import Unit, Units
    from mlflowish.units.storing import fixed

    def known(item: Any) -> Any:
        if isinstance(item, Unit):  # each of its values is an argument
            return replace(item, values=tuple(Known(value, iterable.key) for value in item.values))
        return Known(item, iterable.key)

    loaded = iterable.load(store)
    if isinstance(loaded, Units):
        return fixed([known(unit) for unit in loaded.listed().units])
    return [known(item) for item in loaded] if isinstance(loaded, Iterable) else loaded


def described(name: str, value: Any) -> str:
    """One line about an argument that may be a reference."""
    told = writing.described(name, value)
    return value.description if type(value) is Reference and not writing.sounds_secret(name) else told


def token_of(store: Store, names: Sequence[str], values: Sequence[Any]) -> bytes:
    """What arguments add to a key, some of which are references."""
    return _Loader(store).token(names, values)


def load_all(value: Any, store: Store) -> Any:
    """The value with every reference in it loaded, also inside lists, tuples and dicts."""
    return _Loader(store).all_in(value)


@dataclass(frozen=True, slots=True)
class _Referring(Identity):
    """A call whose sources are known, because they were referred to."""

    sources: tuple[Source, ...] = ()


class _Loader:
    """Replaces references, for one call: what is referred to twice is loaded once, and is one object, as in a call."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.loaded: dict[bytes, Any] = {}

    def load(self, reference: Reference) -> Any:
        """The value referred to."""
        if reference.entry_id not in self.loaded:
            self.loaded[reference.entry_id] = reference.load(self._store)
        return self.loaded[reference.entry_id]

    def all_in(self, value: Any) -> Any:
        """The value with every reference in it loaded."""
        return _replaced(value, self.load)

    def token(self, names: Sequence[str], values: Sequence[Any]) -> bytes:
        """What the arguments add to the key: `keys.arguments_token` of the loaded values."""
        return arguments_token(names, [self._argument(value) for value in values])

    def _argument(self, value: Any) -> Any:
        if type(value) is Reference:
            return self._digest_unless(value, (SCALAR,))
        # A `Known` within is replaced by its value there, too.
        return _replaced(value, lambda reference: self._digest_unless(reference, (SCALAR, PLAIN)))

    def _digest_unless(self, reference: Reference, kinds: tuple[str, ...]) -> Any:
        """The recorded digest in place of the value; the value where it counts otherwise, or its digest may differ."""
        known = reference.kind in (SCALAR, PLAIN, OTHER) and reference.kind not in kinds
        if known and reference.digest is not None and still_identified(reference.code):
            return Done(bytes.fromhex(reference.digest))
        return self.load(reference)


def references_in(value: Any) -> Iterator[tuple[str, Reference | Known]]:
    """Every reference in a value, also inside lists, tuples and dicts, with its place: `("[0]['x']", reference)`."""
    if type(value) in _STANDING:
        yield "", value
    elif _may_hold(value):
        members = value.items() if type(value) is dict else enumerate(value)
        for name, member in members:
            if type(member) in _STANDING or _may_hold(member):
                shown = f"{name!r:.60}" if type(name) in SHARED else type(name).__name__
                yield from ((f"[{shown}]{place}", found) for place, found in references_in(member))


def _may_hold(value: Any) -> bool:
    """Can there be references in it? At the speed of C for the long lists of numbers that have none."""
    if type(value) not in _CONTAINERS:
        return False
    kinds = set(map(type, value.values() if type(value) is dict else value))
    return not kinds.isdisjoint(_HOLDING)


_STANDING = frozenset({Reference, Known})
_HOLDING = _STANDING | _CONTAINERS


def _replaced(value: Any, replace: Callable[[Reference], Any]) -> Any:
    """The value with `replace(reference)` for each reference in it; itself if it has none."""
    if type(value) is Reference:
        return replace(value)
    if type(value) is Known:
        return value.value
    if not _may_hold(value) or next(references_in(value), None) is None:
        return value
    if type(value) is dict:
        return {name: _replaced(member, replace) for name, member in value.items()}
    return type(value)(_replaced(member, replace) for member in value)


def _sources(names: Sequence[str], referring: Sequence[Any], values: Sequence[Any]) -> tuple[Source, ...]:
    """What `sources_of` sees in the loaded values, and what was referred to and has no identity to be seen by."""
    seen = dict.fromkeys(sources_of(names, values))
    known = {(name, key) for name, _, key in seen}
    for name, value in zip(names, referring, strict=True):
        for place, reference in references_in(value):
            key = reference.key.hex()
            if (name, key) not in known:
                known.add((name, key))
                seen[name, place, key] = None
    return tuple(seen)


def _outcome(step: Step[..., Any], store: Store, call: Call) -> Outcome:
    entry = _stored(store, call) if call.uncached_reason is None and call.key is not None else None
    return Outcome(
        Reference.to(entry) if entry is not None else None,
        call.value if entry is None else ABSENT,
        call.hit,
        call.key,
        step.name,
        call.duration_s,
        call.uncached_reason,
        call.run_id,
        entry.observed if entry is not None else (),
    )


def _stored(store: Store, call: Call) -> Entry | None:
    assert call.key is not None
    try:
        entries = store.entries(bytes.fromhex(call.key))
        return next((entry for entry in entries if entry.meta.output == call.output), None)
    except MlflowishError:  # out of reach since it was stored: the value is here, and is passed on itself
        return None
