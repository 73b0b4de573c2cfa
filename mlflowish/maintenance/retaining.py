"""`retain`: lets runs go by policy, in steps that can be taken back until the last, beside any number of writers."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from mlflowish.errors import InvalidInputError, NotFoundError
from mlflowish.maintenance.checking import Unwatched, Watch
from mlflowish.maintenance.policy import Age, seconds_in
from mlflowish.maintenance.retained import DELETE, DROP_CONSOLE, DROP_HARDWARE, KEEP, PURGE, RetentionReport, Verdict
from mlflowish.maintenance.retention import KnownRun, RetentionPolicy, verdicts
from mlflowish.registry.records import VERSIONS
from mlflowish.store import Store, as_store, existing_store
from mlflowish.store.layout import read_layout
from mlflowish.tracking import delete_run, restore_run, sync
from mlflowish.tracking.burial import burials
from mlflowish.tracking.filters import Field, parse_order
from mlflowish.tracking.folding import RunRecord, fold, unique
from mlflowish.tracking.inflight import in_flight
from mlflowish.tracking.purging import Removed, drop, droppable, purge, remove_buried, run_bytes
from mlflowish.tracking.reading import read_batches
from mlflowish.tracking.records import CONSOLE, POINTS, RUNS, Batch, unpack_batch
from mlflowish.tracking.search import value_of


def retain(
    store: Store | str | os.PathLike[str] | None = None,
    *,
    dry_run: bool = True,
    older_than: Age | None = None,
    experiment: str | Sequence[str] | None = None,
    keep_last: int | None = None,
    keep_best: int | None = None,
    by: str | None = None,
    purge_after: Age | None = None,
    console_after: Age | None = None,
    hardware_after: Age | None = None,
    grace: Age = 3600.0,
    watch: Watch | None = None,
) -> RetentionReport:
    """Let runs go by policy. `dry_run` (the default) only says what would happen; the report has a row for each run.

    Runs that ended longer ago than `older_than` (seconds, a timedelta, or text such as "90d") are deleted, of
    `experiment` (one or more; default all); the `keep_last` newest of each experiment are kept, and the `keep_best` by
    an order such as `by="metrics.loss asc"`; without `older_than`, all but those go. Deleted runs can be restored,
    until they have been deleted for longer than `purge_after`: then they go for good, and their artifacts with the next
    `mf.gc`. `console_after` and `hardware_after` let the text that runs printed, and series of the machine, go.

    Kept is what runs now or was logged or ended within `grace` (1 hour), what a registered version came from, and what
    a run that stays belongs to or continues. Safe beside writers: a run that is restored, resumed or written to
    meanwhile stays. It may be killed at any time; the next one ends its work, and so does `mf.gc`. In a bucket, records
    are removed by a call that comes at least `grace` later. NotFoundError if a path or URL has no store.

    >>> import mlflowish as mf
    >>> for lr in (0.1, 0.2, 0.3):
    ...     with mf.start_run(f"lr {lr}", experiment="doc-retain"):
    ...         mf.log_metric("loss", lr)
    >>> report = mf.retain(experiment="doc-retain", keep_best=1, by="metrics.loss asc", grace=0)
    >>> [(row["name"], row["action"]) for row in report.to_table()]
    [('lr 0.2', 'delete'), ('lr 0.3', 'delete')]
    """
    order = _order(keep_best, by)
    names = None if experiment is None else {experiment} if isinstance(experiment, str) else set(experiment)
    policy = RetentionPolicy(
        older_than_s=_seconds(older_than, "older_than"),
        experiments=None if names is None else frozenset(names),
        keep_last=keep_last,
        keep_best=keep_best,
        is_lower_better=order is None or not order[1],
        purge_after_s=_seconds(purge_after, "purge_after"),
        console_after_s=_seconds(console_after, "console_after"),
        hardware_after_s=_seconds(hardware_after, "hardware_after"),
        grace_s=seconds_in(grace, "grace"),
    )
    opened = as_store(store)
    if read_layout(opened.storage) is None and not in_flight(opened).run_ids():
        return RetentionReport(existing_store(store).url, dry_run)
    return _Retention(opened, policy, order[0] if order else None, watch or Unwatched()).run(dry_run=dry_run)


class _Retention:
    """One run."""

    def __init__(self, store: Store, policy: RetentionPolicy, by: Field | None, watch: Watch) -> None:
        self.store, self.policy, self.by, self.watch = store, policy, by, watch
        self.now_s = time.time()
        self.wait_s = 0.0 if store.storage.capabilities.append else policy.grace_s
        self.ended_s: dict[str, float] = {}  # of each run, as it was when the policy was asked

    def run(self, *, dry_run: bool) -> RetentionReport:
        if not dry_run:
            sync(self.store)  # what ended here, or was left by dead processes, is in flight no more
        self.watch.begin("runs")
        found = verdicts(list(self._known(dry_run=dry_run)), self.policy, self._registered(), self.now_s)
        self.watch.begin("retention", len(found))
        done = [self._sized(verdict) if dry_run else self._obeyed(verdict) for verdict in found]
        if not dry_run:
            self.store.flush()
        self.watch.begin("records")
        removed = remove_buried(self.store, wait_s=self.wait_s, dry_run=dry_run)
        if dry_run:  # and what it would announce first
            size = removed.size_bytes + sum(verdict.size_bytes for verdict in done)
            removed = Removed(removed.runs, removed.records, size)
        waits = bool(self.wait_s) and any(v.action in (PURGE, DROP_CONSOLE, DROP_HARDWARE) for v in done)
        complete = removed.is_complete and (dry_run or not waits)
        return RetentionReport(self.store.url, dry_run, tuple(done), removed.records, removed.size_bytes, complete)

    def _known(self, *, dry_run: bool) -> Iterator[KnownRun]:
        """Every run. What is in flight after `sync` belongs to another process, which is at work on it."""
        flying = in_flight(self.store)
        unseen = flying.run_ids()
        for run_id, payloads in groupby(self.store.journals(RUNS).scan(), key=lambda item: item[0]):
            self.watch.advance()
            batches = [*(unpack_batch(payload) for _, payload in payloads), *flying.batches(run_id)]
            yield from self._described(run_id, batches, is_held=run_id in unseen and not dry_run)
            unseen.discard(run_id)
        for run_id in unseen:
            yield from self._described(run_id, flying.batches(run_id), is_held=not dry_run)

    def _described(self, run_id: bytes, batches: list[Batch], *, is_held: bool) -> Iterator[KnownRun]:
        batches = unique(batches)
        record = fold(run_id, batches)
        if record is None:
            return
        score = value_of(record, self.by) if self.by is not None else None
        ended_s = None if is_held or record.end_s is None else max(record.end_s, _heard_s(batches))
        if ended_s is not None:
            self.ended_s[record.run_id] = ended_s
        console, hardware = (0, 0) if ended_s is None else self._droppable(record, batches, ended_s)
        yield KnownRun(
            run_id=record.run_id,
            name=record.name,
            experiment=record.experiment,
            started_s=record.start_s,
            ended_s=ended_s,
            deleted_s=_deleted_s(batches) if record.is_deleted else None,
            parents=tuple(filter(None, (record.parent_id, record.forked_from and record.forked_from[0]))),
            score=float(score) if isinstance(score, (int, float)) else None,
            has_console=bool(console),
            has_hardware=bool(hardware),
        )

    def _droppable(self, record: RunRecord, batches: list[Batch], ended_s: float) -> tuple[int, int]:
        """Bytes of console text and hardware series that nobody let go yet; looked at only where that is asked for."""
        said = {kind: each.time_us / 1e6 for each in burials(batches) if not each.is_whole for kind in each.names}
        policy = self.policy
        is_asked = (policy.console_after_s is not None and said.get(CONSOLE, 0.0) < ended_s) or (
            policy.hardware_after_s is not None and bool(record.hardware) and said.get(POINTS, 0.0) < ended_s
        )
        return droppable(self.store, bytes.fromhex(record.run_id)) if is_asked else (0, 0)

    def _registered(self) -> set[str]:
        """Runs that versions of registered models came from; purged versions need none any more."""
        values = self.store.catalog.read_newest(lambda state: [value for _, value in state.scan(f"{VERSIONS}/")])
        found = (value for value in values if isinstance(value, dict))
        return {
            str(value["run_id"])
            for value in found
            if value.get("run_id") and not (value.get("deleted") or {}).get("purged_s")
        }

    def _sized(self, verdict: Verdict) -> Verdict:
        self.watch.advance()
        run_id = bytes.fromhex(verdict.run_id)
        if verdict.action == PURGE:
            return replace(verdict, size_bytes=run_bytes(self.store, run_id))
        if verdict.action in (DROP_CONSOLE, DROP_HARDWARE):
            return replace(verdict, size_bytes=droppable(self.store, run_id)[verdict.action == DROP_HARDWARE])
        return verdict

    def _obeyed(self, verdict: Verdict) -> Verdict:
        run_id = bytes.fromhex(verdict.run_id)
        sized = self._sized(verdict)
        if verdict.action == PURGE and not purge(self.store, run_id):
            return replace(verdict, action=KEEP, why="it was restored, resumed or written to meanwhile")
        if verdict.action == DELETE and not self._delete(run_id):
            return replace(verdict, action=KEEP, why="it was resumed meanwhile")
        if verdict.action in (DROP_CONSOLE, DROP_HARDWARE):
            drop(
                self.store,
                run_id,
                console=verdict.action == DROP_CONSOLE,
                hardware=verdict.action == DROP_HARDWARE,
            )
        return sized

    def _delete(self, run_id: bytes) -> bool:
        """Delete a run; False if it was resumed meanwhile: it stays then."""
        try:
            if self._is_resumed(run_id):
                return False
            delete_run(run_id.hex(), store=self.store)
            if self._is_resumed(run_id):  # by who looked whether it is deleted just before it was
                restore_run(run_id.hex(), store=self.store)
                return False
        except NotFoundError:  # another retention has purged it meanwhile
            pass
        return True

    def _is_resumed(self, run_id: bytes) -> bool:
        """Has somebody opened it, or logged into it, since the policy was asked?"""
        batches = unique(read_batches(self.store, run_id.hex()))
        record = fold(run_id, batches)
        if record is None:
            return False
        ended_s = None if record.end_s is None else max(record.end_s, _heard_s(batches))
        return ended_s != self.ended_s.get(run_id.hex()) or run_id in in_flight(self.store).run_ids()


def _deleted_s(batches: list[Batch]) -> float:
    times = [event.time_us for batch in batches for event in batch.events if event.kind in ("life", "purge")]
    return max(times, default=0) / 1e6


def _heard_s(batches: list[Batch]) -> float:
    """When it last told something of itself; what others said about it does not count."""
    told = (event.time_us for batch in batches for event in batch.events if event.kind not in ("life", "purge", "drop"))
    return max(told, default=0) / 1e6


def _order(keep_best: int | None, by: str | None) -> tuple[Field, bool] | None:
    if (keep_best is None) != (by is None):
        raise InvalidInputError(
            f"keep_best says how many runs, by='metrics.loss asc' what makes them good: found {keep_best!r} and {by!r}",
            found=by,
        )
    return None if by is None else parse_order(by)


def _seconds(age: Age | None, name: str) -> float | None:
    return None if age is None else seconds_in(age, name)
