"""Who hears of a transition: functions of this process, called after the commit; webhooks, through the outbox.

What is to be delivered to webhooks is committed together with the transition itself, so a process that dies just after
it leaves the delivery to the next one.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from mlflowish.errors import InvalidInputError, NotFoundError, nearest
from mlflowish.registry import records
from mlflowish.registry.listing import Listing
from mlflowish.registry.names import model_name, stage_name
from mlflowish.registry.outbox import OWNER, Delivery, Report, courier_of
from mlflowish.registry.posting import hook_url, variable_name
from mlflowish.registry.records import DeliveryRecord, EventRecord, HookRecord
from mlflowish.registry.transitions import Transition, wanted
from mlflowish.registry.who import acting

if TYPE_CHECKING:
    from mlflowish.store import Store

Callback = Callable[[Transition], object]
_log = logging.getLogger("mlflowish.registry")


@dataclass(frozen=True, slots=True)
class Hook:
    """A webhook of a store: transitions of `model` (None: of any) from and to these stages (None: any) go to `url`.

    `secret` is the name of the environment variable that holds the secret. `pending` counts deliveries that have not
    arrived yet.
    """

    id: str
    url: str
    secret: str | None
    model: str | None
    from_stage: str | None
    to_stage: str | None
    who: str
    pending: int = 0

    def __repr__(self) -> str:
        return f"Hook({self.id!r}, {self.url}, {self._about}, {self.pending} pending)"

    def _repr_html_(self) -> str:
        from mlflowish.store.display import badge, card

        body = badge(f"{self.pending} pending", "warn" if self.pending else "good")
        signed = f"with ${self.secret}" if self.secret else "no"
        return card(self.url, [("id", self.id), ("of", self._about), ("signed", signed)], body_html=body)

    @property
    def _about(self) -> str:
        model = self.model or "all models"
        if self.from_stage is None and self.to_stage is None:
            return model
        return f"{model}: {self.from_stage or 'any'} -> {self.to_stage or 'any'}"


class Hooks(Listing[Hook]):
    """The webhooks of a store."""

    columns = ("id", "url", "model", "from_stage", "to_stage", "pending", "who")


@dataclass(frozen=True, slots=True)
class _Listener:
    function: Callback
    model: str | None
    from_stage: str | None
    to_stage: str | None
    store: Store | None


_listeners: list[_Listener] = []
_lock = threading.Lock()


def on_transition(
    target: Callback | str | None = None,
    *,
    name: str | None = None,
    from_stage: str | None = None,
    to_stage: str | None = None,
    secret: str | None = None,
    who: str | None = None,
    store: Any = None,
) -> Any:
    """Hear of transitions, after they are committed: of the model `name`, or of all; from and to a stage, or any.

    A function is called in this process with the `Transition`, for transitions that this process makes (in any store,
    unless `store=` names one), one after the other, before the call that made it returns; what it raises is logged.
    `on_transition` is also its decorator. Registering in, deleting from and restoring to the stage `none` are no
    transitions.

    A URL, `http://` or `https://`, is stored, and gets a POST of JSON for transitions that any process makes. That
    never delays the transition: a thread delivers, and repeats with growing pauses until the answer is a 2xx; what a
    process leaves undelivered when it ends, the next one delivers. So each arrives at least once, with an id in the
    header `Mlflowish-Delivery`. `secret="MLFLOWISH_HOOK_..."` names an environment variable with the secret that signs
    it (see `verify_delivery`); `url="env:MLFLOWISH_HOOK_..."` names one that holds the URL. Returns the `Hook`.

    >>> import mlflowish as mf
    >>> with mf.Store("memory://doc-on-transition"):
    ...     @mf.registry.on_transition(name="churn", to_stage="production")
    ...     def tell(transition):
    ...         print(transition)
    ...     version = mf.register_model("churn", len)
    ...     _ = mf.registry.transition("churn", 1, "production", comment="better", who="ann")
    churn version 1 moved none -> production by ann: better
    >>> mf.registry.remove_hook(tell)
    """
    filters = (
        None if name is None else model_name(name),
        None if from_stage is None else stage_name(from_stage),
        None if to_stage is None else stage_name(to_stage),
    )
    if isinstance(target, str):
        return _add_webhook(hook_url(target), secret, filters, acting(who), store)
    if secret is not None:
        raise InvalidInputError("secret= belongs to a webhook: functions of this process need none")
    if target is None:
        return lambda function: _add_listener(function, filters, store)
    return _add_listener(target, filters, store)


def hooks(*, store: Any = None) -> Hooks:
    """The webhooks of a store, with how much is still to be delivered to each.

    >>> import mlflowish as mf
    >>> with mf.Store("memory://doc-hooks"):
    ...     _ = mf.registry.on_transition("https://example.org/models", name="churn")
    ...     [hook.url for hook in mf.registry.hooks()]
    ['https://example.org/models']
    """
    from mlflowish.store import as_store

    snapshot = as_store(store).catalog.snapshot()
    waiting = [value["hook"] for _, value in snapshot.scan(f"{records.OUTBOX}/")]
    found = []
    for key, value in snapshot.scan(f"{records.HOOKS}/"):
        hook_id = key.rpartition("/")[2]
        found.append(_shown(hook_id, HookRecord.from_value(value), waiting.count(hook_id)))
    return Hooks(found)


def remove_hook(hook: Hook | str | Callback, *, store: Any = None) -> None:
    """Stop telling a function, or a webhook (the `Hook` or its id); what was still to be delivered to it is dropped.

    NotFoundError if it is not there.

    >>> import mlflowish as mf
    >>> with mf.Store("memory://doc-remove-hook"):
    ...     hook = mf.registry.on_transition("https://example.org/models")
    ...     mf.registry.remove_hook(hook)
    ...     len(mf.registry.hooks())
    0
    """
    if callable(hook):
        _remove_listener(hook)
        return
    from mlflowish.store import as_store

    hook_id = hook.id if isinstance(hook, Hook) else hook

    def remove(tx: Any) -> None:
        if tx.get(f"{records.HOOKS}/{hook_id}") is None:
            known = [key.rpartition("/")[2] for key, _ in tx.scan(f"{records.HOOKS}/")]
            there = f"There are {', '.join(nearest(str(hook_id), known))}" if known else "There are none"
            raise NotFoundError(f"No webhook has the id {hook_id!r}. {there}", hook=hook_id, known=known)
        tx.delete(f"{records.HOOKS}/{hook_id}")
        for key, value in list(tx.scan(f"{records.OUTBOX}/")):
            if value["hook"] == hook_id:
                tx.delete(key)
        tx.on_commit(lambda: courier_of(opened).drop(hook_id))

    opened = as_store(store)
    opened.transact(remove)


def deliver(*, timeout_s: float = 30.0, store: Any = None) -> Report:
    """Deliver now what webhooks have not got yet, whoever left it; says what arrived and what did not.

    Deliveries happen by themselves while a process lives that writes to the registry; this is for the end of a job, for
    `cron`, and for looking why something does not arrive. Tries each once.

    >>> import mlflowish as mf
    >>> with mf.Store("memory://doc-deliver"):
    ...     mf.registry.deliver()
    Report(delivered=0, failed=0, errors=())
    """
    from mlflowish.store import as_store

    return courier_of(as_store(store)).deliver(timeout_s)


# -- what a change of the registry calls -----------------------------------------------------------


def enqueue(tx: Any, name: str, events: Sequence[tuple[int, EventRecord]]) -> list[Delivery]:
    """Put what webhooks are to get into the outbox, as part of the transaction that moves."""
    moves = [(sequence, event) for sequence, event in events if event.moved]
    deliveries = []
    for key, value in tx.scan(f"{records.HOOKS}/") if moves else ():
        hook = HookRecord.from_value(value)
        for sequence, event in moves:
            if hook.model in (None, name) and wanted(event, hook.from_stage, hook.to_stage):
                deliveries.append(_delivery(tx.now_s, key.rpartition("/")[2], name, sequence, event))
    for delivery in deliveries:
        tx.put(delivery.key, delivery.record.value())
    return deliveries


def tell(store: Store, name: str, events: Sequence[tuple[int, EventRecord]], deliveries: list[Delivery]) -> None:
    """After the commit: hand deliveries to the thread that makes them, then call the functions."""
    courier_of(store).send(deliveries)
    moves = [sequence for sequence, event in events if event.moved]
    if not moves or not _listeners:
        return
    snapshot = store.catalog.snapshot()  # has the times as they were recorded
    for sequence in moves:
        value = snapshot.get(f"{records.HISTORY}/{name}/{records.numbered(sequence)}")
        _call_listeners(store, name, Transition.of(name, sequence, EventRecord.from_value(value)))


def _call_listeners(store: Store, name: str, transition: Transition) -> None:
    for listener in list(_listeners):
        if listener.model not in (None, name) or listener.store not in (None, store):
            continue
        if listener.from_stage not in (None, transition.from_stage):
            continue
        if listener.to_stage not in (None, transition.to_stage):
            continue
        try:
            listener.function(transition)
        except Exception:  # noqa: BLE001  the transition is made: what somebody's function thinks of it cannot undo it
            _log.exception("%r failed when it was told that %s", listener.function, transition)


def _delivery(now_s: float, hook_id: str, name: str, sequence: int, event: EventRecord) -> Delivery:
    # In the order of keys, deliveries are in the order of time.
    delivery_id = f"{int(now_s * 1e6):017d}-{secrets.token_hex(8)}"
    record = DeliveryRecord(hook_id, name, sequence, event.value(), now_s, OWNER.name, now_s)
    return Delivery(delivery_id, record)


def _add_webhook(
    url: str, secret: str | None, filters: tuple[str | None, str | None, str | None], who: str, store: Any
) -> Hook:
    from mlflowish.store import as_store

    variable = None if secret is None else variable_name(secret)
    # The same hook added again, by each run of a script for instance, is the same one.
    hook_id = blake3("\0".join(part or "" for part in (url, variable, *filters)).encode()).hexdigest(length=8)

    def add(tx: Any) -> HookRecord:
        known = tx.get(f"{records.HOOKS}/{hook_id}")
        if known is not None:
            return HookRecord.from_value(known)
        record = HookRecord(url, variable, *filters, time_s=tx.now_s, who=who)
        tx.put(f"{records.HOOKS}/{hook_id}", record.value())
        return record

    return _shown(hook_id, as_store(store).transact(add))


def _shown(hook_id: str, record: HookRecord, pending: int = 0) -> Hook:
    return Hook(
        hook_id, record.url, record.secret, record.model, record.from_stage, record.to_stage, record.who, pending
    )


def _add_listener(function: Any, filters: tuple[str | None, str | None, str | None], store: Any) -> Any:
    from mlflowish.store import as_store

    if not callable(function):
        raise InvalidInputError(f"on_transition takes a function or the URL of a webhook, found {function!r:.80}")
    with _lock:
        _listeners.append(_Listener(function, *filters, None if store is None else as_store(store)))
    return function


def _remove_listener(function: Callback) -> None:
    with _lock:
        kept = [listener for listener in _listeners if listener.function is not function]
        if len(kept) == len(_listeners):
            raise NotFoundError(f"{function!r} does not listen to transitions")
        _listeners[:] = kept
