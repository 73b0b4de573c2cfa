"""A call of a step on its way to another process: what travels, what comes back, and that it means the same there.

Only references travel: results of other calls rest in the store, and the worker reads what it needs from there. The
driver looks the call up before anything is sent, and tells the worker the key that it found; a worker whose code or
packages would give another key is refused, or warned about, before it runs anything.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import Context, copy_context
from dataclasses import dataclass
from functools import partial
from types import CodeType
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from mlflowish.errors import CapabilityError, NotFoundError, ResultGoneError, StorageError
from mlflowish.executors import Executor, Future
from mlflowish.executors.packing import Answer, Known, Warned, failed
from mlflowish.hashing import Fingerprint
from mlflowish.hashing.source import known_units, learn_units
from mlflowish.steps import reference
from mlflowish.steps.elsewhere import means_other_data, other_files, unseen
from mlflowish.steps.frames import Frame, current_frame
from mlflowish.steps.keys import argument_digests
from mlflowish.steps.lending import Lent, lend
from mlflowish.steps.provenance import SHARED, pass_on, producers_in
from mlflowish.steps.reference import Miss, Outcome, Reference, find_by_reference
from mlflowish.steps.refusing import cannot_travel, means_other_code, why_not
from mlflowish.steps.travelling import sent_files
from mlflowish.store import Store
from mlflowish.store.context import Around, carried
from mlflowish.store.store import block_stores

if TYPE_CHECKING:
    from mlflowish.steps.wrapper import Step

_REMEMBERED = 256
PartDigests = tuple[tuple[str, str, bytes], ...]
Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class Departure:
    """Calls of one step in the driver, until they leave: one, or several that are too small to travel alone."""

    def __init__(
        self, step: Step[..., Any], calls: list[Arguments], on_mismatch: str, *, misses: list[Miss] | None = None
    ) -> None:
        self.step, self.calls, self._on_mismatch = step, calls, on_mismatch
        self._misses = misses
        self.store = require_shared(step.store, step.name)
        self.__qualname__ = step.name
        self._frame = current_frame.get()
        self._context: Context = copy_context()
        self.is_single = False

    def __call__(self) -> Any:
        """What an executor would do that keeps functions in this process."""
        raise NotImplementedError(f"{self.step.name} was prepared for another process")

    def ready(self) -> Any:
        """Called when what the calls wait for is done: `Known` outcomes, or what has to travel."""
        return self._context.run(self._looked_up)

    def _looked_up(self) -> Any:
        found: list[Outcome | Miss] = [*(self._misses or ())] or [
            find_by_reference(self.step, referring(args), referring(kwargs)) for args, kwargs in self.calls
        ]
        self._outcomes = found
        misses = [one for one in found if isinstance(one, Miss)]
        if not misses:
            return Known(self._result())
        fingerprint = misses[0].identity.fingerprint
        packed, units = _packed(self.step, fingerprint)
        parts = tuple((part.kind, part.label, part.digest) for part in fingerprint.parts) if fingerprint else ()
        frame = (self._frame.step, self._frame.key) if self._frame is not None else None
        calls = tuple(Sent.of(miss, self.store) for miss in misses)
        if len(calls) > 1 and any(map(_may_share, misses)):
            import cloudpickle

            # In one pickle an object that several calls get would be one object there, too.
            try:
                calls = tuple(cloudpickle.dumps(sent, protocol=pickle.HIGHEST_PROTOCOL) for sent in calls)
            except Exception as error:  # whatever the user's objects raise
                raise self.refuse(error) from error
        return Journey(
            self.step.name, packed, units, calls, parts, self.store, carried(), frame, self._on_mismatch, self.is_single
        )

    def arrived(self, back: Any) -> Any:
        """What came back becomes the result: outcomes of the misses, put where they belong."""
        if self._frame is not None:
            self._frame.children.extend(back.children)
        if not self.store.storage.capabilities.append:
            for outcome in back.outcomes:
                if isinstance(outcome, Outcome) and outcome.reference is not None:
                    self.store.journals("calls").expect(outcome.reference.key)
        arrived = iter(back.outcomes)
        self._outcomes = [next(arrived) if isinstance(one, Miss) else one for one in self._outcomes]
        return self._result()

    def _result(self) -> Any:
        return self._outcomes[0] if self.is_single else self._outcomes

    def opened(self, result: Any) -> Any:
        """The value that an outcome stands for, loaded when somebody asks for it; of several, what gives each."""
        return result.load(self.store) if self.is_single else [partial(_open, one, self.store) for one in result]

    def refuse(self, error: Exception) -> Exception:
        """The error for a call that cannot travel, naming what in it is the reason."""
        for args, kwargs in self.calls:
            for name, value in self._named(args, kwargs):
                if (reason := why_not(value)) is not None:
                    return cannot_travel(self.step, f"its argument '{name}' ({type(value).__qualname__})", reason)
        return cannot_travel(self.step, "the step itself, or something that its code refers to,", str(error))

    def _named(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        names = self.step.identifier.binding.names
        for place, value in enumerate(referring(args)):
            yield names[place] if place < len(names) else str(place), value
        yield from referring(kwargs).items()


@dataclass(frozen=True, slots=True)
class Sent:
    """The arguments of one call as they travel, its key in the driver, what its arguments add to it, who made what, and
    which results of it the driver knows to be removed."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    key: str | None
    token: bytes
    producers: tuple[tuple[int | str, tuple[tuple[Any, str], ...]], ...]
    removals: tuple[bytes, ...]

    @classmethod
    def of(cls, miss: Miss, store: Store) -> Sent:
        """What travels of a call that is not stored: large arguments go by way of the store."""
        identifier, identity = miss.step.identifier, miss.identity
        digests = {}
        if identity.key is not None and identity.token[:1] == b"D":
            digests = dict(argument_digests(identifier.names, identity.values, identity.token))
        names = identifier.binding.names
        named = [names[place] if place < len(names) else "" for place in range(len(miss.args))]
        producers: list[tuple[int | str, Any]] = [*enumerate(map(producers_in, miss.args))]
        producers += [(name, producers_in(value)) for name, value in miss.kwargs.items()]
        return cls(
            tuple(lend(store, value, digests.get(name)) for name, value in zip(named, miss.args, strict=True)),
            {name: lend(store, value, digests.get(name)) for name, value in miss.kwargs.items()},
            identity.hex,
            identity.token if identity.token[:1] == b"D" else b"",
            tuple((place, made) for place, made in producers if made),
            store.removals(identity.key) if identity.key is not None else (),
        )

    def received(self, store: Store) -> Arguments:
        """The arguments, where they have arrived."""
        args = tuple(value.load(store) if type(value) is Lent else value for value in self.args)
        kwargs = {name: value.load(store) if type(value) is Lent else value for name, value in self.kwargs.items()}
        for place, made in self.producers:
            pass_on(args[place] if isinstance(place, int) else kwargs[place], made)
        return args, kwargs


