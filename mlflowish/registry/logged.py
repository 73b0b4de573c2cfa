"""Models of runs: stored, noted in the run that made them, and registered when a name is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlflowish.registry.ancestry import run_of, source_of
from mlflowish.registry.registering import Origin, registered

if TYPE_CHECKING:
    from mlflowish.models import StoredModel
    from mlflowish.tracking import ActiveRun

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
        source = source_of(run.store, model, stored.manifest.digest)
        registered(registered_model_name, lambda: Origin(stored, source, run_of(source)), store=run.store)
    return stored


def _note(run: ActiveRun, name: str, stored: StoredModel) -> None:
    run.log_stored_model(name, stored.manifest_ref, tuple(stored.refs), flavor=stored.manifest.flavor)
