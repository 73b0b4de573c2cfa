"""Deliveries to webhooks: made by threads of the process that committed them, taken over from processes that died.

A delivery is a record of the catalog until its server has answered 2xx; then it is removed. Each webhook has a lane
of its own, so a server that is slow or down delays nobody else's deliveries. The thread of a lane ends when nothing is
left in it.
"""

from __future__ import annotations

import atexit
import logging
import os
import random
import secrets
import socket
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mlflowish.errors import MlflowishError
from mlflowish.registry import records
from mlflowish.registry.posting import post
from mlflowish.registry.records import DeliveryRecord, EventRecord, HookRecord
from mlflowish.registry.transitions import Transition

if TYPE_CHECKING:
    from mlflowish.store import Store

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 300.0
CLAIM_S = 600.0  # after that, a delivery of a process that cannot be seen from here counts as left behind
GIVE_UP_S = 3 * 86_400.0  # it stays in the outbox, for `deliver` and for people to see
ADOPT_EVERY_S = 60.0
EXIT_S = 5.0
_log = logging.getLogger("mlflowish.registry")
_chance = random.SystemRandom()  # what the program has seeded is its own


class _Owner:
    """This process, as deliveries name it; another one after a fork."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        self.host, self.pid = socket.gethostname(), os.getpid()
        self.name = f"{self.host}:{self.pid}:{secrets.token_hex(6)}"


OWNER = _Owner()


@dataclass(frozen=True, slots=True)
class Delivery:
    """Something to deliver, under its id."""

    id: str
    record: DeliveryRecord

    @property
    def key(self) -> str:
        """Where it stands in the catalog."""
        return f"{records.OUTBOX}/{self.id}"


@dataclass(frozen=True, slots=True)
class Report:
    """What `deliver` did: how many arrived, how many did not, and why (each reason once)."""

    delivered: int = 0
    failed: int = 0
    errors: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        from mlflowish.store.display import card

        rows = [("delivered", str(self.delivered)), ("failed", str(self.failed))]
        return card("Deliveries", rows + [("error", error) for error in self.errors])


class Courier:
    """Delivers for one store in this process."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._lock = threading.Lock()
        self._lanes: dict[str, _Lane] = {}
        self._adopted_at: float | None = None

    def send(self, deliveries: Iterable[Delivery]) -> None:
        """Deliver soon, in the background; also what dead processes have left, looked for now and then."""
        for delivery in deliveries:
            self._lane(delivery.record.hook).add(delivery)
        now = time.monotonic()
        if self._adopted_at is None or now - self._adopted_at > ADOPT_EVERY_S:
            self._adopted_at = now
            threading.Thread(target=self._adopt, name="mlflowish-outbox", daemon=True).start()

    def deliver(self, timeout_s: float) -> Report:
        """Try everything that is in the outbox once, whoever left it, until the time is over."""
        deadline = time.monotonic() + timeout_s
        lanes = self._all_lanes()
        mine = {delivery_id for lane in lanes for delivery_id in lane.hurry(tried_too=True)}
        errors: dict[str, str | None] = dict.fromkeys(mine)
        for lane in lanes:
            errors |= lane.wait_until_tried(deadline - time.monotonic())
        for delivery in list(self._pending()):
            if delivery.id not in errors:
                is_late = time.monotonic() > deadline
                errors[delivery.id] = "the time was over" if is_late else self._attempt_now(delivery)
        failed = [error for error in errors.values() if error is not None]
        return Report(len(errors) - len(failed), len(failed), tuple(dict.fromkeys(failed)))

    def drop(self, hook: str) -> None:
        """Forget what was to be delivered to a webhook that was removed."""
        self._lane(hook).clear()

    def finish(self, timeout_s: float) -> None:
        """At the end of the process: let what has not been tried at all be tried once."""
        deadline = time.monotonic() + timeout_s
        lanes = self._all_lanes()
        for lane in lanes:
            lane.hurry(tried_too=False)
        for lane in lanes:
            lane.wait_until_tried(deadline - time.monotonic())

    def attempt(self, delivery: Delivery) -> None:
        """Deliver as it stands in the outbox; StorageError says why not. What is not there any more is done."""
        snapshot = self.store.catalog.snapshot()
        stored, value = snapshot.get(delivery.key), snapshot.get(f"{records.HOOKS}/{delivery.record.hook}")
        if stored is None or value is None:
            return
        hook, record = HookRecord.from_value(value), DeliveryRecord.from_value(stored)
        event = Transition.of(record.model, record.sequence, EventRecord.from_value(record.event))
        document = {"id": delivery.id, "event": "transition", "store": self.store.url, **event.document()}
        post(hook.url, hook.secret, delivery.id, document)

    def settle(self, delivery: Delivery) -> None:
        """Remove a delivery that has arrived."""
        self.store.catalog.transact(lambda tx: tx.delete(delivery.key) if tx.get(delivery.key) is not None else None)

    def _attempt_now(self, delivery: Delivery) -> str | None:
        """The reason why it did not arrive, if it did not."""
        try:
            self.attempt(delivery)
            self.settle(delivery)
        except MlflowishError as error:
            return error.message
        return None

    def _pending(self) -> Iterator[Delivery]:
        for key, value in self.store.catalog.snapshot().scan(f"{records.OUTBOX}/"):
            yield Delivery(key.rpartition("/")[2], DeliveryRecord.from_value(value))

    def _adopt(self) -> None:
        """Take over what nobody delivers any more."""
        try:
            left = [delivery for delivery in self._pending() if _is_left_behind(delivery.record)]
            for delivery in left:
                claimed = self._claim(delivery)
                if claimed is not None:
                    self._lane(claimed.record.hook).add(claimed)
        except MlflowishError as error:
            _log.warning("Could not look for webhook deliveries that were left behind: %s", error)

    def _claim(self, delivery: Delivery) -> Delivery | None:
        """The delivery as this process's own; None if another one was first."""

        def claim(tx: Any) -> Delivery | None:
            value = tx.get(delivery.key)
            if value is None or value["owner"] != delivery.record.owner:
                return None
            record = replace(delivery.record, owner=OWNER.name, claimed_s=tx.now_s)
            tx.put(delivery.key, record.value())
            return Delivery(delivery.id, record)

        claimed: Delivery | None = self.store.catalog.transact(claim)
        return claimed

    def _lane(self, hook: str) -> _Lane:
        with self._lock:
            return self._lanes.setdefault(hook, _Lane(self, hook))

    def _all_lanes(self) -> list[_Lane]:
        with self._lock:
            return list(self._lanes.values())


