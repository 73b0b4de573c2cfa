"""Reading one model in one consistent state of the catalog: a snapshot, or a transaction with its own writes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from mlflowish.errors import NotFoundError, nearest
from mlflowish.registry import records
from mlflowish.registry.listing import utc
from mlflowish.registry.names import Selector
from mlflowish.registry.records import (
    AliasRecord,
    EventRecord,
    Head,
    RequestRecord,
    VersionRecord,
    numbered,
)
from mlflowish.registry.rules import StageRules


class Reader(Protocol):
    """A state of the catalog: a snapshot or a transaction."""

    def get(self, key: str, default: Any = None) -> Any: ...

    def scan(self, prefix: str) -> Iterator[tuple[str, Any]]: ...


class Shelf:
    """What the catalog says about one model; its records are read when they are asked for."""

    def __init__(self, reader: Reader, name: str) -> None:
        self.reader, self.name = reader, name

    # -- records -----------------------------------------------------------------------------------

    def find_head(self) -> Head | None:
        """The model's own record, None if there is no such model."""
        value = self.reader.get(f"{records.NAMES}/{self.name}")
        return None if value is None else Head.from_value(value)

    def head(self) -> Head:
        """The model's own record; NotFoundError names the models that there are."""
        found = self.find_head()
        if found is None:
            known = names_in(self.reader)
            there = (
                f"The models there are {', '.join(nearest(self.name, known))}" if known else "There are no models yet"
            )
            message = (
                f"No model is named {self.name!r}. {there}; register one with mf.register_model({self.name!r}, ...)"
            )
            raise NotFoundError(message, model=self.name, known=nearest(self.name, known))
        return found

    def rules(self) -> StageRules:
        """Its stages and what is permitted."""
        return self.head().stage_rules

    def find_version(self, number: int) -> VersionRecord | None:
        """A version, deleted or not; None if it never was."""
        value = self.reader.get(f"{records.VERSIONS}/{self.name}/{numbered(number)}")
        return None if value is None else VersionRecord.from_value(value)

    def version(self, number: int) -> VersionRecord:
        """A version that is there; NotFoundError for one that never was or is deleted."""
        found = self.find_version(number)
        if found is None:
            raise self._no_version(number)
        if found.deleted is not None:
            back = f"Bring it back with mf.registry.restore({self.name!r}, {number})"
            raise NotFoundError(
                f"{self.name} version {number} was deleted on {utc(found.deleted['time_s']):%Y-%m-%d %H:%M} UTC by "
                f"{found.deleted['who']}{_because(found.deleted['comment'])}. "
                + ("Its files were purged: it cannot be brought back" if found.is_purged else back),
                model=self.name,
                version=number,
            )
        return found

    def versions(self) -> Iterator[tuple[int, VersionRecord]]:
        """Every version, deleted ones too, oldest first."""
        for key, value in self.reader.scan(f"{records.VERSIONS}/{self.name}/"):
            yield _last_number(key), VersionRecord.from_value(value)

    def aliases(self) -> dict[str, AliasRecord]:
        """Every alias."""
        found = self.reader.scan(f"{records.ALIASES}/{self.name}/")
        return {key.rpartition("/")[2]: AliasRecord.from_value(value) for key, value in found}

    def aliases_of(self, number: int) -> tuple[str, ...]:
        """The aliases that name a version."""
        return tuple(alias for alias, record in self.aliases().items() if record.version == number)

    def in_stage(self, stage: str) -> list[int]:
        """The versions in a stage, lowest number first."""
        return [_last_number(key) for key, _ in self.reader.scan(f"{records.STAGES}/{self.name}/{stage}/")]

    def events(self) -> Iterator[tuple[int, EventRecord]]:
        """Everything that happened, oldest first."""
        for key, value in self.reader.scan(f"{records.HISTORY}/{self.name}/"):
            yield _last_number(key), EventRecord.from_value(value)

    def requests(self) -> Iterator[RequestRecord]:
        """Open requests, by version and stage."""
        for _, value in self.reader.scan(f"{records.REQUESTS}/{self.name}/"):
            yield RequestRecord.from_value(value)

    def find_request(self, number: int, stage: str) -> RequestRecord | None:
        """The open request to move this version there."""
        value = self.reader.get(request_key(self.name, number, stage))
        return None if value is None else RequestRecord.from_value(value)

    # -- which version is meant --------------------------------------------------------------------

    def resolve(self, selector: Selector) -> int:
        """The number of the version that a selector names now; NotFoundError says what there is instead."""
        if selector.kind == "version":
            return int(selector.value)
        if selector.kind == "alias":
            return self._by_alias(selector.value)
        if selector.kind == "stage":
            return self._by_stage(selector.value)
        return self._newest()

    def _by_alias(self, alias: str) -> int:
        value = self.reader.get(f"{records.ALIASES}/{self.name}/{alias}")
        if value is not None:
            return AliasRecord.from_value(value).version
        self.head()
        known = nearest(alias, self.aliases())
        there = f"Its aliases are {', '.join(known)}" if known else "It has no aliases"
        raise NotFoundError(
            f"{self.name} has no alias {alias!r}. {there}; set it with mf.registry.set_alias(...)",
            model=self.name,
            alias=alias,
            known=known,
        )

    def _by_stage(self, stage: str) -> int:
        found = self.in_stage(stage)
        if found:
            return found[-1]
        self.rules().require_stage(stage, self.name)
        placed = ", ".join(f"version {number} in {record.stage}" for number, record in self._last_versions(9))
        raise NotFoundError(
            f"No version of {self.name} is in {stage}; there is {placed or 'no version at all'}",
            model=self.name,
            stage=stage,
        )

    def _newest(self) -> int:
        for number, _ in self._last_versions(1):
            return number
        self.head()
        message = f"{self.name} has no version yet; register one with mf.register_model({self.name!r}, ...)"
        raise NotFoundError(message, model=self.name)

    def _last_versions(self, count: int) -> Iterator[tuple[int, VersionRecord]]:
        """The newest versions that are there, highest number first."""
        head = self.find_head()
        for number in range(0 if head is None else head.versions, 0, -1):
            record = self.find_version(number)
            if record is not None and record.deleted is None:
                yield number, record
                count -= 1
                if not count:
                    return

    def _no_version(self, number: int) -> NotFoundError:
        head = self.head()
        there = ", ".join(str(known) for known, _ in self._last_versions(9))
        return NotFoundError(
            f"{self.name} has no version {number}; there is {there or 'none'}"
            + (" (newest first)" if head.versions > 1 else ""),
            model=self.name,
            version=number,
        )


def names_in(reader: Reader) -> list[str]:
    """The names of all models."""
    return [key.rpartition("/")[2] for key, _ in reader.scan(f"{records.NAMES}/")]


def request_key(name: str, number: int, stage: str) -> str:
    """Where the request to move a version into a stage stands."""
    return f"{records.REQUESTS}/{name}/{numbered(number)}/{stage}"


def _last_number(key: str) -> int:
    return int(key.rpartition("/")[2])


def _because(comment: str) -> str:
    return f" ({comment})" if comment else ""
