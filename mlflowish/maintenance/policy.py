"""Which stored results may go: by age, by the size of all of them, by how many of each step are kept."""

from __future__ import annotations

import datetime
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mlflowish.errors import InvalidInputError
from mlflowish.maintenance.reach import Stored
from mlflowish.store.entries import step_tag

Age = float | int | str | datetime.timedelta
Size = int | str

_DAY_S = 86_400.0
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": _DAY_S, "w": 7 * _DAY_S}
_BYTES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_BYTES |= {"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40}
_QUANTITY = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*\Z")


@dataclass(frozen=True, slots=True)
class Policy:
    """What `gc` was asked to evict. Nothing younger than `grace_s` is, and none of the `keep_last` newest of a step.
    `purge_deleted_s`: versions of models that were deleted longer ago are purged."""

    older_than_s: float | None = None
    max_bytes: int | None = None
    keep_last: int | None = None
    grace_s: float = 3600.0
    purge_deleted_s: float | None = None

    def __post_init__(self) -> None:
        for name in ("older_than_s", "max_bytes", "grace_s", "purge_deleted_s"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                named = name.removesuffix("_s").replace("max_bytes", "max_size")
                raise InvalidInputError(f"{named} is not negative, found {value!r}", found=value)
        require_number(self.keep_last, "keep_last")

    @property
    def evicts(self) -> bool:
        """Does it let anything go at all?"""
        return any(limit is not None for limit in (self.older_than_s, self.max_bytes, self.keep_last))


@dataclass(frozen=True, slots=True)
class Candidate:
    """An entry as far as its eviction is concerned."""

    key: bytes
    id: bytes
    tag: bytes
    created_s: float
    duration_s: float
    record_bytes: int
    objects: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, stored: Stored) -> Candidate:
        entry, meta = stored.entry, stored.entry.meta
        objects = tuple((ref.name, ref.size_bytes) for ref in entry.objects)
        tag = step_tag(meta.step)
        return cls(entry.key, entry.id, tag, entry.created_s, meta.duration_s, stored.record_bytes, objects)

    @property
    def order(self) -> tuple[float, float, float, bytes]:
        """Who goes first: of an earlier day (UTC); within a day what is computed again in less time."""
        return self.created_s // _DAY_S, self.duration_s, self.created_s, self.id


def evictions(calls: Iterable[Stored], policy: Policy, now_s: float) -> list[Candidate]:
    """The entries that the policy lets go, in the order in which it does."""
    if not policy.evicts:
        return []
    known = sorted((Candidate.of(stored) for stored in calls), key=lambda candidate: candidate.order)
    free = [candidate for candidate in known if now_s - candidate.created_s > policy.grace_s]
    if policy.keep_last is not None:
        safe = _newest(known, policy.keep_last)
        free = [candidate for candidate in free if candidate.id not in safe]
        if policy.older_than_s is None and policy.max_bytes is None:
            return free
    limit_s = policy.older_than_s
    gone = [] if limit_s is None else [each for each in free if now_s - each.created_s > limit_s]
    if policy.max_bytes is not None:
        ids = {candidate.id for candidate in gone}
        kept = [candidate for candidate in known if candidate.id not in ids]
        gone += _down_to(policy.max_bytes, kept, [candidate for candidate in free if candidate.id not in ids])
    return gone


def _newest(known: list[Candidate], count: int) -> set[bytes]:
    by_step: dict[bytes, list[Candidate]] = defaultdict(list)
    for candidate in known:
        by_step[candidate.tag].append(candidate)
    return {
        candidate.id
        for candidates in by_step.values()
        for candidate in sorted(candidates, key=lambda each: (each.created_s, each.id), reverse=True)[:count]
    }


def _down_to(max_bytes: int, kept: list[Candidate], free: list[Candidate]) -> Iterator[Candidate]:
    """Those that go until what is kept fits: an object goes with the last entry that names it."""
    users = Counter(name for candidate in kept for name, _ in dict(candidate.objects).items())
    sizes = {name: size for candidate in kept for name, size in candidate.objects}
    total = sum(sizes.values()) + sum(candidate.record_bytes for candidate in kept)
    for candidate in free:
        if total <= max_bytes:
            return
        total -= candidate.record_bytes
        for name, size in dict(candidate.objects).items():
            users[name] -= 1
            total -= 0 if users[name] else size
        yield candidate


def require_number(value: object, name: str) -> None:
    """InvalidInputError unless it is None, or a whole number that is not negative."""
    if value is not None and (type(value) is not int or value < 0):
        raise InvalidInputError(f"{name} is a whole number that is not negative, found {value!r}", found=value)


def seconds_in(age: Age, name: str) -> float:
    """An age as seconds: a number of them, a timedelta, or text such as `30d`, `12h`, `90min`, `45s`, `2w`."""
    if isinstance(age, datetime.timedelta):
        return age.total_seconds()
    if isinstance(age, (int, float)) and not isinstance(age, bool):
        return float(age)
    match = _QUANTITY.match(age) if isinstance(age, str) else None
    if match is None or (match[2] or "s") not in _SECONDS:
        wanted = "seconds, a timedelta, or text such as '30d', '12h', '90min', '45s'"
        raise InvalidInputError(f"{name} is {wanted}; found {age!r}", found=age)
    return float(match[1]) * _SECONDS[match[2] or "s"]


def bytes_in(size: Size, name: str) -> int:
    """A size as bytes: a number of them, or text such as `500MB`, `10 GB`, `2GiB`."""
    if isinstance(size, int) and not isinstance(size, bool):
        return size
    match = _QUANTITY.match(size) if isinstance(size, str) else None
    if match is None or match[2].lower() not in _BYTES:
        message = f"{name} is a number of bytes, or text such as '500MB', '10 GB', '2GiB'; found {size!r}"
        raise InvalidInputError(message, found=size)
    return int(float(match[1]) * _BYTES[match[2].lower()])
