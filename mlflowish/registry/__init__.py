"""Models by name: versions, stages, aliases, who moved what, and who hears of it. Stands on catalog and models.

`mf.registry` is this package; `mf.register_model` and `mf.load_model` are the two that everybody needs.
"""

from mlflowish.registry.configuring import configure
from mlflowish.registry.deleting import delete, restore
from mlflowish.registry.loading import get, load_model
from mlflowish.registry.logged import log_model
from mlflowish.registry.lookup import history, model, models, versions
from mlflowish.registry.marking import annotate, delete_alias, set_alias
from mlflowish.registry.moving import (
    Request,
    Requests,
    approve,
    reject,
    request,
    requests,
    transition,
    withdraw,
)
from mlflowish.registry.posting import verify_delivery
from mlflowish.registry.purging import purge
from mlflowish.registry.registered import ModelVersion, ModelVersions, RegisteredModel, RegisteredModels
from mlflowish.registry.registering import register_model
from mlflowish.registry.rules import StageRules
from mlflowish.registry.telling import Hook, Hooks, deliver, hooks, on_transition, remove_hook
from mlflowish.registry.transitions import Transition, Transitions

__all__ = [
    "Hook",
    "Hooks",
    "ModelVersion",
    "ModelVersions",
    "RegisteredModel",
    "RegisteredModels",
    "Request",
    "Requests",
    "StageRules",
    "Transition",
    "Transitions",
    "annotate",
    "approve",
    "configure",
    "delete",
    "delete_alias",
    "deliver",
    "get",
    "history",
    "hooks",
    "load_model",
    "log_model",
    "model",
    "models",
    "on_transition",
    "purge",
    "register_model",
    "reject",
    "remove_hook",
    "request",
    "requests",
    "restore",
    "set_alias",
    "transition",
    "verify_delivery",
    "versions",
    "withdraw",
]
