"""A trained thing as an object: stored in open formats, with its signature, example, environment and code.

`store_model` writes one into a store, `open_model` opens it again, `StoredModel.load` gives what was stored. Names are
imported when they are first used: a program that stores no model imports nothing of this.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflowish.models.flavors import Flavor, find_flavor, flavor_named, known_flavors, register_flavor
    from mlflowish.models.manifest import Manifest
    from mlflowish.models.mlflow_export import export_mlflow
    from mlflowish.models.mlflow_import import ImportedModel, import_mlflow
    from mlflowish.models.opening import StoredModel, open_model
    from mlflowish.models.proxy import Model
    from mlflowish.models.signature import Signature, infer_signature
    from mlflowish.models.storing import store_model

_HOMES = {
    **dict.fromkeys(["Flavor", "find_flavor", "flavor_named", "known_flavors", "register_flavor"], "flavors"),
    "ImportedModel": "mlflow_import",
    "Manifest": "manifest",
    "Model": "proxy",
    "Signature": "signature",
    "StoredModel": "opening",
    "export_mlflow": "mlflow_export",
    "import_mlflow": "mlflow_import",
    "infer_signature": "signature",
    "open_model": "opening",
    "store_model": "storing",
}

__all__ = [
    "Flavor",
    "ImportedModel",
    "Manifest",
    "Model",
    "Signature",
    "StoredModel",
    "export_mlflow",
    "find_flavor",
    "flavor_named",
    "import_mlflow",
    "infer_signature",
    "known_flavors",
    "open_model",
    "register_flavor",
    "store_model",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value
