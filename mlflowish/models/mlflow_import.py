"""Models from MLflow's model folders: those of its flavors sklearn, xgboost, lightgbm, pytorch and onnx, and our own
exports. MLflow itself is not needed. Nothing in the folder is trusted: paths stay in it, and pickles obey the policy.
"""

from __future__ import annotations

import pickle
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflowish.errors import (
    CapabilityError,
    IntegrityError,
    InvalidInputError,
    MlflowishError,
    ModelWarning,
    NotFoundError,
    missing_extra,
)
from mlflowish.models.conforming import conformed
from mlflowish.models.flavors.base import require_sklearn
from mlflowish.models.flavors.sklearn import skops_model
from mlflowish.models.mlflow_example import read_example
from mlflowish.models.mlflow_schema import from_mlflow
from mlflowish.models.proxy import as_model
from mlflowish.models.signature import Signature
from mlflowish.models.types import is_number, tensor_element

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_BYTES = 16 << 20
_XGBOOST_MODULES = ("xgboost.core", "xgboost.sklearn")


@dataclass(frozen=True, slots=True)
class ImportedModel:
    """A model out of an MLflow folder: `model` (a `Model` with the signature, if it can predict), the `flavor` that it
    had there, and what else the MLmodel tells. `store_model(store, imported.model)` keeps it. `input_example` is None
    without one: JSON says less of types than the model may want."""

    model: Any
    flavor: str
    signature: Signature | None = None
    requirements: str = ""
    python: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    input_example: Any = None

    def __repr__(self) -> str:
        return f"ImportedModel({type(self.model).__name__}, {self.flavor})"

    def _repr_html_(self) -> str:
        from mlflowish.store.display import card

        rows = [("flavor", self.flavor), ("type", type(self.model).__name__)]
        rows += [("signature", str(self.signature))] if self.signature is not None else []
        rows += [("Python", self.python)] if self.python else []
        return card("ImportedModel", rows)


@dataclass(frozen=True, slots=True)
class _Import:
    folder: Path
    conf: Mapping[str, Any]
    allow_pickle: bool
    trusted: tuple[str, ...]

    def path(self, *names: str, default: str | None = None) -> Path:
        """The file or folder that the first of these options names; IntegrityError if it is outside of the folder."""
        named = next((self.conf[name] for name in names if self.conf.get(name)), default)
        if not isinstance(named, str):
            raise IntegrityError(f"{self.folder / 'MLmodel'} does not say where the model is ({', '.join(names)})")
        path = (self.folder / named).resolve()
        if not path.is_relative_to(self.folder.resolve()):
            raise IntegrityError(
                f"{self.folder / 'MLmodel'} names {named!r}, which is outside of its folder", path=named
            )
        if not path.exists():
            raise NotFoundError(f"{self.folder / 'MLmodel'} names {named!r}, which is not there", path=named)
        return path

    def require_code(self, path: Path) -> None:
        """CapabilityError unless stored code may run."""
        if not self.allow_pickle:
            raise CapabilityError(
                f"{path} was not loaded: loading it can run code stored in it, and the policy is allow_pickle=False. "
                "If you trust everybody who could write to the folder, call with allow_pickle=True.",
                path=str(path),
            )


