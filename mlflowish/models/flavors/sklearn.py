"""Flavor `sklearn`: estimators and pipelines, by skops where it is installed and can, else pickled.

A skops file says which types are in it before anything is built (https://skops.readthedocs.io, Persistence). Types
that skops knows are built; others are code of somebody: they are built when stored code may run, or when the caller
names them in `trusted=`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlflowish.errors import CapabilityError, IntegrityError, missing_extra
from mlflowish.hashing import hexdigest
from mlflowish.models.copies import copies
from mlflowish.models.files import FileReader, FileWriter
from mlflowish.models.flavors.base import Flavor, comes_from, library_version
from mlflowish.models.flavors.python import storable

if TYPE_CHECKING:
    import pyarrow as pa

_SKOPS = "model.skops"
_SCRIPTS = ("__main__", "__mp_main__")  # what a script or notebook defines is where nobody can import it from


class SklearnFlavor(Flavor):
    """Whatever derives from scikit-learn's BaseEstimator."""

    name = "sklearn"
    libraries = ("sklearn",)
    extra = "sklearn"
    container = "pandas"

    def fits(self, model: Any) -> bool:
        return comes_from(model, self.libraries, "BaseEstimator")

    def save(self, model: Any, files: FileWriter) -> Mapping[str, Any]:
        dumped = _dumped(model, files.digest)
        if dumped is None:
            return {"format": "pickle", "value": files.add_encoded("model", storable(model))}
        data, foreign = dumped
        files.add(_SKOPS, data, executes_code=bool(foreign))
        return {"format": "skops", "foreign_types": foreign}

    def load(self, files: FileReader, options: Mapping[str, Any]) -> Any:
        match options:
            case {"format": "skops", "foreign_types": list() as expected}:
                return _from_skops(files, expected)
            case {"format": "pickle", "value": description}:
                files.require_code("model/head")
                return files.decoded("model", description)
        raise IntegrityError("The manifest of a scikit-learn model has options that make no sense")

    def also_needs(self, options: Mapping[str, Any]) -> tuple[str, ...]:
        return ("skops",) if options["format"] == "skops" else ()

    def own_schema(self, model: Any) -> pa.Schema | None:
        import pyarrow as pa

        names = getattr(model, "feature_names_in_", None)
        return None if names is None else pa.schema([pa.field(str(name), pa.null()) for name in names])


def _from_skops(files: FileReader, expected: Sequence[str]) -> Any:
    """The model in the skops file: built, or a copy of what this process built of the same bytes before."""
    data = bytes(files.read(_SKOPS))

    def build() -> Any:
        return skops_model(data, _SKOPS, allow_pickle=files.allow_pickle, trusted=files.trusted, expected=expected)

    def permits(types: frozenset[str]) -> bool:
        return files.allow_pickle or types.issubset(files.trusted)

    made_with = files.libraries.items()
    if not made_with or any(library_version(name) != version for name, version in made_with):
        return build()  # each time, as scikit-learn warns each time
    return copies.built(data, build, types=lambda: _own_types(data), permits=permits)


def _own_types(data: bytes) -> frozenset[str] | None:
    """The types in a skops file that skops does not know, if all are scikit-learn's own: trees. None if there are
    others, whose classes may be another one the next time."""
    import skops.io

    types = frozenset(skops.io.get_untrusted_types(data=data))
    return types if all(name.startswith("sklearn.") for name in types) else None


def _dumped(model: Any, digest: str | None) -> tuple[bytes, list[str]] | None:
    """The model as a skops file, and the types in it that skops does not know; None where skops is not installed,
    would not give the same model back, or elsewhere not find a class or function that a script defines."""
    try:
        import skops.io
    except ImportError:
        return None
    if digest is None:
        return None
    try:
        data: bytes = skops.io.dumps(model)
        foreign, again = _read_back(skops.io, data)
        if any(name.partition(".")[0] in _SCRIPTS for name in foreign):
            return None  # skops has their names only, which mean nothing, or another thing, in another program
        return (data, sorted(foreign)) if hexdigest(again) == digest else None
    except Exception:  # noqa: BLE001  what skops, or a class in the model, cannot do: pickle may be able to
        return None


def _read_back(skops: Any, data: bytes) -> tuple[list[str], Any]:
    """The foreign types in a skops file of our own, and the model in it; most files hold none, and are read once."""
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        return [], skops.loads(data, trusted=[])
    except UntrustedTypesFoundException:
        foreign: list[str] = skops.get_untrusted_types(data=data)
        return foreign, skops.loads(data, trusted=foreign)


def skops_model(
    data: bytes, path: str, *, allow_pickle: bool, trusted: Sequence[str], expected: Sequence[str] = ()
) -> Any:
    """The model in the bytes of a skops file. Types that skops does not know are built if stored code may run, or if
    each of them is named in `trusted`; CapabilityError otherwise, with `.types`.

    `expected`: foreign types that the file is said to hold. Where stored code may run, to know them saves reading it
    twice; elsewhere they are not believed.
    """
    known = [*trusted, *(name for name in expected if allow_pickle and type(name) is str)]
    try:
        import skops.io
    except ImportError as error:
        raise missing_extra("skops", needed_for="Loading a scikit-learn model stored by skops", cause=error) from error
    return _built(skops.io, data, path, allow_pickle=allow_pickle, trusted=known)


def _built(skops: Any, data: bytes, path: str, *, allow_pickle: bool, trusted: Sequence[str]) -> Any:
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        return skops.loads(data, trusted=list(trusted))
    except UntrustedTypesFoundException:
        foreign = sorted(skops.get_untrusted_types(data=data))
    if not allow_pickle:
        unknown = [name for name in foreign if name not in trusted]
        raise CapabilityError(
            f"The file {path!r} of this model was not loaded: it holds the types {', '.join(unknown)}, which run code "
            "of their own, and the policy is allow_pickle=False. If you know them, load it with "
            f"trusted={unknown!r}; if you trust everybody who writes to the store, with allow_pickle=True.",
            path=path,
            types=unknown,
        )
    return skops.loads(data, trusted=foreign)
