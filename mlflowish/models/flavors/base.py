"""The seam between a library's models and files: what a flavor must do. Held by `mlflowish.testing.flavor_suite`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

    from mlflowish.models.files import FileReader, FileWriter


class Flavor:
    """How the models of one library are stored, loaded and asked. Inherit, and write `save` and `load`.

    `name` is written into every manifest, so it is for ever; `version` counts the changes of what `save` writes.
    `libraries` are the import names of the libraries whose classes (or classes that derive from theirs) it stores;
    `extra` is what to install when they are missing; `container` is what `predict` is given when neither the model's
    signature nor the caller says better: "pandas", "numpy", or "" for whatever came.
    """

    name = ""
    version = 1
    libraries: tuple[str, ...] = ()
    extra: str | None = None
    container = ""

    def fits(self, model: Any) -> bool:
        """Can this store `model`? Its library is imported already if the model comes from it; import nothing here."""
        return comes_from(model, self.libraries)

    def save(self, model: Any, files: FileWriter) -> Mapping[str, Any]:
        """Write the model's files; return options for `load`, plain data for JSON. Mark what can run code."""
        raise NotImplementedError

    def load(self, files: FileReader, options: Mapping[str, Any]) -> Any:
        """The model. `options` come from a store that others can write to: check them. What can run code must be read
        with `files.read_code`, or asked for with `files.require_code`, before anything else is done with it."""
        raise NotImplementedError

    def predict(self, model: Any, data: Any, **options: Any) -> Any:
        """What the model says about `data`."""
        predict = getattr(model, "predict", None)
        return model(data, **options) if predict is None else predict(data, **options)

    def also_needs(self, options: Mapping[str, Any]) -> tuple[str, ...]:
        """Import names of what it takes, beside `libraries`, to load and ask a model that `save` gave these options."""
        return ()

    def own_schema(self, model: Any) -> pa.Schema | None:
        """The columns that the model itself remembers, of type null where it does not know their type."""
        return None


def comes_from(model: Any, libraries: tuple[str, ...], *names: str) -> bool:
    """Is its class, or one that it derives from, of one of these libraries, and (if given) of one of these names?"""
    return any(top_of(base) in libraries and (not names or base.__name__ in names) for base in type(model).__mro__)


def top_of(cls: type) -> str:
    """The top-level module that a class says it is from."""
    module = cls.__module__
    return module.partition(".")[0] if isinstance(module, str) else ""


def require_sklearn() -> None:
    """ImportError if scikit-learn is not there. Libraries with classes in its style say that in words of their own."""
    import sklearn  # noqa: F401  whether it is there is all


def library_version(library: str) -> str | None:
    """The version of an imported library; None if it is not imported or does not say."""
    version = getattr(sys.modules.get(library), "__version__", None)
    return version if isinstance(version, str) else None