def import_mlflow(folder: str | Path, *, allow_pickle: bool = True, trusted: tuple[str, ...] = ()) -> ImportedModel:
    """The model in an MLflow model folder, loaded, with its signature.

    `allow_pickle=False` refuses what can run stored code; `trusted` names types in a skops file that you vouch for
    (those that the folder itself names are not believed). NotFoundError without an MLmodel, IntegrityError if it makes
    no sense, CapabilityError for a flavor that is not read here, MissingExtraError for a library that is not installed.
    """
    base = Path(folder)
    record = _mlmodel(base)
    flavors = record.get("flavors")
    if not isinstance(flavors, Mapping) or not all(isinstance(conf, Mapping) for conf in flavors.values()):
        raise IntegrityError(f"{base / 'MLmodel'} names no flavors")
    name = _flavor_of(base, flavors)
    found = _Import(base, flavors[name], allow_pickle, tuple(trusted))
    function = flavors.get("python_function", {})
    native = _loaded(found, name, function)
    signature = from_mlflow(record.get("signature"), columns_in="pandas" if name == "pytorch" else None)
    python, metadata = function.get("python_version"), record.get("metadata")
    _warn_of_another_predict(function.get("predict_fn"))
    return ImportedModel(
        model=native if name == "mlflowish" else as_model(native, signature, flavor=name),
        flavor=name,
        signature=signature,
        requirements=_requirements(base),
        python=python if isinstance(python, str) else None,
        metadata=metadata if isinstance(metadata, Mapping) else {},
        input_example=_example(base, record, signature),
    )


def _warn_of_another_predict(asked: Any) -> None:
    if isinstance(asked, str) and asked != "predict":
        warnings.warn(
            f"MLflow asks this model by its {asked[:100]!r}; predict of what was loaded is the model's own, and says "
            f"something else: call its {asked[:100]!r}.",
            ModelWarning,
            stacklevel=3,
        )


def _requirements(folder: Path) -> str:
    path = (folder / "requirements.txt").resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file() or path.stat().st_size > _MOST_BYTES:
        return ""
    return path.read_text(encoding="utf-8", errors="replace")


def _example(folder: Path, record: Mapping[str, Any], signature: Signature | None) -> Any:
    """The input example, its types those of the signature where it fits."""
    example = read_example(folder, record.get("saved_input_example_info"))
    if example is None or signature is None:
        return example
    try:
        return conformed(signature, _typed(example, signature))
    except InvalidInputError:
        return example


def _typed(example: Any, signature: Signature) -> Any:
    """With the types that the signature says, where no value changes: JSON has numbers of no width, and no times."""
    if signature.inputs.names == [""]:
        return _cast(example, signature.inputs.field(0)) if type(example).__name__ == "ndarray" else example
    if type(example).__name__ == "DataFrame":
        for field in signature.inputs:
            if field.name in example.columns:
                example[field.name] = _cast(example[field.name], field)
    return example


def _cast(values: Any, field: pa.Field) -> Any:
    import pyarrow as pa

    kind = tensor_element(field.type)
    if pa.types.is_timestamp(kind) and getattr(values.dtype, "kind", "") in "OT":
        import pandas as pd

        try:
            return pd.to_datetime(values)
        except (ValueError, TypeError):
            return values
    if is_number(kind) and getattr(values.dtype, "kind", "") in "iuf":
        cast = values.astype(kind.to_pandas_dtype()) if (values == values).all() else values
        return cast if (cast == values).all() else values
    return values


def _mlmodel(folder: Path) -> Mapping[str, Any]:
    try:
        import yaml
    except ImportError as error:
        raise missing_extra("mlflow", needed_for="Reading an MLflow model folder", cause=error) from error
    path = folder / "MLmodel"
    if not path.is_file():
        raise NotFoundError(f"{folder} is no MLflow model folder: it has no MLmodel", path=str(folder))
    if path.stat().st_size > _MOST_BYTES:
        raise IntegrityError(f"{path} has {path.stat().st_size} bytes, which no MLmodel has", path=str(path))
    try:
        record = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise IntegrityError(f"{path} is not YAML: {str(error)[:200]}", path=str(path)) from error
    if not isinstance(record, Mapping):
        raise IntegrityError(f"{path} is not a record", path=str(path))
    return record


def _flavor_of(folder: Path, flavors: Mapping[str, Any]) -> str:
    for name in _READERS:
        if name in flavors:
            return name
    raise CapabilityError(
        f"The MLflow model in {folder} is of flavor {', '.join(flavors) or 'none'}, and {', '.join(_READERS)} are read "
        "here. Load it with mlflow.pyfunc.load_model and store what that gives.",
        flavors=tuple(flavors),
    )


