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
    """A piece of an open transaction, as a `with` block: if it raises, what it wrote is undone, and the rest stands."""

    def __init__(self, transaction: Transaction) -> None:
        self.transaction = transaction

    def __enter__(self) -> None:
        self._before = self.transaction.saved()

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self.transaction.restore(self._before)


class _Open:
    """An open transaction: of one store, and of the thread that began it."""

    def __init__(self, store: Store, transaction: Transaction) -> None:
        self.store, self.transaction = store, transaction
        self.thread = (os.getpid(), threading.get_ident())

    def serves(self, store: Store) -> bool:
        is_here = self.thread == (os.getpid(), threading.get_ident())
        return is_here and self.transaction.is_open and self.store == store


_open: ContextVar[tuple[_Open, ...]] = ContextVar("mlflowish_transactions", default=())


def joined(store: Store) -> Part | None:
    """A part of the enclosing transaction of this store, None if there is none."""
    for candidate in reversed(_open.get()):
        if candidate.serves(store):
            return Part(candidate.transaction)
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
    done twice. The block belongs to its thread.

    >>> import mlflowish as mf
    >>> with mf.transaction("memory://doc-transaction") as tx:
    ...     tx.put("notes/a", 1)
    ...     tx.put("notes/b", 2)
    >>> dict(mf.Store("memory://doc-transaction").catalog.snapshot().scan("notes/"))
    {'notes/a': 1, 'notes/b': 2}
    """
    opened = as_store(store)
    outer = joined(opened)
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
