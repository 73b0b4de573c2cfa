"""Commits: one committer per handle takes everything that waits into one record, and knows how each attempt ended.

A thread that finds nobody committing leads: it validates what waits, puts the record of the next slot, and hands over.
The others wait, for the record that is on its way and for the one that takes them with it, not longer.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from dataclasses import dataclass, field
from typing import Protocol

from mlflowish.catalog.conflicts import conflict_of, epoch_of, meets
from mlflowish.catalog.floors import clocks, is_recent
from mlflowish.catalog.log import Log
from mlflowish.catalog.record import Commit, as_read, body_path, encode_commit, record_path
from mlflowish.catalog.transaction import Transaction
from mlflowish.catalog.view import EPOCH, Tip, View
from mlflowish.errors import (
    CapabilityError,
    ConflictError,
    FormatVersionError,
    IntegrityError,
    MlflowishError,
    NotFoundError,
    ReadOnlyError,
    StorageError,
)

_MOST_TOGETHER = 1024
_MOST_SLOTS = 400  # lost in a row: with tens of writers that happens to nobody
_RESOLVE_TRIES = 6
_NEAR_PAUSE_S, _FAR_PAUSE_S = 0.002, 0.02
_log = logging.getLogger("mlflowish.catalog")
_chance = random.SystemRandom()  # what the program has seeded is its own


class Conflict(Exception):
    """The transaction read what another commit has changed: inside the package only."""

    def __init__(self, error: ConflictError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(eq=False, slots=True)
class Waiting:
    """A transaction on its way into the log."""

    transaction: Transaction
    woken: threading.Event = field(default_factory=threading.Event)
    leads: bool = False
    slot: int | None = None
    error: BaseException | None = None
    tries: int = 0
    attempts: list[tuple[int, str]] = field(default_factory=list)  # slot and nonce of records whose fate is not known

    @property
    def is_done(self) -> bool:
        """Is it known what became of it?"""
        return self.slot is not None or self.error is not None


class Known(Protocol):
    """What a committer knows of the catalog, and how it learns."""

    log: Log
    writer: str

    def prepare(self) -> None: ...
    def view(self) -> View: ...
    def advance(self) -> View: ...
    def take(self, commit: Commit) -> View: ...
    def is_recent(self) -> bool: ...
    def require_last(self, view: View, tip: Tip) -> None: ...
    def is_void(self, slot: int, record: bytes) -> bool | None: ...
    def record_at(self, slot: int) -> Commit | None: ...


class Committer:
    """The queue of one handle. Thread-safe; `forget` makes it anew in a forked child."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self.forget()

    def forget(self) -> None:
        """Begin with an empty queue: the threads that wait in it belong to another process."""
        self._lock = threading.Lock()
        self._queue: list[Waiting] = []
        self._is_led = False
        self._is_proven = False

    def commit(self, transaction: Transaction) -> int:
        """The slot that the transaction got. Conflict if what it read has changed; StorageError, which says whether the
        outcome is known."""
        me = Waiting(transaction)
        with self._lock:
            self._queue.append(me)
            me.leads = not self._is_led
            self._is_led = True
        try:
            if not me.leads:
                me.woken.wait()
            if me.leads:
                self._lead(me)
        except BaseException:
            self._abandon(me)
            raise
        if me.error is not None:
            raise me.error
        assert me.slot is not None
        return me.slot

    def _lead(self, me: Waiting) -> None:
        """Commit until I am through, then let the next one lead."""
        batch: list[Waiting] = []
        try:
            while not me.is_done:
                with self._lock:
                    batch, self._queue = self._queue[:_MOST_TOGETHER], self._queue[_MOST_TOGETHER:]
                self._commit_together(batch)
                with self._lock:
                    self._queue[:0] = [one for one in batch if not one.is_done]
                batch = []
        finally:
            with self._lock:  # an interrupt: whoever leads next finds out what became of them
                self._queue[:0] = [one for one in batch if not one.is_done]
            self._hand_over(me)

    def _hand_over(self, me: Waiting) -> None:
        with self._lock:
            self._queue = [one for one in self._queue if one is not me]
            me.leads = False
            if self._queue:
                self._queue[0].leads = True
                self._queue[0].woken.set()
            else:
                self._is_led = False

    def _abandon(self, me: Waiting) -> None:
        """An interrupt arrived in a thread that waited: it must neither stay in the queue nor keep the lead."""
        if me.leads:
            self._hand_over(me)
            return
        with self._lock:
            self._queue = [one for one in self._queue if one is not me]

    def _commit_together(self, batch: list[Waiting]) -> None:
        """One record with all of the batch that agree with the head and with each other; who conflicts ends, who only
        conflicts with a neighbour stays for the next record."""
        try:
            if not self._known.is_recent():
                self._known.advance()  # or the slot after what is known may have been cleaned away long ago
            self._find_attempted(batch)
            view = self._known.view()
            tip = view.tip()  # what they are checked against is what the record follows, whatever is learned meanwhile
            if self._known.log.is_near:  # else it is looked for after a pause only: it costs a round trip
                self._known.require_last(view, tip)
            try:
                self._commit_chosen(_choose([one for one in batch if not one.is_done], view, tip), view, tip)
            except NotFoundError:
                if view.base.later is None:
                    raise
                self._known.advance()  # what they are checked against was cleaned away: again, on what is there now
        except (StorageError, IntegrityError, CapabilityError, FormatVersionError) as error:
            for one in batch:
                if not one.is_done:
                    _end(one, error=_failed(error, one.transaction))

    def _commit_chosen(self, chosen: list[Waiting], view: View, tip: Tip) -> None:
        if not chosen:
            return
        if not self._is_proven:
            self._known.prepare()
            _require_safe(self._known.log)
            self._is_proven = True
        commit = self._make(chosen, view, tip)
        for one in chosen:
            one.attempts.append((commit.slot, commit.nonce))
        if self._put(commit):
            for one in chosen:
                _end(one, commit=commit)
            return
        for one in chosen:
            one.attempts.remove((commit.slot, commit.nonce))
            one.tries += 1
            if one.tries >= _MOST_SLOTS:
                _end(one, error=Conflict(_too_busy(one)))
        self._known.advance()
        self._pause(min(one.tries for one in chosen))

    def _find_attempted(self, batch: list[Waiting]) -> None:
        """Those whose leader was interrupted: are they in the log? If the slot is still empty, the record that fills it
        decides: it may be the one that was on its way then."""
        for one in [one for one in batch if one.attempts]:
            head = self._known.advance().head
            for slot, nonce in [attempt for attempt in one.attempts if attempt[0] <= head]:
                commit = self._known.record_at(slot)
                if commit is None:
                    _end(one, error=_failed(_untold(record_path(slot), self._known.log), one.transaction))
                elif commit.nonce == nonce:
                    _end(one, commit=commit)
                one.attempts.remove((slot, nonce))

    def _make(self, chosen: list[Waiting], view: View, tip: Tip) -> Commit:
        transactions = [one.transaction for one in chosen]
        time_s = max([time.time(), tip.time_s, *(t.earliest_s for t in transactions)])
        return Commit(
            slot=tip.slot + 1,
            time_s=time_s,
            writer=self._known.writer,
            transactions=tuple(t.change(time_s) for t in transactions),
            nonce=os.urandom(16).hex(),
            previous=tip.hash,
            epoch=_epoch_after(view, tip, transactions),
        )

    def _put(self, commit: Commit) -> bool:
        """Is the record there? False if another's is. StorageError if nobody can tell."""
        log, path = self._known.log, record_path(commit.slot)
        record, body = encode_commit(commit)
        if body:
            log.storage.put_if_absent(body_path(commit.slot, commit.nonce), body)
        began = clocks()
        is_ours, is_sure = self._is_ours(log, path, record)
        is_sure = is_sure and (log.is_near or is_recent(began))  # what sends it to a bucket may send it again by itself
        if not is_ours:
            if body:
                _discard(log, body_path(commit.slot, commit.nonce))
            return False
        is_void = self._is_void(commit.slot, record, path)
        if is_void is False:
            self._known.take(as_read(commit, record, body))
            return True
        if is_void:
            _discard(log, path)
        if is_void is None or not is_sure:
            # It may have been there before, followed by others, and have been cleaned away with them.
            raise _untold(path, log)
        return False

    def _is_ours(self, log: Log, path: str, record: bytes) -> tuple[bool, bool]:
        """Put, and whatever the answer is, look until it is known whose record is there: a winner can be told that it
        lost, or nothing at all. Also: can it have been put twice, and have been removed between?"""
        failure: StorageError | None = None
        is_absent, is_sure = False, True
        for attempt in range(_RESOLVE_TRIES):
            if attempt:
                time.sleep(_chance.random() * self._unit_s * 2**attempt)
            try:
                is_sure = not is_absent
                if log.storage.put_if_absent(path, record):
                    return True, is_sure
            except StorageError as error:
                failure = error
            try:
                is_absent = False
                return log.storage.get(path) == record, is_sure
            except NotFoundError:  # what was sent may yet arrive: the same bytes again
                is_absent = True
            except StorageError as error:
                failure = failure or error
            if is_absent and isinstance(failure, ReadOnlyError):
                break
        raise _unresolved(failure, path, log, is_absent=is_absent)

    def _is_void(self, slot: int, record: bytes, path: str) -> bool | None:
        """Was the slot cleaned away before the record came? Asked until there is an answer: the record stands."""
        for attempt in range(_RESOLVE_TRIES):
            try:
                return self._known.is_void(slot, record)
            except StorageError as error:
                failure = error
                time.sleep(_chance.random() * self._unit_s * 2**attempt)
        raise _unresolved(failure, path, self._known.log, is_absent=False)

    @property
    def _unit_s(self) -> float:
        return _NEAR_PAUSE_S if self._known.log.is_near else _FAR_PAUSE_S

    def _pause(self, tries: int) -> None:
        time.sleep(_chance.random() * self._unit_s * min(tries, 16))


