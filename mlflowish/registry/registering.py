"""Registering: a trained thing becomes a version of a model, with the next number, all of it or nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from mlflowish.errors import ConflictError, InvalidInputError
from mlflowish.registry.ancestry import run_of, source_by_content, source_of
from mlflowish.registry.change import Change, changed
from mlflowish.registry.lookup import reading
from mlflowish.registry.marking import merged, point
from mlflowish.registry.moving import require_no_approval
from mlflowish.registry.names import (
    SCHEME,
    alias_name,
    description_text,
    metrics_of,
    model_name,
    stage_name,
    tags_of,
    target,
)
from mlflowish.registry.records import VersionRecord
from mlflowish.registry.registered import ModelVersion, version_from, version_of
from mlflowish.registry.rules import NONE
from mlflowish.registry.run_models import is_logged, logged
from mlflowish.registry.shelf import Shelf

if TYPE_CHECKING:
    from mlflowish.catalog import Transaction
    from mlflowish.models import StoredModel
    from mlflowish.store import Store

_MOST_TRIES = 4


def register_model(
    name: str,
    model: Any,
    *,
    stage: str | None = None,
    alias: str | None = None,
    description: str | None = None,
    tags: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    signature: Any = None,
    input_example: Any = None,
    flavor: str | None = None,
    comment: str = "",
    who: str | None = None,
    store: Any = None,
) -> ModelVersion:
    """Store a model, any object, and register it as the next version of `name`; the first one creates the model.

    Versions are numbered 1, 2, 3, ... without gaps, whoever registers at the same time. The version begins in the stage
    `none`; in the same transaction `stage` moves it on, as `mf.registry.transition` does, and `alias` names it.
    `model` may also be a `ModelVersion` (of the same store its files are shared, of another one copied as they are),
    what `mlflowish.models.store_model` gave, or the address of a stored model: "runs:/<run id>/<name>",
    "models:/churn/3". What kind of model it is (`flavor`) is found by its type, else it is "python".
    `signature` and `input_example`: see `mlflowish.models`. The version remembers the run it is registered in, else
    the one that computed the model, and the call of a step that did.

    InvalidInputError for a name that no model can have; StateError for a stage that the model's rules keep it from.

    >>> import mlflowish as mf
    >>> def double(x):
    ...     return 2 * x
    >>> with mf.Store("memory://doc-register-model"):
    ...     version = mf.register_model("doubler", double, stage="production", alias="champion", metrics={"auc": 1})
    ...     mf.load_model("models:/doubler@champion")(4)
    8
    >>> version
    ModelVersion('doubler', 1, production, @champion, ...)
    """
    from mlflowish.store import as_store

    if not isinstance(name, str) or is_logged(name) or name.startswith(SCHEME):
        raise InvalidInputError(
            f"register_model(name, model) takes the name first, found {type(name).__name__} {name!r:.80}", found=name
        )
    opened = as_store(store)
    made = {"signature": signature, "input_example": input_example, "flavor": flavor}
    said: dict[str, Any] = {"description": description, "tags": tags, "metrics": metrics, "comment": comment}
    return registered(
        name, lambda: _origin(opened, model, **made), stage=stage, alias=alias, who=who, store=opened, **said
    )


class Origin(NamedTuple):
    """A model that is stored, the call of a step that computed it, and the run that it belongs to."""

    stored: StoredModel
    source: dict[str, Any] | None
    run_id: str | None


def registered(
    name: str,
    store_model: Callable[[], Origin],
    *,
    stage: str | None = None,
    alias: str | None = None,
    description: str | None = None,
    tags: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    comment: str = "",
    who: str | None = None,
    store: Store,
) -> ModelVersion:
    """Register what `store_model` stores; it is called again if a collection gave up what it stored."""
    wanted, entered = model_name(name), NONE if stage is None else stage_name(stage)
    label = None if alias is None else alias_name(alias)
    words, why = description_text(description), description_text(comment)
    marks: dict[str, str] = merged({}, tags_of(tags))
    numbers: dict[str, float] = merged({}, metrics_of(metrics))
    if entered != NONE:
        _require_stage(store, wanted, entered)

    def register() -> ModelVersion:
        number, record, tx = changed(wanted, partial(apply, store_model()), who=who, store=store, creates=True)
        if tx.committed_s is not None:  # None in an outer transaction, which goes on
            record = replace(record, created_s=tx.committed_s)
        # Only what was written with it can name a number that is new: nothing has to be looked up.
        named = () if label is None else (label,)
        return version_from(store, wanted, number, record, named)

    def apply(origin: Origin, change: Change) -> tuple[int, VersionRecord, Transaction]:
        record = _record(change, origin, description=words, tags=marks, metrics=numbers)
        number = change.add(record, why)
        if entered != NONE:
            require_no_approval(change, number, entered)
            change.move(number, entered, archive_existing=True, comment=why)
            record = replace(record, stage=entered)
        if label is not None:
            point(change, label, number)
        return number, record, change.tx

    return _storing_again(register)


def _storing_again(register: Callable[[], ModelVersion]) -> ModelVersion:
    """Register; if a collection gave up an object that was just stored, store the model once more, under new names."""
    for _ in range(_MOST_TRIES - 1):
        try:
            return register()
        except ConflictError as error:
            if not error.data.get("doomed"):
                raise
    return register()


def _require_stage(store: Store, name: str, stage: str) -> None:
    """Before anything large is stored: is it a stage that the model has? What else may forbid it is seen at commit."""
    shelf = Shelf(reading(store), name)
    head = shelf.find_head()
    if head is not None:
        head.stage_rules.require_stage(stage, name)


def _origin(store: Store, model: Any, **options: Any) -> Origin:
    """The model in the store, and where it comes from, as far as this process and the store know."""
    from mlflowish.models import ImportedModel, StoredModel, store_model
    from mlflowish.models.storing import copy_model
    from mlflowish.steps.calls import Call

    if isinstance(model, Call):
        raise InvalidInputError("A Call of a step is no model: register what it returned, its .value", found="Call")
    if model is None:
        raise InvalidInputError("None is no model: did what trained it forget to return it?", found=None)
    run_id = None
    if isinstance(model, ImportedModel):
        told = {"signature": model.signature, "input_example": model.input_example}
        options |= {name: value for name, value in told.items() if options[name] is None}
        model = model.model
    if isinstance(model, str) and is_logged(model):
        model, run_id = logged(store, model)
    elif isinstance(model, str) and model.startswith(SCHEME):
        name, selector = target(model)
        shelf = Shelf(reading(store), name)
        model = version_of(store, shelf, shelf.resolve(selector))
    if not isinstance(model, (ModelVersion, StoredModel)):
        stored = store_model(store, model, **options)
        source = source_of(store, model, stored.manifest.digest)
        return Origin(stored, source, run_of(source))
    if given := sorted(name for name, value in options.items() if value is not None):
        raise InvalidInputError(f"A stored model has its {', '.join(given)} already; leave out {', '.join(given)}")
    if isinstance(model, ModelVersion) and model.store == store:
        return Origin(model.stored, model.record.source, run_of(model.record.source) or model.run_id)
    stored = model.stored if isinstance(model, ModelVersion) else model
    if stored.store != store:  # whose calls and runs are not those of this one
        stored = copy_model(stored, store)
    source = source_by_content(store, stored.manifest.digest)
    return Origin(stored, source, run_id or run_of(source))


def _record(change: Change, origin: Origin, **said: Any) -> VersionRecord:
    stored, manifest = origin.stored, origin.stored.manifest
    return VersionRecord(
        created_s=change.tx.now_s,
        who=change.who,
        stage=NONE,
        manifest=[stored.manifest_ref.name, stored.manifest_ref.size_bytes],
        refs=[[ref.name, ref.size_bytes] for ref in stored.refs],
        flavor=manifest.flavor,
        digest=manifest.digest,
        executes_code=manifest.executes_code,
        run_id=origin.run_id,
        source=origin.source,
        **said,
    )