class _Lane:
    """The deliveries to one webhook, first come first served; one that failed goes to the end, after a pause."""

    def __init__(self, courier: Courier, hook: str) -> None:
        self._courier, self._hook = courier, hook
        self._changed = threading.Condition()
        self._waiting: deque[Delivery] = deque()
        self._errors: dict[str, str] = {}  # why those failed that were tried and still wait
        self._hurried: set[str] = set()  # to be tried without a pause before
        self._is_cleared = False
        self._thread: threading.Thread | None = None

    def add(self, delivery: Delivery) -> None:
        """One more; begins a thread if there is none."""
        with self._changed:
            self._is_cleared = False
            self._waiting.append(delivery)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=f"mlflowish-hook-{self._hook}", daemon=True)
                self._thread.start()

    def hurry(self, *, tried_too: bool) -> list[str]:
        """Have everything, or what was never tried, tried once without pauses; the ids of these deliveries."""
        with self._changed:
            found = [each.id for each in self._waiting if tried_too or each.id not in self._errors]
            self._hurried.update(found)
            self._changed.notify_all()
            return found

    def clear(self) -> None:
        """Forget everything; what is being tried is tried to its end, and not again."""
        with self._changed:
            self._is_cleared = True
            while len(self._waiting) > 1:
                self._waiting.pop()
            self._hurried.intersection_update(each.id for each in self._waiting)

    def wait_until_tried(self, timeout_s: float) -> dict[str, str | None]:
        """Return when what is hurried has been tried, or the time is over: why what still waits did not arrive."""
        with self._changed:
            self._changed.wait_for(lambda: not self._hurried, max(0.0, timeout_s))
            return {each.id: self._errors.get(each.id, "the time was over") for each in self._waiting}

    def _run(self) -> None:
        failures = 0
        while (delivery := self._next()) is not None:
            error = self._try(delivery)
            self._note(delivery, error)
            failures = 0 if error is None else failures + 1
            if error is not None:
                self._pause(failures)

    def _next(self) -> Delivery | None:
        """The one to try now, which stays in the queue meanwhile. If there is none: None, and the thread is over."""
        with self._changed:
            if not self._waiting:
                self._thread = None
                return None
            return self._waiting[0]

    def _try(self, delivery: Delivery) -> str | None:
        try:
            self._courier.attempt(delivery)
            self._courier.settle(delivery)
        except MlflowishError as error:
            return error.message
        return None

    def _note(self, delivery: Delivery, error: str | None) -> None:
        is_over = time.time() - delivery.record.time_s > GIVE_UP_S
        with self._changed:
            self._waiting.popleft()
            was_tried = self._errors.pop(delivery.id, None) is not None
            if error is not None and not is_over and not self._is_cleared:
                self._waiting.append(delivery)
                self._errors[delivery.id] = error
            self._hurried.discard(delivery.id)
            self._changed.notify_all()
        if error is not None and (is_over or not was_tried):
            ends = "it stays in the outbox: mf.registry.deliver()" if is_over else "it will be tried again"
            _log.warning("A delivery to webhook %s did not arrive: %s; %s", self._hook, error, ends)

    def _pause(self, failures: int) -> None:
        """Growing, with jitter: half to all of 0.5 s, 1 s, 2 s, ... 5 min; ends when something is hurried."""
        longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(failures - 1, 20))
        with self._changed:
            self._changed.wait_for(lambda: bool(self._hurried), longest * _chance.uniform(0.5, 1.0))


def courier_of(store: Store) -> Courier:
    """The one that delivers for this store in this process."""
    with _lock:
        found = _couriers.get(store)
        if found is None:
            found = _couriers[store] = Courier(store)
        return found


def _is_left_behind(record: DeliveryRecord) -> bool:
    """Was it a process that is gone, or one that has not been heard of for long? Old failures are left to people."""
    now = time.time()
    if record.owner == OWNER.name or now - record.time_s > GIVE_UP_S:
        return False
    host, pid, *_ = (*record.owner.split(":"), "0", "0")
    if host == OWNER.host and os.name == "posix" and pid.isdigit() and not _is_alive(int(pid)):
        return True
    return now - record.claimed_s > CLAIM_S


def _is_alive(pid: int) -> bool:
    if pid == OWNER.pid:
        return False  # another process had this number before us: ours bear our nonce
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _at_exit() -> None:
    deadline = time.monotonic() + EXIT_S
    for courier in list(_couriers.values()):
        courier.finish(max(0.0, deadline - time.monotonic()))


def _in_forked_child() -> None:
    """What the parent has to deliver stays the parent's; its threads are not here."""
    global _lock, _couriers
    OWNER.renew()
    _lock, _couriers = threading.Lock(), {}


_lock = threading.Lock()
_couriers: dict[Store, Courier] = {}
atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_forked_child)