def _choose(batch: list[Waiting], view: View, tip: Tip) -> list[Waiting]:
    chosen: list[Waiting] = []
    written: set[str] = set()
    referred: set[str] = set()
    for one in batch:
        transaction = one.transaction
        conflict = conflict_of(transaction, view, tip.slot)
        if conflict is not None:
            _end(one, error=Conflict(conflict))
        elif not meets(transaction, written, referred):
            chosen.append(one)
            written |= transaction.writes.keys()
            referred |= transaction.refs.keys()
    return chosen


def _epoch_after(view: View, tip: Tip, transactions: list[Transaction]) -> int:
    return max([epoch_of(view, tip.slot), *(int(t.writes[EPOCH]) for t in transactions if EPOCH in t.writes)])


def _end(one: Waiting, *, commit: Commit | None = None, error: BaseException | None = None) -> None:
    if commit is not None:
        one.slot, one.transaction.committed_s = commit.slot, commit.time_s
    one.error = error
    one.woken.set()


def _too_busy(one: Waiting) -> ConflictError:
    return ConflictError(
        f"A transaction lost {one.tries} slots in a row to other writers, without a conflict: try again when there are "
        "fewer of them",
        keys=[],
        winners=[],
        doomed=[],
    )


def _unresolved(failure: StorageError | None, path: str, log: Log, *, is_absent: bool) -> StorageError:
    """The error of a put whose answer is an error. A local write that failed and is not there does not arrive later."""
    if isinstance(failure, ReadOnlyError) or (failure is not None and is_absent and log.is_near):
        return failure
    error = StorageError(
        f"Committing to {path} in {log.storage.url}: it is unknown whether the record is, or will be, there: {failure}",
        path=path,
        outcome="unknown",
    )
    error.__cause__ = failure
    return error