@dataclass(frozen=True, slots=True)
class Back:
    """What a worker gives back: how each call ended, and the keys of the calls that they made."""

    outcomes: tuple[Outcome | Answer, ...]
    children: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Journey:
    """What travels. Called on the worker, it makes the calls."""

    step: str
    packed: bytes
    units: bytes
    calls: tuple[Sent | bytes, ...]
    parts: PartDigests
    store: Store
    arounds: tuple[Around, ...]
    frame: tuple[str, str | None] | None
    on_mismatch: str
    is_single: bool

    def __call__(self) -> Any:
        frame = Frame(*self.frame) if self.frame is not None else None
        store = _opened_stores.setdefault(self.store, self.store)
        warned: list[str] = []
        if not store.storage.capabilities.append:
            # What a bucket's worker knows it would go by for as long as it meets only calls that it knows.
            with suppress(StorageError):  # out of reach: the calls will tell
                store.journals("calls").catch_up()
        try:
            with _surrounded(store, self.arounds, frame):
                outcomes = tuple(self._attempted(sent, store, warned) for sent in self.calls)
        finally:
            if not store.storage.capabilities.append:
                store.flush()  # others can read what this names, and nothing is lost with this machine
        back = Back(outcomes, tuple(frame.children) if frame is not None else ())
        return Warned(back, tuple(dict.fromkeys(warned))) if warned else back

    def _attempted(self, sent: Sent | bytes, store: Store, warned: list[str]) -> Outcome | Answer:
        if self.is_single:
            return self._made(sent, store, warned)
        try:
            return self._made(sent, store, warned)
        except Exception as error:  # noqa: BLE001  the others go on; it is raised for whoever asks for this one
            return failed(error)

    def _made(self, packed: Sent | bytes, store: Store, warned: list[str]) -> Outcome:
        sent: Sent = pickle.loads(packed) if isinstance(packed, bytes) else packed
        args, kwargs = sent.received(store)
        step, key = _unpacked(self.packed, self.units), sent.key
        if key is not None and sent.removals:
            store.hear_of(bytes.fromhex(key), sent.removals)
        try:
            found = find_by_reference(step, args, kwargs)
        except NotFoundError as error:
            if key is None or isinstance(error, ResultGoneError):
                raise
            raise unseen(self.step, error) from error  # the driver has seen it, or it would have no key
        if key is not None and _key_of(found) != key:
            # The call before may have changed what the step's code refers to: begin with what was sent.
            step = _unpacked(self.packed, self.units, anew=True)
            found = find_by_reference(step, args, kwargs)
        if key is not None and (here := _key_of(found)) != key:
            if (files := other_files(step, args, kwargs, sent.token)) is not None:
                raise means_other_data(self.step, key, here, files)
            difference = self._difference(step)
            if self.on_mismatch != "warn":
                raise means_other_code(self.step, key, here, difference)
            warned.append(f"{self.step} has another key on a worker: {difference}")
        return found if isinstance(found, Outcome) else found.compute()

    def _difference(self, step: Step[..., Any]) -> str:
        here: dict[tuple[str, str], bytes] = {
            (part.kind, part.label): part.digest for part in step.identifier.current().parts
        }
        there = {(kind, label): digest for kind, label, digest in self.parts}
        names = [f"{kind} {label}" for kind, label in sorted(here.keys() | there.keys())
                 if here.get((kind, label)) != there.get((kind, label))]  # fmt: skip
        if not names:
            return "its arguments or declared extras (version, env) are others there"
        return f"different are {', '.join(names[:5])}" + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def submit_away(
    executor: Executor, step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], waited: tuple[Future, ...]
) -> Future:
    """A future of a call on an executor of other processes; done at once if the result is stored. `result()` loads the
    value, `raw()` gives the `Outcome`."""
    departure = Departure(step, [(args, kwargs)], executor.on_mismatch)
    departure.is_single = True
    return executor.submit(departure, after=waited, resources=step.options.resources)


