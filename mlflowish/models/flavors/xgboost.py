"""Flavor `xgboost`: boosters in UBJSON, its own open format; its scikit-learn classes with their attributes beside.

Attributes that are not plain data (a callback, an objective of your own) make the whole model a pickle.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlflowish.errors import IntegrityError
from mlflowish.models.files import FileReader, FileWriter
from mlflowish.models.flavors.base import Flavor, comes_from, require_sklearn, top_of
from mlflowish.models.flavors.python import plain_or_none, storable

if TYPE_CHECKING:
    import pyarrow as pa

_MODEL = "model.ubj"
_CONFIG = "config.json"
_CLASSES = ("XGBModel", "XGBClassifier", "XGBRegressor", "XGBRanker", "XGBRFClassifier", "XGBRFRegressor")


class XGBoostFlavor(Flavor):
    """xgboost.Booster, and XGBClassifier and its kin."""

    name = "xgboost"
    libraries = ("xgboost",)
    extra = "xgboost"
    container = "pandas"

    def fits(self, model: Any) -> bool:
        return comes_from(model, self.libraries, "Booster", "XGBModel")

    def save(self, model: Any, files: FileWriter) -> Mapping[str, Any]:
        kind = type(model).__name__ if top_of(type(model)) == "xgboost" else ""
        if kind == "Booster":
            return {"format": "booster", "made_with": _save_booster(model, files)}
        state = {name: value for name, value in vars(model).items() if name != "_Booster"}
        encoded = plain_or_none(state) if kind in _CLASSES else None
        if encoded is None:
            return {"format": "pickle", "value": files.add_encoded("model", storable(model))}
        booster = vars(model).get("_Booster")
        made_with = None if booster is None else _save_booster(booster, files)
        state = files.add_encoded("state", encoded)
        return {"format": "wrapper", "class": kind, "state": state, "made_with": made_with}

    def load(self, files: FileReader, options: Mapping[str, Any]) -> Any:
        match options:
            case {"format": "booster", "made_with": made_with}:
                return _booster(files, {}, made_with)
            case {"format": "wrapper", "class": str() as kind, "state": state, "made_with": made_with} if (
                kind in _CLASSES
            ):
                return _wrapper(files, kind, files.decoded("state", state), made_with)
            case {"format": "pickle", "value": description}:
                files.require_code("model/head")
                return files.decoded("model", description)
        raise IntegrityError("The manifest of an XGBoost model has options that make no sense")

    def predict(self, model: Any, data: Any, **options: Any) -> Any:
        import xgboost

        if isinstance(model, xgboost.Booster) and not isinstance(data, xgboost.DMatrix):
            data = xgboost.DMatrix(data, enable_categorical=True)
        return model.predict(data, **options)

    def own_schema(self, model: Any) -> pa.Schema | None:
        import pyarrow as pa

        booster = model if type(model).__name__ == "Booster" else vars(model).get("_Booster")
        names = None if booster is None else booster.feature_names
        return None if names is None else pa.schema([pa.field(name, pa.null()) for name in names])


def _save_booster(booster: Any, files: FileWriter) -> str:
    """Store the trees, and apart from them how training was set, which only the same version of XGBoost reads."""
    import xgboost

    files.add(_MODEL, booster.save_raw("ubj"))
    files.add(_CONFIG, booster.save_config().encode("utf-8"))
    return str(xgboost.__version__)


def _booster(files: FileReader, parameters: dict[str, Any], made_with: Any) -> Any:
    import xgboost

    booster = xgboost.Booster(parameters)
    booster.load_model(bytearray(files.read(_MODEL)))
    if made_with == xgboost.__version__:
        booster.load_config(bytes(files.read(_CONFIG)).decode("utf-8"))
    return booster


def _wrapper(files: FileReader, kind: str, state: Any, made_with: Any) -> Any:
    import xgboost

    if type(state) is not dict or not all(type(name) is str for name in state):
        raise IntegrityError("The attributes of a stored XGBoost model make no sense")
    require_sklearn()
    model = getattr(xgboost, kind)()
    vars(model).update(state)
    if _MODEL in files:
        model._Booster = _booster(files, {"nthread": state.get("n_jobs")}, made_with)
    return model