def _untold(path: str, log: Log) -> StorageError:
    """The error of a commit that slept while the log was cleaned beyond its slot."""
    return StorageError(
        f"Committing to {path} in {log.storage.url}: the log was cleaned beyond it meanwhile, so nobody can tell "
        "whether the record belongs to it. Look at what it was to change",
        path=path,
        outcome="unknown",
        can_be_repeated=False,
    )


def _failed(error: MlflowishError, transaction: Transaction) -> MlflowishError:
    """What the caller is told, an error for each: the outcome, and how to try again."""
    outcome = error.data.get("outcome", "not committed")
    message = error.message
    if outcome == "unknown" and error.data.get("can_be_repeated", True):
        message += f". Try again with id={transaction.id!r}: what is in the log already is not applied twice."
    own = type(error)(message, **{**error.data, "id": transaction.id, "outcome": outcome})
    own.__cause__ = error
    return own


def _discard(log: Log, path: str) -> None:
    """Remove what nobody names; if that fails, cleaning finds it."""
    try:
        log.storage.delete(path)
    except StorageError as error:
        _log.info("%s stays until the log is cleaned: %s", path, error)


def _require_safe(log: Log) -> None:
    """CapabilityError for a storage on which two writers could both win a slot."""
    storage = log.storage
    if not storage.capabilities.multi_writer:
        storage.put_if_absent("catalog/probe", b"")  # some storages know what they can do after the first write only
    if not storage.capabilities.multi_writer:
        raise CapabilityError(
            f"The catalog at {storage.url} cannot be written: this storage cannot create objects exclusively, so two "
            "writers would replace each other's commits. Reading works. Use a local disk, S3, Google or Azure.",
            url=storage.url,
        )
