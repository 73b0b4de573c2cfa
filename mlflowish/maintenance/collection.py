"""`gc`: lets results go by policy, and deletes what nothing reaches any more, beside any number of writers.

Objects that nothing refers to are doomed first (`store/dooms.py`), then everything is looked through once more, and
only what is doomed and still reached by nothing is deleted. A writer that was about to refer to one either made it in
time to be seen, or sees that it is doomed and writes it under a new name. Where records are on their way for a while
(buckets), the second look comes `grace` later, in a later run.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Collection, Iterable
from importlib.util import find_spec

from mlflowish.maintenance.checking import DAY_S, Unwatched, Watch
from mlflowish.maintenance.collected import GcReport, Pile
from mlflowish.maintenance.layout_check import leftovers, local_root
from mlflowish.maintenance.policy import Age, Candidate, Policy, Size, bytes_in, evictions, seconds_in
from mlflowish.maintenance.reach import live_calls, name_of, named_objects, objects
from mlflowish.registry.purging import deleted_before, purge_if_deleted_before, version_key
from mlflowish.registry.records import VersionRecord
from mlflowish.storage import LocalStorage, ObjectInfo, Storage
from mlflowish.store import Store, existing_store, forgetting
from mlflowish.store import entries as records
from mlflowish.store.layout import read_layout
from mlflowish.tracking.purging import remove_buried

SEAL_S = 1.0  # the seal of an object moves its time of modification by up to a second
ASIDE_KEPT_S = 7 * DAY_S  # damaged bytes are kept for somebody to look at


def gc(
    store: Store | str | os.PathLike[str] | None = None,
    *,
    dry_run: bool = True,
    older_than: Age | None = None,
    max_size: Size | None = None,
    keep_last: int | None = None,
    purge_deleted: Age | None = None,
    grace: Age = 3600.0,
    watch: Watch | None = None,
) -> GcReport:
    """Delete what nothing reaches; with a policy, let stored results go first. `dry_run` (the default) only says what
    would go.

    Kept is what live results, unfinished ones, runs and the catalog (models and their versions) refer to. `older_than`
    (seconds, a timedelta, or text such as "30d") lets results go that were stored longer ago; `max_size` (bytes, or
    text such as "10GB") as many as needed until results fit into it: those of earlier days (UTC) first, and of one day
    those that took the least time to compute; `keep_last` never the newest so many of each step (alone: all but
    these). What went is computed again when it is called. `purge_deleted` (an age) purges the versions of models that
    were deleted longer ago, as `mf.registry.purge` does: they cannot be restored.

    The catalog's log is cleaned as well: commits that are older than a week, and not among the last 1024, are merged
    into a checkpoint (`at=` reaches no further back).

    `grace` (1 hour): nothing younger is touched. In a bucket, records may be on their way for some seconds: there an
    object is only marked, and deleted by a run at least `grace` later. Safe beside writers and other runs, on one
    machine with any `grace`; it may be killed at any time, the next run finishes its work.

    Memory: about 200 bytes for each object, and with a policy 500 for each result. NotFoundError if a path or URL
    has no store, ReadOnlyError if it cannot be written.

    >>> import mlflowish as mf
    >>> with mf.Store("memory://doc-gc") as store:
    ...     @mf.step
    ...     def double(x):
    ...         return 2 * x
    ...     _ = double(1), double(2)
    >>> mf.gc(store, older_than="30d").evicted.count
    0
    """
    policy = Policy(
        None if older_than is None else seconds_in(older_than, "older_than"),
        None if max_size is None else bytes_in(max_size, "max_size"),
        keep_last,
        seconds_in(grace, "grace"),
        None if purge_deleted is None else seconds_in(purge_deleted, "purge_deleted"),
    )
    opened = existing_store(store)
    if read_layout(opened.storage) is None:
        return GcReport(opened.url, dry_run)
    return _Collection(opened, policy, watch or Unwatched()).run(dry_run=dry_run)


class _Collection:
    """One run."""

    def __init__(self, store: Store, policy: Policy, watch: Watch) -> None:
        self.store, self.storage, self.policy, self.watch = store, store.storage, policy, watch
        self.now_s = time.time()
        self.listed: set[str] = set()
        self.waits = not store.storage.capabilities.append

    def run(self, *, dry_run: bool) -> GcReport:
        if not dry_run:
            self.store.flush()
            self.watch.begin("purged runs")
            remove_buried(self.store, wait_s=self.policy.grace_s if self.waits else 0.0)
        self.watch.begin("results")
        leaving = evictions(live_calls(self.store), self.policy, self.now_s)
        deleted = self._deleted_versions()
        if not dry_run:
            self._evict(leaving)
            deleted = self._purge(deleted)
        self.watch.begin("objects")
        present = self._present()
        keys = {version_key(name, number) for name, number, _ in deleted}
        unreached = self._unreached(present, leaving, keys) if dry_run else self._unreached(present)
        evicted = Pile(len(leaving), sum(each.record_bytes for each in leaving))
        purged = Pile(len(deleted), sum(size for _, _, record in deleted for _, size in record.refs))
        if dry_run:
            gone, waiting = self._split(unreached, self.store.dooms.since() if self.waits else {})
            remains = self._remains(delete=False)
            return GcReport(self.store.url, True, evicted, purged, Pile.of(gone), Pile.of(waiting), remains)
        gone, waiting = self._collect(unreached)
        remains = self._remains(delete=True)
        log = self._clean()
        saved = self._compact()
        return GcReport(self.store.url, False, evicted, purged, Pile.of(gone), Pile.of(waiting), remains, log, saved)

    def _present(self) -> dict[str, int]:
        """Objects that are old enough to be looked at; `listed` has all of them."""
        present = {}
        for info in objects(self.store):
            self.listed.add(name_of(info))
            if not self.now_s - info.modified_s < self.policy.grace_s - SEAL_S:  # of unknown age: old
                present[name_of(info)] = info.size_bytes
        return present

    def _evict(self, leaving: Collection[Candidate]) -> None:
        journals, tags = self.store.journals("calls"), {candidate.tag for candidate in leaving}
        for tag in tags:
            forgetting.note(self.store, tag)
        for candidate in leaving:
            self.watch.advance()
            journals.append(candidate.key, records.pack_tombstone([candidate.id], candidate.tag))
        journals.flush()
        for tag in tags:  # whoever has looked since may rely on what is gone now
            forgetting.note(self.store, tag)

    def _deleted_versions(self) -> list[tuple[str, int, VersionRecord]]:
        """The deleted versions of models that the policy purges."""
        if self.policy.purge_deleted_s is None:
            return []
        before_s = self.now_s - self.policy.purge_deleted_s
        return self.store.catalog.read_newest(lambda state: deleted_before(state, before_s))

    def _purge(self, deleted: list[tuple[str, int, VersionRecord]]) -> list[tuple[str, int, VersionRecord]]:
        """Purge them; those that somebody has restored, or purged, meanwhile are left out."""
        before_s = self.now_s - (self.policy.purge_deleted_s or 0.0)
        comment = "deleted longer ago than a collection keeps"
        return [
            (name, number, record)
            for name, number, record in deleted
            if purge_if_deleted_before(name, number, before_s, comment=comment, store=self.store)
        ]

    def _clean(self) -> Pile:
        """Clean the log of the catalog, if there is one."""
        self.watch.begin("log")
        cleaned = self.store.catalog.clean()
        return Pile(cleaned.files, cleaned.size_bytes)

    def _unreached(
        self, present: dict[str, int], leaving: Iterable[Candidate] = (), keys: Collection[str] = ()
    ) -> dict[str, int]:
        """Which of these objects nothing reaches; `leaving`: entries that only would go, `keys`: values likewise."""
        found = dict(present)
        gone = {candidate.id for candidate in leaving}
        for name in named_objects(self.store, self.now_s, without=gone, without_keys=keys):
            found.pop(name, None)
        return found

    def _collect(self, unreached: dict[str, int]) -> tuple[dict[str, int], dict[str, int]]:
        """Doom, look again, delete: what was deleted, and what waits for a later run."""
        dooms = self.store.dooms
        known = dooms.since()
        dooms.announce(name for name in unreached if name not in known)
        if unreached:
            # Whoever refers to an object in the catalog at this moment is told to look for announcements again.
            self.store.catalog.doom(())
            self.watch.begin("second look")
            unreached = self._unreached(unreached)
        # Those that were announced now wait where records may still be on their way.
        gone, waiting = self._split(unreached, known)
        self.watch.begin("deleting", len(gone))
        for name in gone:
            self.storage.delete(f"objects/{name[:2]}/{name}")
            self.watch.advance()
        dooms.tidy(name for name in known if name not in self.listed)
        dooms.close()
        return gone, waiting

    def _split(self, unreached: dict[str, int], known: dict[str, float]) -> tuple[dict[str, int], dict[str, int]]:
        if not self.waits:
            return unreached, {}
        ripe_s = self.now_s - self.policy.grace_s
        gone = {name: size for name, size in unreached.items() if known.get(name, math.inf) <= ripe_s}
        return gone, {name: size for name, size in unreached.items() if name not in gone}

    def _remains(self, *, delete: bool) -> Pile:
        """Old files of `quarantine/`, stale leases, unfinished files of dead processes, replaced tables of runs."""
        old = [
            *_replaced_tables(self.storage),
            *(info for info in self.storage.list("quarantine") if self.now_s - info.modified_s > ASIDE_KEPT_S),
            *(info for info in self.storage.list("leases") if self.now_s - info.modified_s > DAY_S),
        ]
        if delete:
            for info in old:
                self.storage.delete(info.path)
        root = local_root(self.storage)
        left = [size for _, size, modified_s in leftovers(root) if self.now_s - modified_s > DAY_S] if root else []
        if delete and left and root:
            LocalStorage(root).remove_leftovers(older_than_s=DAY_S)
        return Pile(len(old) + len(left), sum(info.size_bytes for info in old) + sum(left))

    def _compact(self) -> Pile:
        """Merge journals and segments, without the entries that are gone; by how much did that shrink them?"""
        before = self._records()
        self.store.compact()
        after = self._records()
        return Pile(max(before.count - after.count, 0), max(before.size_bytes - after.size_bytes, 0))

    def _records(self) -> Pile:
        sizes = [info.size_bytes for folder in ("journals", "segments") for info in self.storage.list(folder)]
        return Pile(len(sizes), sum(sizes))


def _replaced_tables(storage: Storage) -> Iterable[ObjectInfo]:
    if find_spec("numpy") is None:
        return ()
    from mlflowish.tracking.table.manifest import replaced

    return replaced(storage)
