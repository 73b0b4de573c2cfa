"""The catalog: a transactional map from keys to plain values, with the whole ordered history of its commits."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import random
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, TypeVar

from mlflowish.catalog.checkpoints import last_boundary
from mlflowish.catalog.cleaning import KEEP_S, KEEP_SLOTS, Cleaned, clean
from mlflowish.catalog.committing import Committer, Conflict
from mlflowish.catalog.conflicts import conflict_of
from mlflowish.catalog.dooming import doom
from mlflowish.catalog.history import History
from mlflowish.catalog.plain import decode, plain_copy, restored
from mlflowish.catalog.record import Commit
from mlflowish.catalog.transaction import ID, Transaction, id_key, require_id
from mlflowish.catalog.view import Snapshot, View, newest
from mlflowish.errors import ConflictError, InvalidInputError, MlflowishError, NotFoundError
from mlflowish.storage.base import Storage

T = TypeVar("T")
_MOST_TRIES = 200
_TURN_AFTER = 2  # conflicts after which the threads of one process try one at a time
_TURN_TIMEOUT_S = 1.0
_log = logging.getLogger("mlflowish.catalog")
_chance = random.SystemRandom()  # what the program has seeded is its own


class Catalog:
    """The catalog of one storage. Thread-safe, process-safe, fork-safe; picklable through its storage.

    Keys are text of parts joined by `/`; values are plain data. Every commit has a slot, and their order is the one
    order of everything: transactions are serialisable, and one that began after another had returned comes after it.

    >>> from mlflowish.storage import MemoryStorage
    >>> catalog = Catalog(MemoryStorage("doc-catalog"))
    >>> catalog.transact(lambda tx: tx.put("models/churn", {"versions": 1}))
    >>> catalog.snapshot().get("models/churn")
    {'versions': 1}
    """

    def __init__(
        self,
        storage: Storage,
        prepare: Callable[[], object] | None = None,
        is_doomed: Callable[[str], bool] | None = None,
        refresh_dooms: Callable[[], object] | None = None,
    ) -> None:
        """`prepare()` is called before the first commit of this handle. `is_doomed(name)`: was it announced elsewhere
        that an object is to be deleted? The announcement comes before an epoch does. `refresh_dooms()`: before
        `is_doomed` is asked about an object that is gone, which it must not answer from what it knew."""
        self.storage = storage
        self._prepare = prepare
        self._is_doomed, self._refresh_dooms = is_doomed, refresh_dooms
        self.forget_threads()
        _handles.add(self)

    def forget_threads(self) -> None:
        """In a forked child: whoever holds the locks, and was adding a commit to the view, is not here."""
        self.writer = f"{socket.gethostname()}.{os.getpid()}.{os.urandom(4).hex()}"
        self.history = History(self.storage, self.writer, self._prepare)
        self._turn = threading.RLock()
        self._committer = Committer(self.history)

    def __reduce__(self) -> tuple[Any, ...]:
        return Catalog, (self.storage, self._prepare, self._is_doomed, self._refresh_dooms)

    def __repr__(self) -> str:
        return f"Catalog({self.storage.url!r}, head={self.history.known_head()})"

    # -- reading -----------------------------------------------------------------------------------

    @property
    def head(self) -> int:
        """The slot of the newest commit that this handle knows, -1 if there is none."""
        return self.history.view().head

    def refresh(self) -> int:
        """Look for commits of others; the slot of the newest."""
        return self.history.advance().head

    def snapshot(self, at: int | float | datetime | None = None) -> Snapshot:
        """The catalog as of now, of a slot (int), or of a time (seconds since 1970, or a datetime).

        NotFoundError for a slot that is not there yet, and for a state whose part of the log was cleaned.
        """
        view = self.history.advance()
        if at is None:
            return newest(view)
        slot = self._slot_at(view, at)
        if slot > view.head:
            message = f"The catalog at {self.storage.url} has no slot {slot} yet: the newest is {view.head}"
            raise NotFoundError(message, slot=slot, head=view.head)
        return self.history.snapshot_at(view, slot)

    def read_newest(self, read: Callable[[Snapshot], T]) -> T:
        """What `read` makes of the newest state. It is called again, on a newer one, if others have gone on before it
        had read everything, and have cleaned what it reads away."""
        while True:
            snapshot = self.snapshot()
            try:
                return read(snapshot)
            except NotFoundError:
                if snapshot.view.base.later is None:
                    raise

    def known(self) -> Snapshot:
        """What this handle knows, without looking for news: whatever it has committed is in it."""
        return newest(self.history.view())

    def log(self, since: int | None = None, until: int | None = None) -> Iterator[Commit]:
        """The commits with `since` < slot <= `until`, oldest first; by default all that are kept.

        NotFoundError if some of those that were asked for have been cleaned.
        """
        return self.history.commits(since, until, self.history.advance().head)

    # -- writing -----------------------------------------------------------------------------------

    def transact(
        self,
        function: Callable[[Transaction], T],
        *,
        id: str | None = None,  # noqa: A002  what it is
        comment: str = "",
    ) -> T:
        """Call `function(tx)` and commit what it did; durable when this returns its result.

        If what it read was changed meanwhile, or was cleaned away before it was read, it is called again, on the new
        state: it must have no effects of its own but through `tx` (`tx.on_commit` for those). ConflictError after many
        tries in vain. With an `id` that is in the log already nothing is done, and the recorded result (plain data;
        else None) is returned.
        """
        for attempt in range(_MOST_TRIES):
            with self._my_turn(attempt):
                tx = self._begin(id, comment)
                try:
                    repeated = self.repeated(tx, tx.given_id)
                    if repeated is not None:
                        return repeated[0]  # type: ignore[no-any-return]  # what an earlier call of this function returned
                    result = function(tx)
                    self.remember(tx, tx.given_id, result)
                    self._commit(tx)
                except Conflict as conflict:
                    last: MlflowishError = conflict.error
                except NotFoundError as error:
                    if not tx.is_cleaned_away:
                        raise
                    last = error
                else:
                    return result
                finally:
                    tx.close()
            time.sleep(_chance.random() * (0.002 if self.history.log.is_near else 0.02) * min(attempt + 1, 16))
        raise ConflictError(f"{last.message} It was tried {_MOST_TRIES} times.", **last.data) from last

    @contextlib.contextmanager
    def transaction(
        self,
        *,
        id: str | None = None,  # noqa: A002  as above
        comment: str = "",
    ) -> Iterator[Transaction]:
        """`with catalog.transaction() as tx:` commits at the end of the block, nothing if it raises.

        ConflictError if what it read was changed meanwhile: names the keys and who won.
        """
        tx = self._begin(id, comment)
        try:
            is_repeated = self.repeated(tx, tx.given_id) is not None
            yield tx
            if not is_repeated:
                self.remember(tx, tx.given_id, None)
                self._commit(tx)
        except Conflict as conflict:
            raise conflict.error from None
        finally:
            tx.close()

    def doom(self, names: Iterable[str], *, gone: Iterable[str] = (), since: int | None = None) -> frozenset[str]:
        """Give up objects that no value names: see `dooming.py`."""
        return doom(self, names, gone=gone, since=since)

    def repeated(self, tx: Transaction, given_id: str | None) -> tuple[Any] | None:
        """The recorded result, if a transaction of this id is in the log, or a part of that id in this transaction."""
        if require_id(given_id) is None:
            return None
        assert given_id is not None
        key = id_key(given_id)
        if key in tx.writes:
            return (restored(tx.writes[key], tx.now_s),)
        text = tx.read(key)
        if text is not None:
            return (decode(text),)
        base, _, rest = given_id.partition(".")
        if len(rest) == 32 and base.lstrip("-").isdigit():  # one of ours, of a commit whose outcome was unknown
            try:
                if any(c.id == given_id for commit in self.log(int(base), tx.slot) for c in commit.transactions):
                    return (None,)
            except NotFoundError as error:
                raise NotFoundError(
                    f"It cannot be told any more whether the transaction {given_id} is in the log: {error.message}. "
                    "Look at what it was to change, and begin again without id= if that is not there.",
                    **{**error.data, "id": given_id},
                ) from error
            tx.seek(given_id)  # no key tells of it, and the record of the first try may still be on its way
        return None

    def remember(self, tx: Transaction, given_id: str | None, result: Any) -> None:
        """Let the transaction record the result under the id."""
        if given_id is None:
            return
        try:
            tx.put_own(id_key(given_id), plain_copy(result))
        except InvalidInputError:  # a result that is not plain is not recorded: None is what a repetition gives
            tx.put_own(id_key(given_id), None)

    # -- upkeep ------------------------------------------------------------------------------------

    def checkpoint(self) -> int:
        """Store the newest state that can have a checkpoint, unless it is stored; its slot, -1 if the log is too short.

        It happens by itself every 64 slots.
        """
        while True:
            slot = last_boundary(self.history.advance().head)
            try:
                if slot >= 0 and self.history.view().base.slot < slot:
                    self.history.checkpoint(slot)
            except NotFoundError:
                continue  # others have gone on, and have cleaned beyond it: there is a newer one
            return slot

    def clean(self, *, keep_s: float = KEEP_S, keep_slots: int = KEEP_SLOTS) -> Cleaned:
        """Remove records of the log that are older than both limits, and what only they needed.

        The newest state loses nothing; `at=` and `log` no longer reach what is removed, and the ids of its transactions
        are forgotten.
        """
        cleaned = clean(self.history, keep_s=keep_s, keep_slots=keep_slots)
        self._forget_ids(cleaned.floor)
        return cleaned

    def _forget_ids(self, floor: int) -> None:
        old = self.read_newest(lambda now: [key for key, at, _ in now.view.scan(ID, now.slot) if at <= floor])

        def forget(tx: Transaction) -> None:
            for key in old:
                if tx.read(key) is not None and tx.reads[key] <= floor:  # else it was given anew
                    tx.delete_own(key)

        if old:
            self.transact(forget, comment="forget old ids")

    def _begin(self, given_id: str | None, comment: str) -> Transaction:
        if not isinstance(comment, str):
            raise InvalidInputError(f"The comment of a transaction is text, found {comment!r:.100}", comment=comment)
        view = self.history.advance()
        return Transaction(
            newest(view),
            self.storage,
            given_id=given_id,
            comment=comment,
            is_doomed=self._is_doomed,
            refresh_dooms=self._refresh_dooms,
        )

    def _commit(self, tx: Transaction) -> None:
        hooks = tx.close()
        if tx.is_empty:
            view = self.history.advance()
            error = conflict_of(tx, view, view.head) if tx.reads or tx.prefixes else None
            if error is not None:
                raise Conflict(error)
        else:
            slot = self._committer.commit(tx)
            self.history.checkpoint_if_due(slot)
        for hook in hooks:
            try:
                hook()
            except Exception:  # noqa: BLE001  anything: it must not look as if the commit had failed
                _log.exception("A function that was to be called after commit %s failed; the commit stands", tx.id)

    @contextlib.contextmanager
    def _my_turn(self, attempt: int) -> Iterator[None]:
        """After some conflicts, one thread of this process at a time. A courtesy: who cannot have it goes on without,
        so that a function that waits for another thread's transaction is not stuck."""
        has_turn = attempt >= _TURN_AFTER and self._turn.acquire(timeout=_TURN_TIMEOUT_S)
        try:
            yield
        finally:
            if has_turn:
                self._turn.release()

    def _slot_at(self, view: View, at: int | float | datetime) -> int:
        if isinstance(at, bool) or not isinstance(at, (int, float, datetime)):
            raise InvalidInputError(f"at= is a slot, a time in seconds, or a datetime, found {at!r:.100}", at=at)
        if isinstance(at, int):
            if at < -1:
                raise InvalidInputError(f"Slots are numbered from 0 (-1: before the first), found {at}", at=at)
            return at
        try:
            time_s = at.timestamp() if isinstance(at, datetime) else at
        except (ValueError, OverflowError, OSError):  # one that no clock of this machine can show
            time_s = math.nan
        if not math.isfinite(time_s):
            raise InvalidInputError(f"at= is a time in seconds since 1970, found {at!r}", at=at)
        return self.history.slot_at_time(view, time_s)


def _forget_threads() -> None:
    for catalog in list(_handles):
        catalog.forget_threads()


_handles: weakref.WeakSet[Catalog] = weakref.WeakSet()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
