"""What the registry keeps in the catalog: one record per key, and where each stands (docs/format-registry.md).

models/names/<model>                         head: its rules, and how many versions and events there were
models/versions/<model>/<number>             one version
models/stages/<model>/<stage>/<number>       index: which versions are in a stage
models/aliases/<model>/<alias>               the version that an alias names
models/history/<model>/<number>              one event
models/requests/<model>/<number>/<stage>     an open request for a move that needs approval
models/hooks/<id>, models/outbox/<id>        webhooks, and what is still to be delivered to them
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Self

from mlflowish.errors import FormatVersionError, IntegrityError
from mlflowish.registry.rules import DEFAULT_RULES, NONE, StageRules

RECORD_VERSION = 1
NAMES, VERSIONS, STAGES, ALIASES = "models/names", "models/versions", "models/stages", "models/aliases"
HISTORY, REQUESTS, HOOKS, OUTBOX = "models/history", "models/requests", "models/hooks", "models/outbox"


def numbered(number: int) -> str:
    """A number as part of a key: in the order of keys, numbers are in theirs."""
    return f"{number:09d}"


@dataclass(frozen=True, slots=True)
class Record:
    """A value of the catalog: its fields by name, and the version of its form under `v`."""

    kind: ClassVar[str]

    def value(self) -> dict[str, Any]:
        """The stored form."""
        return {"v": RECORD_VERSION, **{name: getattr(self, name) for name in _names(type(self))}}

    @classmethod
    def from_value(cls, value: Any) -> Self:
        """The record in a stored value; fields that a later minor version added are passed over."""
        if not isinstance(value, Mapping) or not isinstance(value.get("v"), int):
            raise IntegrityError(f"A record of a {cls.kind} in the catalog cannot be read: {value!r:.200}")
        if value["v"] > RECORD_VERSION:
            raise FormatVersionError(
                f"A {cls.kind} was recorded in form {value['v']}; this version of mlflowish reads up to "
                f"{RECORD_VERSION}. Upgrade: pip install -U mlflowish",
                found=value["v"],
                supported=RECORD_VERSION,
            )
        try:
            return cls._read(value)
        except (KeyError, TypeError, ValueError) as error:
            raise IntegrityError(f"A record of a {cls.kind} in the catalog cannot be read: {error!r}") from error

    @classmethod
    def _read(cls, value: Mapping[str, Any]) -> Self:
        return cls(**{name: value[name] for name in _names(cls) if name in value})


@dataclass(frozen=True, slots=True)
class Head(Record):
    """A model: what all its versions share. `versions` and `events` count those that ever were: numbers are dense."""

    kind: ClassVar[str] = "model"
    created_s: float
    who: str
    versions: int = 0
    events: int = 0
    description: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    rules: dict[str, Any] | None = None

    @property
    def stage_rules(self) -> StageRules:
        """The stages and what is permitted."""
        return DEFAULT_RULES if self.rules is None else StageRules.from_value(self.rules)


@dataclass(frozen=True, slots=True)
class VersionRecord(Record):
    """One version. `manifest` and `refs` are [name, size] of objects; `source` is the call of a step that computed it,
    if that is known; `deleted` is None, or when, who, why, and when its files were given up, if they were."""

    kind: ClassVar[str] = "model version"
    created_s: float
    who: str
    stage: str
    manifest: list[Any]
    refs: list[list[Any]]
    flavor: str = ""
    digest: str | None = None
    executes_code: bool = False
    description: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    run_id: str | None = None
    source: dict[str, Any] | None = None
    deleted: dict[str, Any] | None = None

    @property
    def is_purged(self) -> bool:
        """Were its files given up for good?"""
        return self.deleted is not None and "purged_s" in self.deleted

    def value(self) -> dict[str, Any]:
        whole = Record.value(self)
        whole["metrics"] = {name: _plain(number) for name, number in self.metrics.items()}
        return whole

    @classmethod
    def _read(cls, value: Mapping[str, Any]) -> Self:
        known = {name: value[name] for name in _names(cls) if name in value}
        metrics = {name: float(number) for name, number in known.pop("metrics", {}).items()}
        return cls(**known, metrics=metrics)


@dataclass(frozen=True, slots=True)
class EventRecord(Record):
    """Something that happened to a version. `from_stage` is None before it was registered, `to_stage` once deleted."""

    kind: ClassVar[str] = "model event"
    version: int
    action: str
    from_stage: str | None
    to_stage: str | None
    time_s: float
    who: str
    comment: str = ""

    @property
    def moved(self) -> bool:
        """Did it change which versions are in which stage, as those who wait for transitions see it?"""
        return (self.from_stage or NONE) != (self.to_stage or NONE)


@dataclass(frozen=True, slots=True)
class AliasRecord(Record):
    """Which version an alias names."""

    kind: ClassVar[str] = "model alias"
    version: int
    time_s: float
    who: str


@dataclass(frozen=True, slots=True)
class RequestRecord(Record):
    """An open request for a move. `approvals`: [who, seconds since 1970, comment] of each person who approved."""

    kind: ClassVar[str] = "approval request"
    version: int
    stage: str
    time_s: float
    who: str
    comment: str = ""
    archive_existing: bool = True
    approvals: list[list[Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class HookRecord(Record):
    """A webhook: where to send which transitions. `secret` names an environment variable; it is never the secret."""

    kind: ClassVar[str] = "webhook"
    url: str
    secret: str | None
    model: str | None
    from_stage: str | None
    to_stage: str | None
    time_s: float
    who: str


@dataclass(frozen=True, slots=True)
class DeliveryRecord(Record):
    """Something to deliver: the event, for which hook, and which process is at it (`host:pid:nonce`) since when."""

    kind: ClassVar[str] = "webhook delivery"
    hook: str
    model: str
    sequence: int
    event: dict[str, Any]
    time_s: float
    owner: str
    claimed_s: float


_fields: dict[type, tuple[str, ...]] = {}


def _names(cls: type[Record]) -> tuple[str, ...]:
    found = _fields.get(cls)
    if found is None:
        found = _fields[cls] = tuple(each.name for each in fields(cls))
    return found


def _plain(number: float) -> float | str:
    """JSON has no NaN and no infinity; their names are read back by `float`."""
    return number if math.isfinite(number) else str(number)
