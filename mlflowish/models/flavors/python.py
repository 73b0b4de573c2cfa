"""Flavor `python`: any object. Plain data, arrays and frames without pickle; functions and the rest with it.

A function is stored twice: where it is (module and name, with the fingerprint of its code) and what it is (pickled by
value, with what it uses of the project). It is taken from its module where that still has the same code, else from the
pickle, so a model does not change when the code of the project does.
"""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FunctionType, ModuleType
from typing import Any

from mlflowish.codecs import Encoded, encode
from mlflowish.codecs.classes import ClassUnpickler, classes
from mlflowish.errors import CapabilityError, IntegrityError, InvalidInputError, MlflowishError, UncacheableError
from mlflowish.hashing import fingerprint
from mlflowish.models.files import FileReader, FileWriter
from mlflowish.models.flavors.base import Flavor

_FUNCTION = "function.pkl"
_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
_by_value = threading.Lock()


class PythonFlavor(Flavor):
    """Any object that our codecs can store, and functions."""

    name = "python"

    def fits(self, model: Any) -> bool:
        """Everything does; what cannot be stored says so in `save`."""
        return True

    def save(self, model: Any, files: FileWriter) -> Mapping[str, Any]:
        if isinstance(model, FunctionType):
            return _save_function(model, files)
        return {"kind": "value", "value": files.add_encoded("model", storable(model))}

    def load(self, files: FileReader, options: Mapping[str, Any]) -> Any:
        match options:
            case {"kind": "value", "value": description}:
                return files.decoded("model", description)
            case {"kind": "function", "module": str(), "name": str(), "fingerprint": str(), "python": str()}:
                return _load_function(files, options)
        raise IntegrityError("The manifest of a python model has options that make no sense")


def storable(model: Any) -> Any:
    """`model` encoded by our codecs; InvalidInputError with the member that cannot be stored."""
    try:
        return encode(model)
    except UncacheableError as error:
        path = str(error.data.get("path", "")).replace("result", "model", 1)
        raise _refusal(path, str(error.data.get("reason", error))) from error


def unstorable(model: Any, error: Exception) -> InvalidInputError:
    """The error for a model that pickling failed on: says which member it was."""
    from mlflowish.codecs.culprit import culprit

    return _refusal(*culprit(model, error, root="model"))


def _refusal(path: str, reason: str) -> InvalidInputError:
    return InvalidInputError(
        f"The model cannot be stored: {path} {reason}. Take it out of the model (a __getstate__ can), or register a "
        "flavor for this kind of model with mlflowish.models.register_flavor.",
        path=path,
    )


def plain_or_none(value: Any) -> Encoded | None:
    """`value` encoded, if that needs no pickle; None otherwise."""
    try:
        encoded = encode(value)
    except UncacheableError:
        return None
    return None if encoded.executes_code else encoded


def _save_function(function: FunctionType, files: FileWriter) -> dict[str, Any]:
    print_ = fingerprint(function)
    files.add(_FUNCTION, _pickled(function, _project_modules(print_.codes)), executes_code=True)
    return {
        "kind": "function",
        "module": function.__module__ or "",
        "name": function.__qualname__,
        "fingerprint": print_.digest.hex(),
        "python": _PYTHON,
    }


def _project_modules(codes: Any) -> list[ModuleType]:
    """The imported modules of the project whose code a function reaches."""
    files = {code.co_filename for code in codes}
    found = [module for module in list(sys.modules.values()) if getattr(module, "__file__", None) in files]
    return [module for module in found if isinstance(module, ModuleType) and module.__name__ != "__main__"]


def _pickled(function: FunctionType, modules: list[ModuleType]) -> bytes:
    import cloudpickle

    try:
        with _stored_by_value(modules):
            return bytes(cloudpickle.dumps(function, protocol=5))
    except MlflowishError:
        raise
    except Exception as error:
        raise InvalidInputError(
            f"The function {function.__module__}.{function.__qualname__} cannot be stored: something that it uses "
            f"cannot be pickled ({type(error).__name__}: {str(error)[:200]}). Make that inside the function, or store "
            "an object with a `predict` method.",
            function=function.__qualname__,
        ) from error


@contextmanager
def _stored_by_value(modules: list[ModuleType]) -> Iterator[None]:
    import cloudpickle

    with _by_value:
        added = [module for module in modules if module.__name__ not in cloudpickle.list_registry_pickle_by_value()]
        for module in added:
            cloudpickle.register_pickle_by_value(module)
        try:
            yield
        finally:
            for module in added:
                cloudpickle.unregister_pickle_by_value(module)


def _load_function(files: FileReader, options: Mapping[str, Any]) -> Any:
    # Its name may lead to any function of this machine, so that one is not safer than the pickle.
    files.require_code(_FUNCTION)
    here = _function_here(options["module"], options["name"])
    if here is not None and fingerprint(here).digest.hex() == options["fingerprint"]:
        return here
    if options["python"] != _PYTHON:
        raise CapabilityError(
            f"The function {options['module']}.{options['name']} is not here as it was when it was stored, and its "
            f"stored code is of Python {options['python']}; this is Python {_PYTHON}. Load it with that version, or "
            "where its module is installed as it was.",
            python=options["python"],
        )
    try:
        with classes(only_stored=True):
            return ClassUnpickler(io.BytesIO(files.read_code(_FUNCTION))).load()
    except MlflowishError:
        raise
    except Exception as error:
        raise CapabilityError(
            f"The stored function {options['name']} cannot be put together here ({type(error).__name__}: "
            f"{str(error)[:200]}). Install what the model's environment lists: manifest.environment.requirements().",
            name=options["name"],
        ) from error


def _function_here(module: str, name: str) -> FunctionType | None:
    import importlib

    try:
        found: Any = sys.modules.get(module) or importlib.import_module(module)
        for step in name.split("."):
            found = getattr(found, step)
    except Exception:  # noqa: BLE001  a module may raise anything when it is imported; its stored code is there
        return None
    return found if isinstance(found, FunctionType) else None