def _loaded(found: _Import, name: str, function: Mapping[str, Any]) -> Any:
    from mlflowish.models.flavors import extra_for

    try:
        with _project_code(found, function):
            return _READERS[name](found)
    except MlflowishError:
        raise
    except ImportError as error:
        if (extra := extra_for(error)) is not None:
            raise missing_extra(extra, needed_for=f"Loading this {name} model", cause=error) from error
        raise CapabilityError(
            f"The MLflow model in {found.folder} needs a module that is not here: {error}. Install its "
            "requirements.txt."
        ) from error
    except Exception as error:
        raise CapabilityError(
            f"The MLflow model in {found.folder} could not be loaded: {type(error).__name__}: {str(error)[:300]}. Its "
            "requirements.txt lists what it was made with.",
        ) from error


@contextmanager
def _project_code(found: _Import, function: Mapping[str, Any]) -> Iterator[None]:
    """The modules that came with the model can be imported within the block, if stored code may run."""
    named = found.conf.get("code") or function.get("code")
    if not named or not found.allow_pickle:
        yield
        return
    path = str(_Import(found.folder, {"code": named}, True, ()).path("code"))
    sys.path.append(path)  # behind all others: what is here goes first
    try:
        yield
    finally:
        sys.path.remove(path)


def _read_sklearn(found: _Import) -> Any:
    path = found.path("pickled_model")
    if found.conf.get("serialization_format") == "skops":
        expected = found.conf.get("skops_trusted_types") or ()
        return skops_model(
            path.read_bytes(), path.name, allow_pickle=found.allow_pickle, trusted=found.trusted, expected=expected
        )
    return _unpickled(found, path)


def _unpickled(found: _Import, path: Path) -> Any:
    found.require_code(path)
    with path.open("rb") as file:
        return pickle.load(file)


def _read_xgboost(found: _Import) -> Any:
    import xgboost

    module, _, kind = str(found.conf.get("model_class", "xgboost.core.Booster")).rpartition(".")
    if module not in _XGBOOST_MODULES or not kind.startswith(("Booster", "XGB")) or not hasattr(xgboost, kind):
        raise IntegrityError(f"{found.folder / 'MLmodel'} names a class {module}.{kind}, which XGBoost does not have")
    path = found.path("data")
    if kind != "Booster":
        require_sklearn()
    model = getattr(xgboost, kind)()
    model.load_model(path)
    return model


def _read_lightgbm(found: _Import) -> Any:
    path = found.path("data")
    if found.conf.get("model_class", "lightgbm.basic.Booster") != "lightgbm.basic.Booster":
        if found.conf.get("serialization_format") == "skops":
            return skops_model(path.read_bytes(), path.name, allow_pickle=found.allow_pickle, trusted=found.trusted)
        return _unpickled(found, path)
    import lightgbm

    return lightgbm.Booster(model_file=path)


def _read_pytorch(found: _Import) -> Any:
    folder = found.path("model_data", default="data")
    path = folder / "model.pth" if (folder / "model.pth").exists() else folder / "model.pt2"
    found.require_code(path)
    import torch

    if path.suffix == ".pt2":
        return torch.export.load(path)
    return torch.load(path, weights_only=False)


def _read_onnx(found: _Import) -> Any:
    import onnx

    return onnx.load(found.path("data"))


def _read_ours(found: _Import) -> Any:
    from mlflowish.models.mlflow_loader import open_exported

    return open_exported(found.path("data"), allow_pickle=found.allow_pickle).load(trusted=found.trusted)


_READERS: dict[str, Callable[[_Import], Any]] = {
    "mlflowish": _read_ours,
    "xgboost": _read_xgboost,
    "lightgbm": _read_lightgbm,
    "sklearn": _read_sklearn,
    "pytorch": _read_pytorch,
    "onnx": _read_onnx,
}
