"""Giving up objects: a collection is a transaction first, so that no commit can refer to what it removes.

The protocol: (1) a collector marks what the values of a snapshot name; (2) it commits the names of the others as dead,
and no commit between the snapshot and that one may have referred to them; (3) only then anybody deletes them, at any
time, in any order; (4) a writer looks whether an object is dead, then whether it is there, and the commit checks that
nothing of this has changed. A plain name (the hash alone) stays dead for ever, since whoever stores the same bytes
again without looking here makes it again, and a delayed deletion would remove that; bytes that are needed again get a
name with a random generation. A name with a generation is never made twice, so it can leave the dead once it is gone:
the epoch, which every doom raises, tells a writer that has slept through that. `tests/catalog/test_doom_model.py`
explores all of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from mlflowish.catalog.record import Commit
from mlflowish.catalog.transaction import Transaction
from mlflowish.catalog.view import DEAD, EPOCH
from mlflowish.errors import InvalidInputError

T = TypeVar("T")
_NAME = re.compile(r"[0-9a-f]{64}(?:\.[A-Za-z0-9_-]{1,64})?\Z")


class Committing(Protocol):
    """What is needed of a catalog."""

    def transact(self, function: Callable[[Transaction], T], *, comment: str = "") -> T: ...
    def log(self, since: int | None = None, until: int | None = None) -> Iterable[Commit]: ...


def doom(
    catalog: Committing, names: Iterable[str], *, gone: Iterable[str] = (), since: int | None = None
) -> frozenset[str]:
    """Commit that objects are dead; gives the names that are: those may be deleted now, those alone.

    `since`: the slot of the snapshot in which no value named them; what a commit after it refers to is left out.
    `gone`: names that were dead and that were seen to be deleted: those with a generation leave the dead.
    """
    wanted, removed = _names(names), _names(gone)

    def commit(tx: Transaction) -> frozenset[str]:
        referred: set[str] = set()
        if since is not None and since < tx.slot:
            for earlier in catalog.log(since=since, until=tx.slot):
                referred |= {ref.name for change in earlier.transactions for ref in change.refs}
        doomed = wanted - referred
        tx.read(EPOCH)
        tx.doom(doomed)
        for name in doomed:
            tx.put_own(DEAD + name, 1)
        for name in removed - doomed:
            if "." in name:
                tx.delete_own(DEAD + name)
        tx.put_own(EPOCH, 1 + tx.epoch)
        return doomed

    return catalog.transact(commit, comment=f"doom {len(wanted)} objects")


def _names(names: Iterable[str]) -> frozenset[str]:
    found = frozenset(names)
    for name in found:
        if not isinstance(name, str) or not _NAME.match(name):
            raise InvalidInputError(f"Not the name of an object: {name!r:.200}", name=name)
    return found
