"""Which runs a policy lets go: pure, on what is known of each run.

Deleting puts a run where `mf.restore_run` finds it; only what was deleted long enough is purged. A run stays as long
as something that stays needs it: a registered version, a child run, a run that continues it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from mlflowish.errors import InvalidInputError
from mlflowish.maintenance.retained import DELETE, DROP_CONSOLE, DROP_HARDWARE, KEEP, PURGE, Verdict


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """What `retain` was asked for, ages in seconds; None: not asked."""

    older_than_s: float | None = None
    experiments: frozenset[str] | None = None
    keep_last: int | None = None
    keep_best: int | None = None
    is_lower_better: bool = True
    purge_after_s: float | None = None
    console_after_s: float | None = None
    hardware_after_s: float | None = None
    grace_s: float = 3600.0

    def __post_init__(self) -> None:
        for name in ("older_than", "purge_after", "console_after", "hardware_after", "grace"):
            value = getattr(self, f"{name}_s")
            if value is not None and not value >= 0:
                raise InvalidInputError(f"{name} is not negative, found {value!r}", found=value)
        for name in ("keep_last", "keep_best"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
                raise InvalidInputError(f"{name} is a number of runs, 0 or more, found {value!r}", found=value)

    @property
    def deletes(self) -> bool:
        """Does it let runs go at all?"""
        return any(limit is not None for limit in (self.older_than_s, self.keep_last, self.keep_best))


@dataclass(frozen=True, slots=True)
class KnownRun:
    """A run as far as its retention is concerned. `ended_s`: None while it may be written to; `score`: the value that
    the best are chosen by."""

    run_id: str
    name: str
    experiment: str
    started_s: float
    ended_s: float | None
    deleted_s: float | None = None
    parents: tuple[str, ...] = ()
    score: float | None = None
    has_console: bool = False
    has_hardware: bool = False


def verdicts(runs: Sequence[KnownRun], policy: RetentionPolicy, needed: Collection[str], now_s: float) -> list[Verdict]:
    """What happens to which run, in order of their ids. `needed`: runs that something besides runs refers to."""
    going: dict[str, tuple[str, str]] = {}
    reasons = _reasons(runs, policy)
    for run in runs:
        if run.ended_s is None or now_s - max(run.ended_s, run.deleted_s or 0.0) <= policy.grace_s:
            continue
        if run.deleted_s is not None:
            if policy.purge_after_s is not None and now_s - run.deleted_s > policy.purge_after_s:
                going[run.run_id] = PURGE, f"deleted {_days(now_s - run.deleted_s)} ago"
        elif (why := reasons(run, now_s)) is not None:
            going[run.run_id] = DELETE, why
    spared = _spare(runs, going, needed)
    found = [_verdict(run, *going[run.run_id]) for run in runs if run.run_id in going]
    found += [_verdict(run, KEEP, spared[run.run_id]) for run in runs if run.run_id in spared]
    purged = {run_id for run_id, (action, _) in going.items() if action == PURGE}
    for run in runs:
        if run.ended_s is not None and run.run_id not in purged:
            found += _drops(run, policy, now_s - run.ended_s)
    return sorted(found, key=lambda verdict: (verdict.run_id, verdict.action))


def _reasons(runs: Sequence[KnownRun], policy: RetentionPolicy) -> Callable[[KnownRun, float], str | None]:
    """Why a run may be deleted, if it may."""
    kept = _chosen(runs, policy) if policy.deletes else set()

    def why(run: KnownRun, now_s: float) -> str | None:
        if not policy.deletes or run.run_id in kept or run.ended_s is None:
            return None
        if policy.experiments is not None and run.experiment not in policy.experiments:
            return None
        if policy.older_than_s is None:
            return "not among those to keep"
        return f"ended {_days(now_s - run.ended_s)} ago" if now_s - run.ended_s > policy.older_than_s else None

    return why


def _chosen(runs: Iterable[KnownRun], policy: RetentionPolicy) -> set[str]:
    """The newest and the best of each experiment, of those that have ended and are not deleted."""
    by_experiment: dict[str, list[KnownRun]] = defaultdict(list)
    for run in runs:
        if run.deleted_s is None and run.ended_s is not None:
            by_experiment[run.experiment].append(run)
    kept: set[str] = set()
    for members in by_experiment.values():
        newest = sorted(members, key=lambda run: (-run.started_s, run.run_id))
        kept |= {run.run_id for run in newest[: policy.keep_last or 0]}
        scored = [run for run in newest if run.score is not None and not math.isnan(run.score)]
        sign = 1.0 if policy.is_lower_better else -1.0
        best = sorted(scored, key=lambda run: sign * (run.score or 0.0))
        kept |= {run.run_id for run in best[: policy.keep_best or 0]}
    return kept


def _spare(runs: Sequence[KnownRun], going: dict[str, tuple[str, str]], needed: Collection[str]) -> dict[str, str]:
    """Take out of `going` what something that stays needs; why."""
    spared: dict[str, str] = {}
    for run_id in [run_id for run_id in going if run_id in needed]:
        spared[run_id] = "a registered model came from it"
        del going[run_id]
    # Who stays where `mf.restore_run` finds it needs its parents at least there; who stays as it is, as they are.
    by_id = {run.run_id: run for run in runs}
    waiting = [(run, action == DELETE or run.deleted_s is not None) for run, action in _staying(runs, going)]
    while waiting:
        run, is_deleted = waiting.pop()
        for parent in run.parents:
            action = going.get(parent, ("", ""))[0]
            if action == PURGE or (action == DELETE and not is_deleted):
                del going[parent]
                spared[parent] = f"run {run.run_id} belongs to it or continues it"
                waiting.append((by_id[parent], action == PURGE))
    return spared


def _staying(runs: Iterable[KnownRun], going: dict[str, tuple[str, str]]) -> list[tuple[KnownRun, str]]:
    found = [(run, going.get(run.run_id, ("", ""))[0]) for run in runs]
    return [(run, action) for run, action in found if action != PURGE]


def _drops(run: KnownRun, policy: RetentionPolicy, age_s: float) -> list[Verdict]:
    if policy.experiments is not None and run.experiment not in policy.experiments:
        return []
    found = []
    for has, limit_s, action in (
        (run.has_console, policy.console_after_s, DROP_CONSOLE),
        (run.has_hardware, policy.hardware_after_s, DROP_HARDWARE),
    ):
        if has and limit_s is not None and age_s > max(limit_s, policy.grace_s):
            found.append(_verdict(run, action, f"ended {_days(age_s)} ago"))
    return found


def _verdict(run: KnownRun, action: str, why: str) -> Verdict:
    return Verdict(run.run_id, run.name, run.experiment, action, why)


def _days(seconds: float) -> str:
    days = seconds / 86_400
    return f"{days:,.0f} days" if days >= 2 else f"{seconds / 3600:,.1f} hours"
