"""Models of runs: stored, noted in the run that made them, and registered when a name is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlflowish.errors import InvalidInputError, NotFoundError, nearest
from mlflowish.registry.registering import register_model

if TYPE_CHECKING:
    from mlflowish.models import StoredModel
    from mlflowish.store import Store
    from mlflowish.tracking import ActiveRun

RUNS = "runs:/"
_TRIES = 3  # each time a collection would have to choose one of its objects again


def log_model(
    model: Any,
    name: str = "model",
    *,
    signature: Any = None,
    input_example: Any = None,
    flavor: str | None = None,
    registered_model_name: str | None = None,
    metadata: Any = None,
) -> StoredModel:
    """Store a model, any object, with the active run (one is started if there is none); `name` is what the run calls
    it. With `registered_model_name` it also becomes the next version of that registered model.

    `mf.load_model("runs:/<run id>/<name>")` loads it again; `run.models` lists the models of a run. `signature`,
    `input_example`, `flavor`: as for `mf.register_model`. A store that cannot take it raises StorageError: a model is
    not kept elsewhere.

    >>> import mlflowish as mf
    >>> with mf.start_run() as run:
    ...     _ = mf.log_model(sum, "total", registered_model_name="total")
    >>> mf.load_model(f"runs:/{run.run_id}/total")([1, 2]), mf.load_model("total")([1, 2])
    (3, 3)
    """
    from mlflowish.models import store_model
    from mlflowish.tracking.lifecycle import active_or_new_run

    run = active_or_new_run()
    options = {"signature": signature, "input_example": input_example, "flavor": flavor, "metadata": metadata}
    for _ in range(_TRIES):
        stored = store_model(run.store, model, **options)
        _note(run, name, stored)
        if not run.store.are_doomed(stored.refs):
            break
    if registered_model_name is not None:
        register_model(registered_model_name, stored, store=run.store)
    return stored


def is_logged(address: str) -> bool:
    """Does it name a model of a run?"""
    return address.startswith(RUNS)


def logged(store: Store, address: str) -> StoredModel:
    """The model of a run that `runs:/<run id>/<name>` names. NotFoundError says which there are."""
    from mlflowish.models import open_model
    from mlflowish.tracking import read_run

    run_id, _, name = address.removeprefix(RUNS).partition("/")
    if not name:
        raise InvalidInputError(f"A model of a run is named runs:/<run id>/<name>, found {address!r}", found=address)
    models = {model.name: model for model in read_run(store, run_id).models}
    if name not in models:
        near = nearest(name, models, limit=3)
        hint = f"; it has {', '.join(near)}" if near else ": it has none"
        raise NotFoundError(f"Run {run_id} has no model {name!r}{hint}", name=name, near=near)
    return open_model(store, models[name].manifest)


def _note(run: ActiveRun, name: str, stored: StoredModel) -> None:
    run.log_stored_model(name, stored.manifest_ref, tuple(stored.refs), flavor=stored.manifest.flavor)
