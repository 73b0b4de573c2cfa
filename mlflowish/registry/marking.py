"""What is said about a version beside its stage: aliases, description, tags, metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from mlflowish.errors import InvalidInputError, NotFoundError, nearest
from mlflowish.registry import records
from mlflowish.registry.change import Change, changed
from mlflowish.registry.names import alias_name, description_text, metrics_of, tags_of, version_number
from mlflowish.registry.records import AliasRecord
from mlflowish.registry.registered import ModelVersion, RegisteredModel, model_of, version_of

Value = TypeVar("Value")


def set_alias(
    name: str, alias: str, version: int, *, comment: str = "", who: str | None = None, store: Any = None
) -> ModelVersion:
    """Let an alias name a version; it names no other one from then on.

    >>> import mlflowish as mf
    >>> with mf.Store("memory://doc-set-alias"):
    ...     _ = mf.register_model("churn", len)
    ...     mf.registry.set_alias("churn", "champion", 1).aliases
    ('champion',)
    """
    number, label, why = version_number(version), alias_name(alias), description_text(comment)

    def apply(change: Change) -> ModelVersion:
        change.shelf.version(number)
        point(change, label, number, why)
        return version_of(change.store, change.shelf, number)

    return changed(name, apply, who=who, store=store)


def point(change: Change, alias: str, number: int, comment: str = "") -> None:
    """Write what an alias names, unless it names that already."""
    known = change.shelf.aliases().get(alias)
    if known is not None and known.version == number:
        return
    record = AliasRecord(number, change.tx.now_s, change.who)
    change.tx.put(f"{records.ALIASES}/{change.name}/{alias}", record.value())
    where = change.shelf.version(number).stage
    before = "" if known is None else f", before version {known.version}"
    change.note(number, "alias set", where, where, f"{alias}{before}" + (f": {comment}" if comment else ""))


def delete_alias(name: str, alias: str, *, comment: str = "", who: str | None = None, store: Any = None) -> None:
    """Remove an alias; the version it named stays. NotFoundError names the aliases that there are.

    >>> import mlflowish as mf
    >>> with mf.Store("memory://doc-delete-alias"):
    ...     _ = mf.register_model("churn", len, alias="champion")
    ...     mf.registry.delete_alias("churn", "champion")
    ...     mf.registry.get("churn").aliases
    ()
    """
    label, why = alias_name(alias), description_text(comment)

    def apply(change: Change) -> None:
        known = change.shelf.aliases()
        if label not in known:
            there = f"It has {', '.join(nearest(label, known))}" if known else "It has none"
            message = f"{change.name} has no alias {label!r}. {there}"
            raise NotFoundError(message, model=change.name, alias=label, known=nearest(label, known))
        change.tx.delete(f"{records.ALIASES}/{change.name}/{label}")
        number = known[label].version
        where = change.shelf.version(number).stage
        change.note(number, "alias removed", where, where, label + (f": {why}" if why else ""))

    changed(name, apply, who=who, store=store)


def annotate(
    name: str,
    version: int | None = None,
    *,
    description: str | None = None,
    tags: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    who: str | None = None,
    store: Any = None,
) -> ModelVersion | RegisteredModel:
    """Describe a version, or the model as a whole if `version` is left out; gives it as it is then.

    `description` replaces the one before. `tags` and `metrics` are added to those that are there; a value of None
    removes one. Values of tags become texts, metrics floats. A model as a whole has no metrics.

    >>> import mlflowish as mf
    >>> with mf.Store("memory://doc-annotate"):
    ...     _ = mf.register_model("churn", len, tags={"team": "growth"})
    ...     version = mf.registry.annotate("churn", 1, description="on June", tags={"team": None, "cut": 3})
    ...     version.description, version.tags
    ('on June', {'cut': '3'})
    """
    text = None if description is None else description_text(description)
    new_tags, new_metrics = tags_of(tags), metrics_of(metrics)
    number = None if version is None else version_number(version)
    if number is None and new_metrics:
        raise InvalidInputError(f"Metrics belong to a version: mf.registry.annotate({name!r}, 1, metrics=...)")

    def apply(change: Change) -> ModelVersion | RegisteredModel:
        if number is None:
            head = change.head
            words = head.description if text is None else text
            change.head = replace(head, description=words, tags=merged(head.tags, new_tags))
            change.save_head()
            return model_of(change.shelf)
        record = change.shelf.version(number)
        record = replace(
            record,
            description=record.description if text is None else text,
            tags=merged(record.tags, new_tags),
            metrics=merged(record.metrics, new_metrics),
        )
        change.put(number, record)
        return version_of(change.store, change.shelf, number)

    return changed(name, apply, who=who, store=store)


def merged(before: Mapping[str, Value], new: Mapping[str, Value | None]) -> dict[str, Value]:
    """The values before with the new ones; None removes one."""
    return {key: value for key, value in {**before, **new}.items() if value is not None}
