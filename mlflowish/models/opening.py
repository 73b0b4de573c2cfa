"""Opening a stored model and loading it. Nothing is imported for it but what its flavor needs."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlflowish.codecs.classes import classes
from mlflowish.errors import CapabilityError, InvalidInputError, MlflowishError, ModelWarning, missing_extra
from mlflowish.hashing import hexdigest
from mlflowish.models.files import FileReader
from mlflowish.models.flavors import Flavor, extra_for, flavor_named, library_version
from mlflowish.models.importing import imported_code
from mlflowish.models.manifest import MOST_BYTES, Manifest
from mlflowish.models.proxy import as_model
from mlflowish.models.signature import Signature
from mlflowish.storage import ObjectRef
from mlflowish.store import Store

EXAMPLE = "example"


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model in a store: its manifest is read, its files are not until `load`."""

    store: Store
    manifest_ref: ObjectRef
    manifest: Manifest

    @property
    def refs(self) -> tuple[ObjectRef, ...]:
        """Every object that it needs, the manifest's own first."""
        unique = dict.fromkeys(file.ref for file in self.manifest.files)
        return (self.manifest_ref, *(ref for ref in unique if ref != self.manifest_ref))

    @property
    def signature(self) -> Signature | None:
        """What it takes and gives, if that is known."""
        return self.manifest.signature

    def load(self, *, allow_pickle: bool | None = None, trusted: Sequence[str] = (), into: Any = None) -> Any:
        """The model. What can predict comes as a `Model`, which validates and else is the native one.

        `allow_pickle=False`, or a store that was opened so, refuses what can run stored code before any byte of it is
        read. `trusted`: names of types in a skops file that you vouch for. `into`: a PyTorch module, or what makes one,
        that takes the stored weights; that runs no stored code. Raises CapabilityError for what the policy forbids, for
        an unknown flavor and for code that is not here, MissingExtraError for a library that is not, IntegrityError for
        damage; warns (ModelWarning) of a library of another major version.
        """
        flavor = flavor_named(self.manifest.flavor)
        self._require_layout(flavor)
        reader = self.files(allow_pickle=allow_pickle, trusted=trusted, into=into)
        with imported_code(self.manifest, reader):
            native = _as_stored(flavor, reader, self.manifest)
        _warn_of_versions(self.manifest)
        return as_model(native, lambda: self.manifest.signature, flavor=self.manifest.flavor)

    def files(self, *, allow_pickle: bool | None = None, trusted: Sequence[str] = (), into: Any = None) -> FileReader:
        """Its files, read under the policy of the store and of this call: both must allow what can run code."""
        allowed = self.store.allow_pickle and allow_pickle is not False
        return FileReader(
            self.store,
            self.manifest.files,
            allow_pickle=allowed,
            trusted=trusted,
            into=into,
            libraries=self.manifest.libraries,
        )

    def input_example(self, *, allow_pickle: bool | None = None) -> Any:
        """The example of its inputs that was stored with it; None without one."""
        if self.manifest.example is None:
            return None
        return self.files(allow_pickle=allow_pickle).decoded(EXAMPLE, dict(self.manifest.example))

    def _require_layout(self, flavor: Flavor) -> None:
        if self.manifest.flavor_version > flavor.version:
            raise CapabilityError(
                f"This model was stored by flavor '{flavor.name}' in layout {self.manifest.flavor_version}, and this "
                f"version reads up to {flavor.version}. Upgrade: pip install -U mlflowish.",
                flavor=flavor.name,
            )

    def __repr__(self) -> str:
        size = sum(ref.size_bytes for ref in self.refs)
        return f"StoredModel({self.manifest.flavor}, {self.manifest.model_type}, {size:,} bytes)"

    def _repr_html_(self) -> str:
        from mlflowish.store.display import card

        manifest = self.manifest
        rows = [("flavor", manifest.flavor), ("type", manifest.model_type)]
        if manifest.signature is not None:
            rows.append(("signature", str(manifest.signature)))
        rows += [(library, version) for library, version in manifest.libraries.items()]
        rows += [("size", f"{sum(ref.size_bytes for ref in self.refs):,} bytes in {len(self.refs)} objects")]
        rows += [("runs stored code", "yes" if manifest.executes_code else "no")]
        return card("StoredModel", rows)


def open_model(store: Store, manifest_ref: ObjectRef) -> StoredModel:
    """The model whose manifest is this object: one read.

    NotFoundError if it is not there, IntegrityError if it is damaged or no manifest, FormatVersionError if a newer
    version wrote it.
    """
    if manifest_ref.size_bytes > MOST_BYTES:
        raise InvalidInputError(
            f"The object {manifest_ref.name[:16]}.. has {manifest_ref.size_bytes} bytes: it is no model's manifest",
            name=manifest_ref.name,
        )
    return StoredModel(store, manifest_ref, Manifest.unpacked(store.objects.reader(manifest_ref).buffer()))


def _as_stored(flavor: Flavor, reader: FileReader, manifest: Manifest) -> Any:
    """The model, of classes that the script or notebook has if they, and what they use, are what they were."""
    with classes(only_stored=False) as used:
        native = _loaded(flavor, reader, manifest)
    if not used.has_live or manifest.digest is None or _is(native, manifest.digest):
        return native
    try:
        with classes(only_stored=True):
            return _loaded(flavor, reader, manifest)
    except CapabilityError as error:
        warnings.warn(
            f"This model is of classes of this script or notebook, and something that they use is not what it was: "
            f"they are used as they are here, since they cannot be put together as they were stored ({error}).",
            ModelWarning,
            stacklevel=4,
        )
        return native


def _is(native: Any, digest: str) -> bool:
    try:
        return hexdigest(native) == digest
    except MlflowishError:
        return False


def _loaded(flavor: Flavor, reader: FileReader, manifest: Manifest) -> Any:
    try:
        return flavor.load(reader, manifest.options)
    except MlflowishError:
        raise
    except ImportError as error:
        if (extra := extra_for(error)) is not None:
            needed_for = f"Loading this {manifest.model_type.rpartition('.')[2]}"
            raise missing_extra(extra, needed_for=needed_for, cause=error) from error
        raise CapabilityError(
            f"Loading this model of flavor '{flavor.name}' needs a module that is not here: {error}. Install what its "
            "environment lists: manifest.environment.requirements().",
            flavor=flavor.name,
        ) from error
    except Exception as error:
        raise CapabilityError(
            f"Loading this model of flavor '{flavor.name}' failed: {type(error).__name__}: {str(error)[:300]}. It was "
            f"made with {_versions_text(manifest)}; the environment to load it in is "
            "manifest.environment.requirements().",
            flavor=flavor.name,
        ) from error


def _versions_text(manifest: Manifest) -> str:
    versions = [f"{name} {version}" for name, version in manifest.libraries.items()]
    return ", ".join([f"Python {manifest.environment.python}", *versions])


def _warn_of_versions(manifest: Manifest) -> None:
    for name, made_with in manifest.libraries.items():
        here = library_version(name)
        if here is not None and _major(here) != _major(made_with):
            warnings.warn(
                f"This model was made with {name} {made_with}, and loaded with {name} {here}: what it says may differ. "
                f"Install {name} {_major(made_with)}, or store the model again after you have tried it.",
                ModelWarning,
                stacklevel=3,
            )


def _major(version: str) -> str:
    """The part of a version that a break of compatibility moves: the first number that is not 0."""
    numbers = version.split(".")
    return ".".join(numbers[:2]) if numbers[0] == "0" else numbers[0]
