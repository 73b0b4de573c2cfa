"""A stored model as an MLflow model folder: MLmodel, the model in the form that MLflow's own flavor reads, and lists of
what to install. MLflow itself is not needed.

What no flavor of MLflow reads is a `python_function` that `mlflow_loader` loads from a small store in the folder.
"""

from __future__ import annotations

import datetime
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from mlflowish.errors import AlreadyExistsError, CapabilityError, InvalidInputError, MlflowishError
from mlflowish.models.flavors import library_version
from mlflowish.models.mlflow_example import write_example
from mlflowish.models.mlflow_schema import to_mlflow
from mlflowish.models.opening import StoredModel
from mlflowish.models.proxy import native_of
from mlflowish.models.yaml_text import to_yaml
from mlflowish.store import Store

LOADER = "mlflowish.models.mlflow_loader"
STORE_FOLDER = "mlflowish"
REFERENCE = "MODEL"
_PICKLES = "mlflow.pytorch.pickle_module"


@dataclass(slots=True)
class _Export:
    """A folder in the making: what MLflow's flavor and its `python_function` say, and what to install besides."""

    stored: StoredModel
    folder: Path
    function: dict[str, Any] = field(default_factory=dict)
    flavors: dict[str, Any] = field(default_factory=dict)
    packages: list[str] = field(default_factory=list)

    def native(self) -> Any:
        """The model itself: loading it may run stored code."""
        return native_of(self.stored.load())

    def copy(self, path: str, name: str) -> None:
        """Put a file of the model into the folder."""
        self.stored.files().copy_to(path, self.folder / name)


class HasStored(Protocol):
    """What leads to a stored model, as a version in the registry does."""

    @property
    def stored(self) -> StoredModel:
        """The model's files and manifest."""


def export_mlflow(model: StoredModel | HasStored, folder: str | Path) -> Path:
    """Write a stored model, or a registered version, as an MLflow model into `folder`, which must be new or empty;
    returns it.

    `mlflow.pyfunc.load_model(folder)`, and `load_model` of MLflow's own flavor, read it. Models that are pickled here
    are pickled there. The input example goes with it, as far as MLflow has a form for it (arrays, frames, plain data),
    and the policy on stored code lets it be read. AlreadyExistsError if there is something in the folder already,
    CapabilityError if the model cannot be loaded here, which some flavors need for it.
    """
    stored = model if isinstance(model, StoredModel) else model.stored
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise AlreadyExistsError(f"{target} is there already and is not empty. Give a new folder.", path=str(target))
    is_new = not target.exists()
    target.mkdir(parents=True, exist_ok=True)
    try:
        _write(_Export(stored, target))
    except BaseException as error:  # an interrupt, too, leaves nothing behind
        _empty(target, itself=is_new)
        if isinstance(error, MlflowishError) or not isinstance(error, Exception):
            raise
        raise CapabilityError(
            f"This model of flavor '{stored.manifest.flavor}' could not be written as a model of MLflow: "
            f"{type(error).__name__}: {str(error)[:300]}",
            flavor=stored.manifest.flavor,
        ) from error
    return target


def _empty(folder: Path, *, itself: bool) -> None:
    """Remove what was written: what is left of an export would be in the way of the next one."""
    for path in [folder] if itself else list(folder.iterdir()):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _write(export: _Export) -> None:
    stored, target = export.stored, export.folder
    _WRITERS.get(stored.manifest.flavor, _write_ours)(export)
    if not export.function:
        _write_ours(export)
    _write_code(export)
    _write_lists(export)
    record = _mlmodel(export)
    example = _write_example(export)
    if example is not None:
        record["saved_input_example_info"] = example
    (target / "MLmodel").write_text(to_yaml(record), encoding="utf-8")


def _write_sklearn(export: _Export) -> None:
    import sklearn

    options = export.stored.manifest.options
    conf: dict[str, Any] = {"sklearn_version": sklearn.__version__, "code": None}
    native = export.native()
    if options["format"] == "skops":
        export.copy("model.skops", "model.skops")
        conf |= {"pickled_model": "model.skops", "serialization_format": "skops"}
        conf["skops_trusted_types"] = list(options["foreign_types"])
        export.packages.append("skops")
    else:
        _pickle(native, export.folder / "model.pkl")
        conf |= {"pickled_model": "model.pkl", "serialization_format": "cloudpickle"}
    export.flavors["sklearn"] = conf
    if hasattr(native, "predict"):
        export.function = {"loader_module": "mlflow.sklearn", "model_path": conf["pickled_model"]}
        export.function["predict_fn"] = "predict"


def _write_xgboost(export: _Export) -> None:
    import xgboost

    native = export.native()
    native.save_model(export.folder / "model.ubj")
    export.function = {"loader_module": "mlflow.xgboost", "data": "model.ubj"}
    export.flavors["xgboost"] = {
        "xgb_version": xgboost.__version__,
        "data": "model.ubj",
        "model_class": f"{type(native).__module__}.{type(native).__qualname__}",
        "model_format": "ubj",
        "code": None,
    }


def _write_lightgbm(export: _Export) -> None:
    import lightgbm

    native = export.native()
    conf: dict[str, Any] = {"lgb_version": lightgbm.__version__, "code": None}
    conf["model_class"] = f"{type(native).__module__}.{type(native).__qualname__}"
    if conf["model_class"] == "lightgbm.basic.Booster":
        export.copy("model.txt", "model.lgb")
        conf["data"] = "model.lgb"
    else:
        _pickle(native, export.folder / "model.pkl")
        conf |= {"data": "model.pkl", "serialization_format": "cloudpickle"}
    export.function = {"loader_module": "mlflow.lightgbm", "data": conf["data"]}
    export.flavors["lightgbm"] = conf


