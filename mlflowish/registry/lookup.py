"""Looking things up: versions, models and what happened to them. One look for news, then memory."""

from __future__ import annotations

from typing import Any

from mlflowish.registry.names import model_name, stage_name, version_number
from mlflowish.registry.registered import (
    ModelVersions,
    RegisteredModel,
    RegisteredModels,
    model_of,
    version_of,
)
from mlflowish.registry.shelf import Reader, Shelf, names_in
from mlflowish.registry.transitions import Transition, Transitions


def reading(store: Any) -> Reader:
    """A consistent state of the registry: of the enclosing transaction, with its own writes, else the newest one."""
    from mlflowish.store import as_store
    from mlflowish.store.transactions import joined

    opened = as_store(store)
    enclosing = joined(opened)
    return opened.catalog.snapshot() if enclosing is None else enclosing.transaction


def models(*, store: Any = None) -> RegisteredModels:
    """All models, by name.

    >>> import mlflowish as mf
    >>> with mf.Store("memory://doc-models"):
    ...     _ = mf.register_model("churn", len, stage="staging")
    ...     [(model.name, model.latest, model.placed) for model in mf.registry.models()]
    [('churn', 1, 'staging: 1')]
    """
    reader = reading(store)
    return RegisteredModels(model_of(Shelf(reader, name)) for name in names_in(reader))


def model(name: str, *, store: Any = None) -> RegisteredModel:
    """One model as a whole: its newest version, who is in which stage, aliases, rules.

    >>> import mlflowish as mf
    >>> with mf.Store("memory://doc-model"):
    ...     _ = mf.register_model("churn", len, alias="champion")
    ...     mf.registry.model("churn").aliases
    {'champion': 1}
    """
    return model_of(Shelf(reading(store), model_name(name)))


def versions(name: str, *, stage: str | None = None, deleted: bool = False, store: Any = None) -> ModelVersions:
    """The versions of a model, oldest first: of a stage, or all; deleted ones only if asked for.

    >>> import mlflowish as mf
    >>> with mf.Store("memory://doc-versions"):
    ...     _ = mf.register_model("churn", len), mf.register_model("churn", max)
    ...     [version.version for version in mf.registry.versions("churn")]
    [1, 2]
    """
    from mlflowish.store import as_store

    shelf, opened = Shelf(reading(store), model_name(name)), as_store(store)
    rules = shelf.rules()
    where = None if stage is None else rules.require_stage(stage_name(stage), shelf.name)
    numbers = [
        number
        for number, record in shelf.versions()
        if (deleted or record.deleted is None) and where in (None, record.stage)
    ]
    return ModelVersions(version_of(opened, shelf, number, or_deleted=deleted) for number in numbers)


def history(name: str, *, version: int | None = None, store: Any = None) -> Transitions:
    """Everything that happened to the versions of a model, or to one, oldest first: registrations, moves, approvals,
    aliases, deletions.

    >>> import mlflowish as mf
    >>> with mf.Store("memory://doc-history"):
    ...     _ = mf.register_model("churn", len)
    ...     _ = mf.registry.transition("churn", 1, "staging")
    ...     [(each.version, each.action, each.from_stage, each.to_stage) for each in mf.registry.history("churn")]
    [(1, 'registered', None, 'none'), (1, 'moved', 'none', 'staging')]
    """
    shelf = Shelf(reading(store), model_name(name))
    shelf.head()
    number = None if version is None else version_number(version)
    if number is not None and shelf.find_version(number) is None:
        shelf.version(number)
    found = (each for each in shelf.events() if number in (None, each[1].version))
    return Transitions(Transition.of(shelf.name, sequence, event) for sequence, event in found)
