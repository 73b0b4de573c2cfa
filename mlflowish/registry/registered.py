"""One registered version of a model, as its user sees it; and a model as a whole."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from mlflowish.errors import IntegrityError, NotFoundError
from mlflowish.registry.listing import Listing, cell, utc
from mlflowish.registry.rules import ARCHIVED, NONE, StageRules
from mlflowish.registry.shelf import Shelf
from mlflowish.store.table import Table

if TYPE_CHECKING:
    from mlflowish.lineage import Lineage
    from mlflowish.models import StoredModel
    from mlflowish.registry.records import VersionRecord
    from mlflowish.registry.transitions import Transitions
    from mlflowish.storage import ObjectRef
    from mlflowish.store import Store
    from mlflowish.tracking import Run

_MOST_NUMBERS = 20
_BADGES = {"production": "good", "staging": "warn", ARCHIVED: "neutral", NONE: "neutral"}


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A version of a model as it was when it was asked for: it does not change when others move it.

    `run_id`: the run that it was registered in, or that computed it, as far as that was known when it was registered;
    None outside of runs. `metrics`: floats by name.
    `digest` identifies the model's content. `executes_code`: loading it runs stored code (a pickle), which
    `allow_pickle=False` refuses. `created` is in UTC.
    """

    name: str
    version: int
    stage: str
    aliases: tuple[str, ...]
    description: str
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    flavor: str
    digest: str | None
    executes_code: bool
    created: datetime.datetime
    who: str
    run_id: str | None
    deleted: bool
    record: VersionRecord = field(repr=False)
    store: Store = field(repr=False, compare=False)

    @property
    def state(self) -> str:
        """Its stage; "deleted" or "purged" of one that has none any more."""
        if not self.deleted:
            return self.stage
        return "purged" if self.record.is_purged else "deleted"

    @property
    def manifest_ref(self) -> ObjectRef:
        """The object that lists the model's files."""
        return _ref(*self.record.manifest)

    @property
    def refs(self) -> tuple[ObjectRef, ...]:
        """Every object that the model rests in."""
        return tuple(_ref(name, size) for name, size in self.record.refs)

    @property
    def stored(self) -> StoredModel:
        """The model's files and manifest; costs one read, once."""
        with self._naming_what_fails():
            return _opened(self.store, self.manifest_ref)

    @property
    def signature(self) -> Any:
        """What it takes and gives: one Arrow schema each; None if nobody said."""
        return self.stored.manifest.signature

    @property
    def input_example(self) -> Any:
        """An example of what it takes; None if nobody gave one."""
        return self.stored.input_example()

    @property
    def environment(self) -> Any:
        """Where it was stored: interpreter and packages with their versions."""
        return self.stored.manifest.environment

    @property
    def code(self) -> Any:
        """The code that was stored with it."""
        return self.stored.manifest.code

    @property
    def run(self) -> Run | None:
        """The run of `run_id`, else that of the call that is found by the model's content; None outside of runs."""
        from mlflowish.registry.ancestry import run_behind
        from mlflowish.tracking import get_run

        run_id = self.run_id if self.run_id is not None else run_behind(self)
        return None if run_id is None else get_run(run_id, store=self.store)

    @property
    def calls(self) -> Table:
        """The calls of steps behind it, the one that computed it first."""
        from mlflowish.registry.ancestry import calls_of

        return calls_of(self.lineage())

    def load(self, *, allow_pickle: bool | None = None, trusted: Sequence[str] = (), into: Any = None) -> Any:
        """The model, as `mf.load_model` gives it."""
        stored = self.stored
        with self._naming_what_fails():
            return stored.load(allow_pickle=allow_pickle, trusted=trusted, into=into)

    @contextlib.contextmanager
    def _naming_what_fails(self) -> Iterator[None]:
        """An object that is not there, or damaged, says nothing of the model that needs it."""
        try:
            yield
        except (NotFoundError, IntegrityError) as error:
            if self.record.is_purged:
                why = "its files were purged, so it cannot be loaded again"
            else:
                why = f"{error.message.rstrip('.')}. `mlflowish fsck` says what else is not as it should be"
            raise type(error)(
                f"{self.name} version {self.version} cannot be loaded from {self.store.url}: {why}",
                **{**error.data, "model": self.name, "version": self.version},
            ) from error

    def lineage(self) -> Lineage:
        """What it was made by and from: calls of steps, their code and their data (`mf.lineage.of`)."""
        from mlflowish.lineage import of

        return of(self, store=self.store)

    def __lineage__(self) -> tuple[str, str, str, dict[str, Any], tuple[str, ...]]:
        """How it stands in a lineage."""
        from mlflowish.registry.ancestry import node_of

        return node_of(self)

    def history(self) -> Transitions:
        """What happened to this version, oldest first."""
        from mlflowish.registry.lookup import history

        return history(self.name, version=self.version, store=self.store)

    def document(self) -> dict[str, Any]:
        """For programs: plain values."""
        return {
            "model": self.name,
            "version": self.version,
            "stage": self.stage,
            "aliases": list(self.aliases),
            "description": self.description,
            "tags": dict(self.tags),
            "metrics": dict(self.metrics),
            "flavor": self.flavor,
            "digest": self.digest,
            "executes_code": self.executes_code,
            "created": self.created.isoformat(timespec="milliseconds"),
            "who": self.who,
            "run_id": self.run_id,
            "deleted": self.deleted,
            "bytes": sum(ref.size_bytes for ref in self.refs),
        }

    def __hash__(self) -> int:
        return hash((self.name, self.version, self.record.manifest[0]))

    def __repr__(self) -> str:
        named = "".join(f", @{alias}" for alias in self.aliases)
        return f"ModelVersion({self.name!r}, {self.version}, {self.state}{named}, {self.flavor})"

    def _repr_html_(self) -> str:
        from mlflowish.store.display import badge, card

        badges = badge(self.state, "bad" if self.deleted else _BADGES.get(self.stage, "new"))
        badges += "".join(f" {badge('@' + alias, 'new')}" for alias in self.aliases)
        rows = [("flavor", self.flavor + (" (pickle: loading it runs code)" if self.executes_code else ""))]
        rows += [("description", self.description)] if self.description else []
        rows += [("metrics", cell(dict(self.metrics)))] if self.metrics else []
        rows += [("tags", cell(dict(self.tags)))] if self.tags else []
        rows += [("run", self.run_id)] if self.run_id else []
        rows.append(("registered", f"{cell(self.created)} by {self.who}"))
        return card(f"{self.name} version {self.version}", rows, body_html=badges)