def _write_onnx(export: _Export) -> None:
    import onnx

    export.copy("model.onnx", "model.onnx")
    export.function = {"loader_module": "mlflow.onnx", "data": "model.onnx"}
    export.flavors["onnx"] = {
        "onnx_version": onnx.__version__,
        "data": "model.onnx",
        "providers": ["CPUExecutionProvider"],
        "onnx_session_options": None,
        "code": None,
    }
    export.packages.append("onnxruntime")


def _write_pytorch(export: _Export) -> None:
    if export.stored.manifest.options["format"] != "module":
        return
    import cloudpickle
    import torch

    (export.folder / "data").mkdir()
    torch.save(export.native(), export.folder / "data" / "model.pth", pickle_module=cloudpickle)
    (export.folder / "data" / "pickle_module_info.txt").write_text(_PICKLES, encoding="utf-8")
    export.function = {"loader_module": "mlflow.pytorch", "data": "data", "pickle_module_name": _PICKLES}
    export.function["model_config"] = {"device": None}
    export.flavors["pytorch"] = {"model_data": "data", "pytorch_version": str(torch.__version__), "code": None}
    export.packages.append("cloudpickle")


def _write_ours(export: _Export) -> None:
    """The model's objects as a store in the folder."""
    stored = export.stored
    store = Store(export.folder / STORE_FOLDER)
    store.create()
    for ref in stored.refs:
        store.objects.put(stored.store.objects.reader(ref).chunks, ref.size_bytes)
    ref = stored.manifest_ref
    store.storage.put_if_absent(REFERENCE, f"{ref.digest} {ref.size_bytes}\n".encode())
    export.function = {"loader_module": LOADER, "data": STORE_FOLDER}
    export.flavors["mlflowish"] = {"data": STORE_FOLDER, "flavor": stored.manifest.flavor}
    export.packages.append(f"mlflowish=={library_version('mlflowish')}")


_WRITERS: dict[str, Callable[[_Export], None]] = {
    "sklearn": _write_sklearn,
    "xgboost": _write_xgboost,
    "lightgbm": _write_lightgbm,
    "onnx": _write_onnx,
    "pytorch": _write_pytorch,
}


def _pickle(native: Any, path: Path) -> None:
    import cloudpickle

    with path.open("wb") as file:
        cloudpickle.dump(native, file)


def _write_example(export: _Export) -> dict[str, Any] | None:
    try:
        example = export.stored.input_example()
    except CapabilityError:  # a pickle, and the policy forbids it: the model is whole without it
        return None
    return None if example is None else write_example(example, export.folder)


def _write_code(export: _Export) -> None:
    """The project's modules as MLflow keeps them: a folder that it puts before the import path."""
    modules = {name: path for name, path in export.stored.manifest.code.items() if name != "__main__"}
    if not modules or export.function.get("loader_module") == LOADER:
        return
    for name, path in modules.items():
        parts = name.split(".")
        if not all(part.isidentifier() for part in parts):
            raise InvalidInputError(f"{name!r} cannot be the name of a module", module=name)
        is_package = any(other.startswith(f"{name}.") for other in modules)
        file = "/".join([*parts, "__init__.py"]) if is_package else "/".join(parts) + ".py"
        export.copy(path, f"code/{file}")
    export.function["code"] = "code"
    for conf in export.flavors.values():
        conf["code"] = "code"


def _requirements(export: _Export) -> list[str]:
    lines = [package.line() for package in export.stored.manifest.environment.packages]
    pinned = {line.partition("==")[0] for line in lines}
    return ["mlflow", *lines, *(name for name in export.packages if name.partition("==")[0] not in pinned)]


def _write_lists(export: _Export) -> None:
    python = export.stored.manifest.environment.python
    lines = _requirements(export)
    (export.folder / "requirements.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    virtualenv = {
        "python": python,
        "build_dependencies": ["pip", "setuptools", "wheel"],
        "dependencies": ["-r requirements.txt"],
    }
    (export.folder / "python_env.yaml").write_text(to_yaml(virtualenv), encoding="utf-8")
    installed = [line.partition("  #")[0] for line in lines if not line.startswith("#")]
    conda = {
        "channels": ["conda-forge"],
        "dependencies": [f"python={python}", "pip", {"pip": installed}],
        "name": "mlflow-env",
    }
    (export.folder / "conda.yaml").write_text(to_yaml(conda), encoding="utf-8")


def _mlmodel(export: _Export) -> dict[str, Any]:
    manifest = export.stored.manifest
    function = {
        **export.function,
        "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
        "python_version": manifest.environment.python,
    }
    created = datetime.datetime.fromtimestamp(manifest.created_s, datetime.UTC)
    record: dict[str, Any] = {
        "flavors": {"python_function": function, **export.flavors},
        "model_uuid": uuid.uuid4().hex,
        "utc_time_created": created.strftime("%Y-%m-%d %H:%M:%S.%f"),
        "metadata": dict(manifest.metadata) or None,
    }
    takes_tensors = "pytorch" in export.flavors and getattr(manifest.signature, "container", None) in ("dict", "torch")
    signature = to_mlflow(manifest.signature, takes_tensors=takes_tensors)
    return record if signature is None else {**record, "signature": signature}
