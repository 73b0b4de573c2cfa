"""`mf.transaction()`: what is committed inside it is committed together, or not at all."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from mlflowish.store.active import as_store
from mlflowish.store.store import Store

if TYPE_CHECKING:
    from mlflowish.catalog import Transaction


class Part:
    """A piece of an open transaction, as a `with` block: if it raises, what it wrote is undone, and the rest stands.

    So it is if its id is in the log already, or was given to a part before: `repeated` is the recorded result then,
    None otherwise. `result` is recorded at the end.
    """

    def __init__(self, store: Store, transaction: Transaction, given_id: str | None) -> None:
        self.transaction = transaction
        self.result: Any = None
        self._catalog, self._id = store.catalog, given_id

    def __enter__(self) -> Part:
        self._before = self.transaction.saved()
        self.repeated = self._catalog.repeated(self.transaction, self._id)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None or self.repeated is not None:
            self.transaction.restore(self._before)
        else:
            self._catalog.remember(self.transaction, self._id, self.result)


class _Open:
    """An open transaction: of one store, and of the thread that began it."""

    def __init__(self, store: Store, transaction: Transaction) -> None:
        self.store, self.transaction = store, transaction
        self.thread = (os.getpid(), threading.get_ident())

    def serves(self, store: Store) -> bool:
        is_here = self.thread == (os.getpid(), threading.get_ident())
        return is_here and self.transaction.is_open and self.store == store


_open: ContextVar[tuple[_Open, ...]] = ContextVar("mlflowish_transactions", default=())


def joined(store: Store, given_id: str | None = None) -> Part | None:
    """A part of the enclosing transaction of this store, None if there is none."""
    for candidate in reversed(_open.get()):
        if candidate.serves(store):
            return Part(store, candidate.transaction, given_id)
    return None


@contextlib.contextmanager
def transaction(
    store: Store | str | os.PathLike[str] | None = None,
    *,
    id: str | None = None,  # noqa: A002  what it is
    comment: str = "",
) -> Iterator[Transaction]:
    """A block whose changes of the store (models, versions, stages, aliases, ...) are committed together at its end, or
    not at all if it raises. A block inside another one joins it.

    ConflictError at the end if what was read in it was changed meanwhile by others: nothing is changed then, and the
    block can be run again. An `id` makes that safe after a lost connection: what is in the log already under it is not
    done twice, also if the block stands inside another one. The block belongs to its thread.

    >>> import mlflowish as mf
    >>> with mf.transaction("memory://doc-transaction") as tx:
    ...     tx.put("notes/a", 1)
    ...     tx.put("notes/b", 2)
    >>> dict(mf.Store("memory://doc-transaction").catalog.snapshot().scan("notes/"))
    {'notes/a': 1, 'notes/b': 2}
    """
    opened = as_store(store)
    outer = joined(opened, id)
    if outer is not None:
        with outer:
            yield outer.transaction
        return
    with opened.catalog.transaction(id=id, comment=comment) as tx, entered(opened, tx):
        yield tx


@contextlib.contextmanager
def entered(store: Store, transaction: Transaction) -> Iterator[None]:
    """A block whose changes of this store belong to this transaction."""
    token: Any = _open.set((*_open.get(), _Open(store, transaction)))
    try:
        yield
    finally:
        _open.reset(token)