class ModelVersions(Listing[ModelVersion]):
    """Versions of a model: a sequence of `ModelVersion` that shows itself as a table."""

    columns = ("version", "stage", "aliases", "metrics", "tags", "description", "flavor", "created", "who")

    def texts(self, limit: int | None = None) -> Table:
        """The same for people: of a deleted version that it is, in place of a stage."""
        rows = [list(row.values()) for row in super().texts(limit)]
        for row, version in zip(rows, self, strict=False):
            row[1] = version.state
        return Table(self.columns, rows)


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """A model: its newest version (0 if it has none), which versions are where, its aliases, and its rules."""

    name: str
    latest: int
    versions: int
    stages: Mapping[str, tuple[int, ...]]
    aliases: Mapping[str, int]
    description: str
    tags: Mapping[str, str]
    created: datetime.datetime
    who: str
    rules: StageRules = field(repr=False)

    @property
    def placed(self) -> str:
        """Which versions are in which stage, as a short text."""
        return ", ".join(
            f"{stage}: {', '.join(map(str, numbers))}"
            for stage, numbers in self.stages.items()
            if stage not in (NONE, ARCHIVED)
        )

    def document(self) -> dict[str, Any]:
        """For programs: plain values."""
        return {
            "model": self.name,
            "latest": self.latest,
            "versions": self.versions,
            "stages": {stage: list(numbers) for stage, numbers in self.stages.items()},
            "aliases": dict(self.aliases),
            "description": self.description,
            "tags": dict(self.tags),
            "created": self.created.isoformat(timespec="milliseconds"),
            "who": self.who,
            "rules": self.rules.value(),
        }

    def __repr__(self) -> str:
        placed = f", {self.placed}" if self.placed else ""
        return f"RegisteredModel({self.name!r}, {self._count}{placed})"

    def _repr_html_(self) -> str:
        from mlflowish.store.display import card

        rows = [
            (stage, ("... " if len(numbers) > _MOST_NUMBERS else "") + ", ".join(map(str, numbers[-_MOST_NUMBERS:])))
            for stage, numbers in self.stages.items()
        ]
        rows += [(f"@{alias}", str(number)) for alias, number in self.aliases.items()]
        rows += [("description", self.description)] if self.description else []
        rows += [("tags", str(cell(dict(self.tags))))] if self.tags else []
        rows += [("created", f"{cell(self.created)} by {self.who}")]
        return card(f"{self.name}: {self._count}", rows)

    @property
    def _count(self) -> str:
        return "1 version" if self.versions == 1 else f"{self.versions} versions"


class RegisteredModels(Listing[RegisteredModel]):
    """Models: a sequence of `RegisteredModel` that shows itself as a table."""

    columns = ("name", "latest", "versions", "placed", "aliases", "description", "created", "who")


def version_of(store: Store, shelf: Shelf, number: int, *, or_deleted: bool = False) -> ModelVersion:
    """The version as a state of the catalog has it; NotFoundError if it is not there."""
    record = shelf.find_version(number) if or_deleted else None
    if record is None:
        record = shelf.version(number)
    return version_from(store, shelf.name, number, record, shelf.aliases_of(number))


def version_from(store: Store, name: str, number: int, record: VersionRecord, aliases: tuple[str, ...]) -> ModelVersion:
    """The version that a record describes."""
    return ModelVersion(
        name=name,
        version=number,
        stage=record.stage,
        aliases=aliases,
        description=record.description,
        tags=record.tags,
        metrics=record.metrics,
        flavor=record.flavor,
        digest=record.digest,
        executes_code=record.executes_code,
        created=utc(record.created_s),
        who=record.who,
        run_id=record.run_id,
        deleted=record.deleted is not None,
        record=record,
        store=store,
    )


def model_of(shelf: Shelf) -> RegisteredModel:
    """The model as a state of the catalog has it."""
    head = shelf.head()
    there = [(number, record.stage) for number, record in shelf.versions() if record.deleted is None]
    placed = {stage: tuple(number for number, where in there if where == stage) for stage in head.stage_rules.stages}
    return RegisteredModel(
        name=shelf.name,
        latest=there[-1][0] if there else 0,
        versions=len(there),
        stages={stage: numbers for stage, numbers in placed.items() if numbers},
        aliases={alias: record.version for alias, record in shelf.aliases().items()},
        description=head.description,
        tags=head.tags,
        created=utc(head.created_s),
        who=head.who,
        rules=head.stage_rules,
    )


def _ref(name: str, size_bytes: int) -> ObjectRef:
    from mlflowish.storage import ObjectRef

    return ObjectRef(name, size_bytes)


@lru_cache(maxsize=64)
def _opened(store: Store, manifest_ref: ObjectRef) -> StoredModel:
    # A manifest never changes: it is named by its content.
    from mlflowish.models import open_model

    return open_model(store, manifest_ref)
