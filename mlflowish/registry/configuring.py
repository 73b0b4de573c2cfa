"""A model's own stages, permitted moves, exclusive stages and approvals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mlflowish.errors import StateError
from mlflowish.registry.change import Change, changed
from mlflowish.registry.rules import StageRules

_AS_IT_IS: Any = object()


def configure(
    name: str,
    *,
    stages: Any = _AS_IT_IS,
    moves: Any = _AS_IT_IS,
    exclusive: Any = _AS_IT_IS,
    approvals: Any = _AS_IT_IS,
    who: str | None = None,
    store: Any = None,
) -> StageRules:
    """Give a model rules of its own, and get all of them; what is left out stays as it is. The model may be new.

    `stages`: names, beside `none` and `archived`, which every model has (default: staging, production). `moves`: which
    may follow which, `{"none": ["staging"], "staging": ["production", "archived"], ...}`; None permits any (default).
    `exclusive`: stages that hold one version at most (default: production). `approvals`: how many other people must
    approve a move into a stage, `{"production": 2}`, or stages that ask for one each (default: none).

    StateError if the model's versions contradict the new rules.

    >>> import mlflowish as mf
    >>> with mf.Store("memory://doc-configure"):
    ...     rules = mf.registry.configure("churn", stages=["shadow", "live"], exclusive="live",
    ...                                   moves={"none": ["shadow"], "shadow": ["live", "archived"]})
    ...     rules.stages
    ('none', 'shadow', 'live', 'archived')
    """
    given = {"stages": stages, "moves": moves, "exclusive": exclusive, "approvals": approvals}
    changes = {key: value for key, value in given.items() if value is not _AS_IT_IS}

    def apply(change: Change) -> StageRules:
        rules = change.rules.changed(**changes)
        _require_that_they_hold(change, rules)
        if rules != change.rules:
            change.head = replace(change.head, rules=rules.value())
        return rules

    return changed(name, apply, who=who, store=store, creates=True)


def _require_that_they_hold(change: Change, rules: StageRules) -> None:
    for stage in change.rules.stages:
        inside = change.shelf.in_stage(stage)
        listed = ", ".join(map(str, inside[:9]))
        if inside and stage not in rules.stages:
            raise StateError(
                f"{change.name} has versions in {stage} ({listed}), which the new rules do not have: move them first",
                model=change.name,
                stage=stage,
                versions=inside,
            )
        if len(inside) > 1 and stage in rules.exclusive:
            raise StateError(
                f"{change.name} has several versions in {stage} ({listed}): move all but one, then make it exclusive",
                model=change.name,
                stage=stage,
                versions=inside,
            )
