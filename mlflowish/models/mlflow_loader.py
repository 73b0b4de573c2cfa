"""What MLflow calls for a `python_function` that no flavor of its own reads: `mlflow_export` names this module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlflowish.errors import IntegrityError
from mlflowish.models.opening import StoredModel, open_model
from mlflowish.storage import ObjectRef
from mlflowish.store import Store


class _Function:
    """A model as MLflow asks one."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def predict(self, data: Any, params: dict[str, Any] | None = None) -> Any:
        return self._model.predict(data, **(params or {}))

    def get_raw_model(self) -> Any:
        return self._model.native


def _load_pyfunc(path: str) -> _Function:
    return _Function(open_exported(Path(path)).load())


def open_exported(folder: Path, *, allow_pickle: bool = True) -> StoredModel:
    """The model in the store of an exported folder; IntegrityError if it does not say which."""
    store = Store(folder, allow_pickle=allow_pickle)
    try:
        name, size = store.storage.get("MODEL").decode("ascii").split()
        return open_model(store, ObjectRef(name, int(size)))
    except ValueError as error:
        raise IntegrityError(f"{folder / 'MODEL'} does not name a manifest: {error}", path=str(folder)) from error