def submit_misses(executor: Executor, misses: list[Miss], *, is_single: bool) -> Future:
    """The same for a call that was looked up a moment ago, and is not stored; for several of one step, which travel
    together, `result()` gives a function for each, which gives its value or raises, and `raw()` outcomes or answers."""
    step = misses[0].step
    departure = Departure(step, [(miss.args, miss.kwargs) for miss in misses], executor.on_mismatch, misses=misses)
    departure.is_single = is_single
    return executor.submit(departure, resources=step.options.resources)


def _may_share(miss: Miss) -> bool:
    """Does the call get something that can change, and that another call may get as well?"""
    values = (*miss.args, *miss.kwargs.values())
    return not all(
        type(value.value if type(value) is reference.Known else value) in SHARED or type(value) is Reference
        for value in values
    )


def _open(outcome: Outcome | Answer, store: Store) -> Any:
    return outcome.load(store) if isinstance(outcome, Outcome) else outcome.opened(None)


def referring(value: Any) -> Any:
    """The value with every future in it, also inside lists, tuples and dicts, replaced by the reference to its
    result, or by the result if the store has no part in it."""
    if isinstance(value, Future):
        raw = value.raw()
        if isinstance(raw, Outcome):
            return raw.value if raw.reference is None else raw.reference
        return value.result()
    if type(value) in (list, tuple):
        return type(value)(referring(item) for item in value)
    if type(value) is dict:
        return {name: referring(item) for name, item in value.items()}
    return value


