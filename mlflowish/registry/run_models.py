"""Models of runs by their addresses: `runs:/<run id>/<name>`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlflowish.errors import InvalidInputError, NotFoundError, nearest

if TYPE_CHECKING:
    from mlflowish.models import StoredModel
    from mlflowish.store import Store

RUNS = "runs:/"


def is_logged(address: str) -> bool:
    """Does it name a model of a run?"""
    return address.startswith(RUNS)


def logged(store: Store, address: str) -> tuple[StoredModel, str]:
    """The model of a run that `runs:/<run id>/<name>` names, and the id of the run. NotFoundError says which there
    are."""
    from mlflowish.models import open_model
    from mlflowish.tracking import read_run

    run_id, _, name = address.removeprefix(RUNS).partition("/")
    if not name:
        raise InvalidInputError(f"A model of a run is named runs:/<run id>/<name>, found {address!r}", found=address)
    run = read_run(store, run_id)
    models = {model.name: model for model in run.models}
    if name not in models:
        near = nearest(name, models, limit=3)
        hint = f"; it has {', '.join(near)}" if near else ": it has none"
        raise NotFoundError(f"Run {run_id} has no model {name!r}{hint}", name=name, near=near)
    return open_model(store, models[name].manifest), run.run_id
