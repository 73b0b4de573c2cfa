"""Flavor `lightgbm`: boosters as LightGBM's own text; its scikit-learn classes with their attributes beside.

Attributes that are not plain data (an objective of your own) make the whole model a pickle.
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

_MODEL = "model.txt"
_CLASSES = ("LGBMModel", "LGBMClassifier", "LGBMRegressor", "LGBMRanker")
_ENCODER = "_le"  # the one attribute of theirs that is an object: a LabelEncoder, which is its classes


class LightGBMFlavor(Flavor):
    """lightgbm.Booster, and LGBMClassifier and its kin."""

    name = "lightgbm"
    libraries = ("lightgbm",)
    extra = "lightgbm"
    container = "pandas"

    def fits(self, model: Any) -> bool:
        return comes_from(model, self.libraries, "Booster", "LGBMModel")

    def save(self, model: Any, files: FileWriter) -> Mapping[str, Any]:
        kind = type(model).__name__ if top_of(type(model)) == "lightgbm" else ""
        booster = model if kind == "Booster" else vars(model).get("_Booster")
        encoded = plain_or_none(_state(model, booster)) if kind in (*_CLASSES, "Booster") else None
        if encoded is None:
            return {"format": "pickle", "value": files.add_encoded("model", storable(model))}
        if booster is not None:
            files.add(_MODEL, booster.model_to_string(num_iteration=-1).encode("utf-8"))
        return {"format": "native", "class": kind, "state": files.add_encoded("state", encoded)}

    def load(self, files: FileReader, options: Mapping[str, Any]) -> Any:
        match options:
            case {"format": "native", "class": str() as kind, "state": state} if kind in (*_CLASSES, "Booster"):
                return _restored(files, kind, files.decoded("state", state))
            case {"format": "pickle", "value": description}:
                files.require_code("model/head")
                return files.decoded("model", description)
        raise IntegrityError("The manifest of a LightGBM model has options that make no sense")

    def own_schema(self, model: Any) -> pa.Schema | None:
        import pyarrow as pa

        booster = model if type(model).__name__ == "Booster" else vars(model).get("_Booster")
        if booster is None:
            return None
        names = booster.feature_name()
        # Without names it makes up Column_0, Column_1, ...
        if names == [f"Column_{number}" for number in range(len(names))]:
            return None
        return pa.schema([pa.field(name, pa.null()) for name in names])


def _state(model: Any, booster: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if booster is not None:
        found["booster"] = {name: value for name, value in booster.__getstate__().items() if name != "_handle"}
    if model is not booster:
        found["model"] = {name: value for name, value in vars(model).items() if name not in ("_Booster", _ENCODER)}
        encoder = vars(model).get(_ENCODER)
        if encoder is not None:
            found["classes"] = encoder.classes_
    return found


def _restored(files: FileReader, kind: str, state: Any) -> Any:
    import lightgbm

    booster = None
    if _MODEL in files:
        booster = lightgbm.Booster.__new__(lightgbm.Booster)
        text = bytes(files.read(_MODEL)).decode("utf-8")
        booster.__setstate__({**_attributes(state, "booster"), "_handle": text})
    if kind == "Booster":
        return booster
    require_sklearn()
    model = getattr(lightgbm, kind)()
    vars(model).update(_attributes(state, "model"))
    if booster is not None:
        model._Booster = booster
    if "classes" in state:
        from lightgbm.compat import _LGBMLabelEncoder

        vars(model)[_ENCODER] = _LGBMLabelEncoder()
        vars(model)[_ENCODER].classes_ = state["classes"]
    return model


def _attributes(state: Any, name: str) -> dict[str, Any]:
    found = state.get(name) if type(state) is dict else None
    if type(found) is not dict or not all(type(attribute) is str for attribute in found):
        raise IntegrityError("The attributes of a stored LightGBM model make no sense")
    return found