def require_shared(store: Store, step: str) -> Store:
    """The store, if other processes can open it."""
    if store.url.startswith("memory://"):
        raise CapabilityError(
            f"{step} was to run in another process, and the store {store.url} is in the memory of this one. Use a "
            "folder or a bucket, mf.use('path'), or stay here with mf.executor('threads').",
            step=step,
            url=store.url,
        )
    return store


@contextmanager
def _surrounded(store: Store, arounds: tuple[Around, ...], frame: Frame | None) -> Iterator[None]:
    """The block in which calls are surrounded as they were where they were submitted."""
    stores, frames = block_stores.set((store,)), current_frame.set(frame)
    try:
        with ExitStack() as stack:
            for around in arounds:
                stack.enter_context(around())
            yield
    finally:
        current_frame.reset(frames)
        block_stores.reset(stores)


# -- the step itself, packed once and unpacked once --------------------------------------------------------

_packed_steps: OrderedDict[int, tuple[Any, Fingerprint | None, tuple[bytes, bytes]]] = OrderedDict()
_opened_stores: dict[Store, Store] = {}  # one journal for all calls of a worker
_unpacked_steps: OrderedDict[bytes, Any] = OrderedDict()


def _packed(step: Step[..., Any], fingerprint: Fingerprint | None) -> tuple[bytes, bytes]:
    """The step as bytes, and what is known of the source of its code. Packed again when its code has changed."""
    known = _packed_steps.get(id(step))
    if known is not None and known[0] is step and known[1] is fingerprint and fingerprint is not None:
        return known[2]
    import cloudpickle

    try:
        packed = bytes(cloudpickle.dumps(step, protocol=pickle.HIGHEST_PROTOCOL))
    except Exception as error:  # whatever the user's objects raise
        raise cannot_travel(step, "the step itself, or something that its code refers to,", str(error)) from error
    reached = (*fingerprint.codes, *fingerprint.foreign_codes) if fingerprint is not None else ()
    codes = [code for code in reached if _goes_by_value(code)]
    known_codes = known_units(codes)
    learn_units(
        known_codes, copies_only=True
    )  # what comes back from a worker is the same code, and says no more where it is from
    units = bytes(cloudpickle.dumps(known_codes)) if codes else b""
    _packed_steps[id(step)] = step, fingerprint, (packed, units)
    while len(_packed_steps) > _REMEMBERED:
        _packed_steps.popitem(last=False)
    return packed, units


def _unpacked(packed: bytes, units: bytes, *, anew: bool = False) -> Any:
    name = blake3(packed).digest()
    found = None if anew else _unpacked_steps.get(name)
    if found is None:
        if units:
            learn_units(pickle.loads(units))
        try:
            found = _unpacked_steps[name] = pickle.loads(packed)
        except ModuleNotFoundError as error:
            raise CapabilityError(
                f"A worker cannot import the module {error.name}, which the step is from or needs: install it there, "
                "or put it where workers look. What is defined in the script or notebook itself goes along.",
                module=error.name,
            ) from error
        while len(_unpacked_steps) > _REMEMBERED:
            _unpacked_steps.popitem(last=False)
    return found


def _goes_by_value(code: CodeType) -> bool:
    """Does the worker get this code itself, and not by importing where it stands?"""
    return (
        "<locals>" in code.co_qualname
        or code.co_name == "<lambda>"
        or code.co_filename in sent_files()
        or code.co_filename.startswith("<")
        or "ipykernel" in code.co_filename
    )


def _key_of(found: Outcome | Miss) -> str | None:
    return found.key if isinstance(found, Outcome) else found.identity.hex
