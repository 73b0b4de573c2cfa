"""Flavors: how the models of each library are stored. One file each, one line each in the table below.

A flavor is found by the names of the modules that a model's class and its bases come from, so no library is imported
that the model does not come from.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, TypeVar

from mlflowish.errors import AlreadyExistsError, CapabilityError, InvalidInputError, nearest
from mlflowish.models.flavors.base import Flavor, comes_from, library_version, top_of

__all__ = [
    "Flavor",
    "comes_from",
    "extra_for",
    "find_flavor",
    "flavor_named",
    "known_flavors",
    "library_version",
    "register_flavor",
]


@dataclass(frozen=True, slots=True)
class _Home:
    """Where a flavor of ours is, and the libraries whose models it is asked about."""

    module: str
    attribute: str
    libraries: tuple[str, ...] = ()


_BUILTIN = {
    "xgboost": _Home("xgboost", "XGBoostFlavor", ("xgboost",)),
    "lightgbm": _Home("lightgbm", "LightGBMFlavor", ("lightgbm",)),
    "pytorch": _Home("pytorch", "PytorchFlavor", ("torch",)),
    "onnx": _Home("onnx", "OnnxFlavor", ("onnx",)),
    "sklearn": _Home("sklearn", "SklearnFlavor", ("sklearn",)),
    "python": _Home("python", "PythonFlavor"),
}
F = TypeVar("F", bound=Flavor | type[Flavor])
_registered: dict[str, Flavor] = {}
_loaded: dict[str, Flavor] = {}


def register_flavor(flavor: F) -> F:
    """Let `flavor`, an instance or a class of them, store the models that it `fits`; it is asked before those of ours.
    Returns it, so it decorates a class.

    Its name is written into every manifest: a process that loads those models must have registered it too.
    AlreadyExistsError if another flavor has the name; the same class again (a notebook cell run twice) replaces it.

    >>> from mlflowish.models import Flavor, register_flavor
    >>> @register_flavor
    ... class Words(Flavor):
    ...     name = "words"
    ...     def fits(self, model):
    ...         return type(model).__name__ == "WordList"
    >>> Words.name
    'words'
    """
    made = flavor() if isinstance(flavor, type) else flavor
    _register(made)
    return flavor


def _register(flavor: Flavor) -> None:
    other = _registered.get(flavor.name)
    if not isinstance(flavor.name, str) or not flavor.name.isidentifier():
        raise InvalidInputError(f"A flavor's name is letters, digits and '_', found {flavor.name!r}", name=flavor.name)
    if flavor.name in _BUILTIN or (other is not None and type(other).__qualname__ != type(flavor).__qualname__):
        raise AlreadyExistsError(
            f"Registering flavor '{flavor.name}' failed: the name is taken. Give it another.", name=flavor.name
        )
    _registered[flavor.name] = flavor


def known_flavors() -> list[str]:
    """The names of all flavors, sorted."""
    return sorted(_BUILTIN.keys() | _registered.keys())


def flavor_named(name: str) -> Flavor:
    """The flavor that a manifest names; CapabilityError if this process has none of that name."""
    found = _registered.get(name) or _loaded.get(name)
    if found is not None:
        return found
    home = _BUILTIN.get(name)
    if home is None:
        raise CapabilityError(
            f"This model is of flavor '{name[:100]}', which is not known here (there are {', '.join(known_flavors())})."
            " Register it with mlflowish.models.register_flavor, or load the model where it is registered.",
            flavor=name,
        )
    module = importlib.import_module(f"{__name__}.{home.module}")
    flavor: Flavor = getattr(module, home.attribute)()
    _loaded[name] = flavor
    return flavor


def extra_for(error: ImportError) -> str | None:
    """The extra with the library that an import did not find, if it is one whose models are stored here."""
    top = (error.name or "").partition(".")[0]
    ours = [flavor_named(name) for name, home in _BUILTIN.items() if top in home.libraries]
    return next((flavor.extra for flavor in (*_registered.values(), *ours) if top in flavor.libraries), None)


def find_flavor(model: Any, name: str | None = None) -> Flavor:
    """The flavor that stores `model`: the one called `name`, else by its type, else "python", which takes anything.

    InvalidInputError if there is none of that name, or it cannot store this model.
    """
    if name is not None:
        return _asked_for(model, name)
    for flavor in _registered.values():
        if flavor.fits(model):
            return flavor
    for base in type(model).__mro__:
        top = top_of(base)
        for candidate, home in _BUILTIN.items():
            if top in home.libraries and (flavor := flavor_named(candidate)).fits(model):
                return flavor
    return flavor_named("python")


def _asked_for(model: Any, name: str) -> Flavor:
    if name not in known_flavors():
        raise InvalidInputError(
            f"flavor={name!r}: there is no such flavor; there are "
            f"{', '.join(nearest(str(name), known_flavors(), limit=20))}",
            flavor=name,
        )
    flavor = flavor_named(name)
    if not flavor.fits(model):
        raise InvalidInputError(
            f"flavor={name!r} cannot store this {type(model).__module__}.{type(model).__qualname__}. "
            f"Leave flavor= away: then it is stored as '{find_flavor(model).name}'.",
            flavor=name,
        )
    return flavor
