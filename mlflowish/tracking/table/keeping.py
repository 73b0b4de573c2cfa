"""The table of one store as of now: what rests, made anew where it has to be, and over it what it does not cover.

A search that would have to fold many runs builds parts of them instead, and stores these for everybody. What it cannot
store it keeps for itself: the table is never needed, and never in the way.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from blake3 import blake3

from mlflowish import settings
from mlflowish.errors import MlflowishError
from mlflowish.journals import Holdings, Segment
from mlflowish.journals.access import Access, access_to
from mlflowish.storage import Storage
from mlflowish.store import Store
from mlflowish.tracking.folding import RunRecord
from mlflowish.tracking.inflight import InFlight, in_flight
from mlflowish.tracking.records import RUNS
from mlflowish.tracking.table import FOLDED_RUNS
from mlflowish.tracking.table.builder import Builder
from mlflowish.tracking.table.building import pieces_of
from mlflowish.tracking.table.columns import (
    IS_DELETED,
    IS_NO_RUN,
    OPEN,
    Array,
    Columns,
    here,
    joined,
)
from mlflowish.tracking.table.coverage import Indexes, as_ids, as_keys, gaps, unique
from mlflowish.tracking.table.folded import Folded, Remembered, fold_again, payloads_of
from mlflowish.tracking.table.manifest import Rows, Table, latest_number, read_table, replaced, write_table
from mlflowish.tracking.table.part import Part, batch_of

PART_ROWS = 65_536
PART_TEXT_BYTES = 256 << 20
# Looking whether so many runs are still told of right takes as long as folding `FOLDED_RUNS`.
LOOKED_RUNS = 50_000
MERGED_PARTS = 4
_TIERS = (PART_ROWS // 16, PART_ROWS // 4, PART_ROWS * 3 // 4)
_PARTS_A_MANIFEST = 4  # what is built is stored after so many parts: whoever is killed has not worked in vain
_log = logging.getLogger("mlflowish.tracking")


@dataclass(frozen=True)
class Shown:
    """Every run once, as of one moment: rows of parts that `is_live`; the last part is of what was folded just now."""

    parts: tuple[Part, ...]
    is_live: tuple[Array, ...]
    folded: dict[bytes, Folded]
    remembered: Remembered
    mark: tuple[Any, ...]

    def visible(self, part: int, *, deleted: bool) -> Array:
        """Rows that are runs; deleted ones only if asked for."""
        hidden = IS_NO_RUN | (0 if deleted else IS_DELETED)
        found: Array = self.is_live[part] & ((self.parts[part].flags & hidden) == 0)
        return found

    def record(self, run_id: bytes) -> RunRecord | None:
        """One of these runs, whole. What the table tells of rests in segments only."""
        known = self.folded.get(run_id)
        if known is not None:
            return known.record
        return self.remembered.record(run_id)


class Keeper:
    """What this process knows of the table of one store. Thread-safe."""

    def __init__(self, storage: Storage) -> None:
        identity = str(getattr(storage, "identity", storage.url)).encode("utf-8", "surrogatepass")
        self._storage = storage
        self._access: Access = access_to(storage, settings.cache_dir() / "tables" / blake3(identity).hexdigest(16))
        self._lock = threading.RLock()
        self._table: Table | None = None
        self._parts: dict[str, Part] = {}
        self._indexes = Indexes()
        self._shown: Shown | None = None

    def shown(self, store: Store) -> Shown:
        """Every run as of now."""
        with self._lock:
            # Spool files first: what has left them since is in the journals.
            flying = in_flight(store)
            mark = flying.mark()
            journals = store.journals(RUNS)
            before = self._shown
            holdings = journals.holdings(unless=before.mark[1] if before and before.mark[0] == mark else None)
            if holdings is None:
                assert before is not None
                if all(folded.holds() for folded in before.folded.values()):
                    return before
                holdings = journals.holdings()
                assert holdings is not None
            elif len(holdings.loose) >= FOLDED_RUNS and journals.seal(at_least=FOLDED_RUNS):
                holdings = journals.holdings() or holdings
            self._shown = self._as_of(flying, holdings, (mark, holdings.mark))
            return self._shown

    def stored(self) -> Table | None:
        """The most useful table that rests in the store, read anew."""
        with self._lock:
            self._table, self._shown = None, None
            self._parts.clear()
            return read_table(self._storage, self._access, self._parts)

    def damaged(self, path: str) -> None:
        """A part was found damaged: out of the way with it."""
        with self._lock:
            _log.warning("A part of the table of runs is damaged and made anew: %s", path)
            self._table, self._shown = None, None
            self._parts.clear()
            try:
                self._storage.delete(path)
                self._access.forget(path)
            except MlflowishError as error:
                # It cannot be replaced, so nothing that names it is used.
                _log.info("It cannot be deleted: %s", error)
                self._table = Table()

    def _as_of(self, flying: InFlight, holdings: Holdings, mark: tuple[Any, ...]) -> Shown:
        table = self._table
        if table is None:
            table = self._table = read_table(self._storage, self._access, self._parts) or Table()
        found = gaps(table, holdings.segments, self._indexes)
        if len(found.keys) >= FOLDED_RUNS or found.looked >= LOOKED_RUNS:
            newer = self._newer(table)
            if newer is not None:
                table, found = newer, gaps(newer, holdings.segments, self._indexes)
            if len(found.keys) >= FOLDED_RUNS or found.looked >= LOOKED_RUNS:
                table = self._built(table, found.keys, found.indexed)
                found = gaps(table, holdings.segments, self._indexes)
            self._table = table
        self._indexes.keep(segment.path for segment in holdings.segments if segment.path not in table.covers)
        return self._over(table, found.keys, found.indexed, flying, holdings, mark)

    def _newer(self, table: Table) -> Table | None:
        """What somebody else has built meanwhile."""
        try:
            if latest_number(self._storage) <= table.number:
                return None
            return read_table(self._storage, self._access, self._parts)
        except MlflowishError as error:
            _log.info("Looking for a table of runs in %s failed: %s", self._storage.url, error)
            return None

    # -- building ------------------------------------------------------------------------------------

    def _built(self, table: Table, keys: Array, segments: Sequence[Segment]) -> Table:
        """A table that covers these segments, with these runs folded from them."""
        pieces = pieces_of(keys, segments, most=PART_ROWS, text_bytes=PART_TEXT_BYTES)
        for done, (columns, ids) in enumerate(pieces, 1):
            table = _merged(_with(table, columns, ids))
            if done % _PARTS_A_MANIFEST == 0:
                table = self._stored(table)
        return self._stored(replace(table, covers=frozenset(segment.path for segment in segments)))

    def _stored(self, table: Table) -> Table:
        """A store that takes nothing is no reason to fail: the table is kept in memory then."""
        try:
            number = 1 + max(table.number, latest_number(self._storage))
            stored = write_table(self._storage, self._access, replace(table, number=number))
            for info in replaced(self._storage):
                self._storage.delete(info.path)
                self._access.forget(info.path)
        except MlflowishError as error:
            _log.info("The table of runs in %s cannot be stored: %s", self._storage.url, error)
            return table
        self._parts = {rows.part.name: rows.part for rows in stored.rows}
        return stored

    # -- what the table does not cover ---------------------------------------------------------------

    def _over(
        self,
        table: Table,
        missing: Array,
        indexed: Sequence[Segment],
        flying: InFlight,
        holdings: Holdings,
        mark: tuple[Any, ...],
    ) -> Shown:
        loose = dict(holdings.loose)
        for segment in holdings.segments:
            if segment not in indexed:
                for item in segment.items():
                    loose[item[:16]] = (*loose.get(item[:16], ()), item[16:])
        ids = unique([as_ids({*loose, *flying.run_ids()}), missing, *_undecided(table)])
        before = self._shown.folded if self._shown is not None else {}
        remembered = self._shown.remembered if self._shown is not None else None
        if remembered is None or remembered.segments != holdings.segments:
            remembered = Remembered(holdings.segments)
        folded = {
            key: fold_again(
                key,
                [*payloads_of(holdings.segments, key), *loose.get(key, ())],
                flying.batches(key),
                before.get(key),
            )
            for key in as_keys(ids)
        }
        builder = Builder()
        for key, each in folded.items():
            builder.add(key, each.record)
        rows = [each.without(ids) for each in table.rows] if len(ids) else list(table.rows)
        if folded:
            part = Part(batch_of(builder.finished()))
            rows.append(Rows(part, np.ones(len(part), bool)))
        return Shown(tuple(each.part for each in rows), tuple(each.is_live for each in rows), folded, remembered, mark)


def keeper_of(store: Store) -> Keeper:
    """The one of this process for a store."""
    found = _known.get(store)
    if found is None:
        found = _known.setdefault(store, Keeper(store.storage))
    return found


def _undecided(table: Table) -> list[Array]:
    """Runs that are folded whatever the table says: those with a session that nobody has ended, of a process of this
    machine, which may be found dead."""
    place, found = here(), []
    for rows in table.rows:
        opened = rows.part.text(OPEN)
        if opened is not None and (code := opened.find(place)) >= 0:
            undecided = opened.rows[opened.codes == code]
            found.append(np.sort(rows.part.ids[undecided[rows.is_live[undecided]]]))
    return found


def _with(table: Table, columns: Columns, ids: Array) -> Table:
    batch = batch_of(columns)
    part = Part(batch)
    older = tuple(rows.without(ids) for rows in table.rows)
    return replace(table, rows=(*older, Rows(part, np.ones(len(part), bool), batch)))


def _merged(table: Table) -> Table:
    """Few large parts instead of many small ones, and none that is mostly rows that do not count."""
    rows = [each for each in table.rows if each.count]
    while due := _due(rows):
        columns = joined([rows[place].part.columns() for place in due], [rows[place].is_live for place in due])
        batch = batch_of(columns)
        part = Part(batch)
        rows = [each for place, each in enumerate(rows) if place not in due]
        rows.append(Rows(part, np.ones(len(part), bool), batch))
    return replace(table, rows=tuple(rows))


def _due(rows: Sequence[Rows]) -> list[int]:
    """Places of the parts to merge now."""
    for place, each in enumerate(rows):
        if each.count * 2 < len(each.part):
            return [place]
    for limit in _TIERS:
        small = sorted((each.count, place) for place, each in enumerate(rows) if each.count <= limit)
        if len(small) < MERGED_PARTS:
            continue
        chosen, total = [], 0
        for count, place in small:
            if total + count <= PART_ROWS:
                chosen.append(place)
                total += count
        if len(chosen) > 1:
            return chosen
    return []


_known: weakref.WeakKeyDictionary[Store, Keeper] = weakref.WeakKeyDictionary()
_forget: Callable[[], None] = _known.clear
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)  # another thread of the parent may have held a lock
