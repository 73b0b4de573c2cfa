"""Stores of too few runs for a table: each is folded once in a process, and again when something came of it. Without
numpy."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any

from mlflowish.store import Store
from mlflowish.tracking.folding import RunRecord
from mlflowish.tracking.inflight import in_flight
from mlflowish.tracking.records import RUNS
from mlflowish.tracking.table.folded import REMEMBERED_BYTES, Folded, fold_again

_KEY_BYTES = 16


class FewRuns:
    """What this process knows of the runs of one store. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._folded: dict[bytes, Folded] = {}
        self._mark: tuple[Any, Any] | None = None

    def records(self, store: Store) -> list[RunRecord]:
        """Every run as of now, deleted ones too: what `read_runs` says."""
        with self._lock:
            # Spool files first: what has left them since is in the journals.
            flying = in_flight(store)
            mark, journals = flying.mark(), store.journals(RUNS)
            known = self._mark[1] if self._mark is not None and self._mark[0] == mark else None
            holdings = journals.holdings(unless=known)
            if holdings is None and not all(folded.holds() for folded in self._folded.values()):
                holdings = journals.holdings()
            if holdings is not None:
                payloads: dict[bytes, list[bytes]] = {key: list(loose) for key, loose in holdings.loose.items()}
                for segment in holdings.segments:
                    for item in segment.items():
                        payloads.setdefault(item[:_KEY_BYTES], []).append(item[_KEY_BYTES:])
                found = {
                    key: fold_again(key, sorted(payloads.get(key, ())), flying.batches(key), self._folded.get(key))
                    for key in sorted({*payloads, *flying.run_ids()})
                }
                size_bytes = sum(len(payload) for folded in found.values() for payload in folded.payloads)
                is_kept = size_bytes <= REMEMBERED_BYTES
                self._folded, self._mark = (found, (mark, holdings.mark)) if is_kept else ({}, None)
                return _records(found)
            return _records(self._folded)


def _records(found: dict[bytes, Folded]) -> list[RunRecord]:
    return [folded.record for folded in found.values() if folded.record is not None]


def few_runs(store: Store) -> list[RunRecord]:
    """Every run of a store, deleted ones too, as of now; those of which nothing is new as they were folded before."""
    found = _known.get(store)
    if found is None:
        found = _known.setdefault(store, FewRuns())
    return found.records(store)


_known: weakref.WeakKeyDictionary[Store, FewRuns] = weakref.WeakKeyDictionary()
_forget: Callable[[], None] = _known.clear
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)  # another thread of the parent may have held a lock
