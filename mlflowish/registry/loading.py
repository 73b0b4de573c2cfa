"""Getting a version and loading a model: one look for news, then the local cache; offline, what was last known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlflowish.registry.names import target
from mlflowish.registry.offline import resolved
from mlflowish.registry.registered import ModelVersion
from mlflowish.registry.run_models import is_logged, logged


def get(
    name: str,
    *,
    stage: str | None = None,
    version: int | str | None = None,
    alias: str | None = None,
    store: Any = None,
) -> ModelVersion:
    """One version: the one in a stage (the newest of several), with a number or an alias, else the newest of all.

    `name` may be an address: `models:/churn/production`, `models:/churn/3`, `models:/churn@champion`. NotFoundError
    says what there is instead.

    >>> import mlflowish as mf
    >>> with mf.Store("memory://doc-get"):
    ...     _ = mf.register_model("churn", len, stage="production", alias="champion", metrics={"auc": 0.91})
    ...     version = mf.registry.get("churn", stage="production")
    ...     version.version, version.aliases, version.metrics["auc"]
    (1, ('champion',), 0.91)
    """
    from mlflowish.store import as_store

    model, selector = target(name, stage=stage, version=version, alias=alias)
    return resolved(as_store(store), model, selector)


def load_model(
    name: str,
    *,
    stage: str | None = None,
    version: int | str | None = None,
    alias: str | None = None,
    allow_pickle: bool | None = None,
    trusted: Sequence[str] = (),
    into: Any = None,
    store: Any = None,
) -> Any:
    """A registered model, ready to predict: of the version in a stage, with a number or an alias, else the newest.

    `name` may be an address: `"models:/churn/production"`, `"models:/churn/3"`, `"models:/churn@champion"`. What can
    predict comes as a `Model` that checks its input against the signature and is otherwise the model itself
    (`.native`); anything else comes as itself. Each call gives an object of its own: changing one changes no other.
    A model that a run logged is named `"runs:/<run id>/<name>"`. `allow_pickle=False` refuses models that only pickle
    could store, since loading a pickle runs code (default: what the store allows). `trusted` names types of a
    scikit-learn model that you vouch for then; `into` is the PyTorch module, or what makes it, that takes the weights.

    Costs one look for news, and no download of files while they are in the local cache. If a remote store cannot be
    reached, the version that was last seen on this machine is loaded from that cache, with a RuntimeWarning that says
    when that was.

    >>> import mlflowish as mf
    >>> with mf.Store("memory://doc-load-model"):
    ...     _ = mf.register_model("total", sum, stage="production")
    ...     mf.load_model("total", stage="production")([1, 2])
    3
    """
    from mlflowish.store import as_store

    if isinstance(name, str) and is_logged(name):
        return logged(as_store(store), name)[0].load(allow_pickle=allow_pickle, trusted=trusted, into=into)
    model, selector = target(name, stage=stage, version=version, alias=alias)
    found = resolved(as_store(store), model, selector)
    return found.load(allow_pickle=allow_pickle, trusted=trusted, into=into)
