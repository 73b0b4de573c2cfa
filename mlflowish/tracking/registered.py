"""Versions of models that were registered inside a run, as the catalog has them: it names the run, and the run needs no
record of its own."""

from __future__ import annotations

from collections.abc import Iterator

from mlflowish.storage import ObjectRef
from mlflowish.store import Store
from mlflowish.tracking.folding import LoggedModel

_VERSIONS = "models/versions/"


def registered_in(store: Store, run_id: str) -> Iterator[LoggedModel]:
    """The versions with this run, named as in `models:/churn/3`, oldest first; deleted ones are left out. Reads all
    versions of the registry."""
    found = []
    for key, value in store.catalog.snapshot().scan(_VERSIONS):
        if isinstance(value, dict) and value.get("run_id") == run_id and not value.get("deleted"):
            model, _, number = key.removeprefix(_VERSIONS).rpartition("/")
            refs = tuple(ObjectRef(*ref) for ref in value.get("refs", ()))
            name = f"models:/{model}/{int(number)}"
            found.append(
                LoggedModel(name, ObjectRef(*value["manifest"]), refs, value.get("flavor", ""), value["created_s"])
            )
    yield from sorted(found, key=lambda model: model.time_s)
