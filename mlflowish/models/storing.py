"""Storing a model and opening it again: objects first, then the manifest that names them. Registers nothing."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mlflowish.errors import (
    CapabilityError,
    InvalidInputError,
    MlflowishError,
    ModelWarning,
    UncacheableError,
    missing_extra,
)
from mlflowish.hashing import hexdigest
from mlflowish.models.environment import current_environment
from mlflowish.models.files import FileReader, FileWriter
from mlflowish.models.flavors import Flavor, find_flavor, flavor_named, library_version
from mlflowish.models.importing import imported_code
from mlflowish.models.manifest import MOST_BYTES, Manifest
from mlflowish.models.proxy import Model, as_model, can_predict, native_of
from mlflowish.models.reach import Reach, reach_of
from mlflowish.models.signature import Signature, infer_signature
from mlflowish.models.snapshot import store_code
from mlflowish.storage import ObjectRef
from mlflowish.store import Store

_EXAMPLE = "example"


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
            native = _loaded(flavor, reader, self.manifest)
        _warn_of_versions(self.manifest)
        return as_model(native, lambda: self.manifest.signature, flavor=self.manifest.flavor)

    def files(self, *, allow_pickle: bool | None = None, trusted: Sequence[str] = (), into: Any = None) -> FileReader:
        """Its files, read under the policy of the store and of this call: both must allow what can run code."""
        allowed = self.store.allow_pickle and allow_pickle is not False
        return FileReader(self.store, self.manifest.files, allow_pickle=allowed, trusted=trusted, into=into)

    def input_example(self, *, allow_pickle: bool | None = None) -> Any:
        """The example of its inputs that was stored with it; None without one."""
        if self.manifest.example is None:
            return None
        return self.files(allow_pickle=allow_pickle).decoded(_EXAMPLE, dict(self.manifest.example))

    def _require_layout(self, flavor: Flavor) -> None:
        if self.manifest.flavor_version > flavor.version:
            raise CapabilityError(
                f"This model was stored by flavor '{flavor.name}' in layout {self.manifest.flavor_version}, and this "
                f"version reads up to {flavor.version}. Upgrade: pip install -U mlflowish.",
                flavor=flavor.name,
            )

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


def store_model(
    store: Store,
    model: Any,
    *,
    signature: Signature | None = None,
    input_example: Any = None,
    flavor: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    code: Iterable[Any] | bool | None = None,
) -> StoredModel:
    """Write a model and what belongs to it into `store`; registers nothing.

    Without `signature` it is inferred from `input_example` (what the model gives is then found by asking it once), or
    from what the model remembers. `code`: project modules, or files, to keep the source of beside those that the model
    reaches; False keeps none. `metadata` is plain data for JSON. InvalidInputError for a model that cannot be stored,
    an unknown flavor or one that does not fit, and an example that does not fit the signature.
    """
    native = native_of(model)
    chosen = find_flavor(native, flavor)
    if signature is None and issubclass(type(model), Model):
        signature = model.signature
    signature = _signature(native, chosen, signature, input_example)
    manifest = _described(native, chosen, signature, metadata)
    manifest.packed()  # what JSON cannot hold is refused before anything is written
    store.create()
    files = FileWriter(store)
    options = dict(chosen.save(native, files))
    example = _store_example(input_example, files)
    reach = reach_of(native)
    sources = store_code(reach, files, code)
    manifest = replace(
        manifest,
        options=options,
        example=example,
        code=sources,
        environment=current_environment(_import_names(reach, chosen, signature)),
        files=tuple(files.files),
        libraries=_libraries(chosen, reach),
    )
    return StoredModel(store, store.objects.put(manifest.packed()), manifest)


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


def _described(
    native: Any, flavor: Flavor, signature: Signature | None, metadata: Mapping[str, Any] | None
) -> Manifest:
    return Manifest(
        flavor=flavor.name,
        flavor_version=flavor.version,
        model_type=f"{type(native).__module__}.{type(native).__qualname__}",
        created_s=time.time(),
        digest=_digest(native),
        metadata=dict(metadata or {}),
        signature_record=None if signature is None else signature.record(),
    )


def _digest(native: Any) -> str | None:
    try:
        return hexdigest(native)
    except UncacheableError:
        return None


def _signature(native: Any, flavor: Flavor, given: Signature | None, example: Any) -> Signature | None:
    if given is not None and not isinstance(given, Signature):
        raise InvalidInputError(
            f"signature= takes a Signature, found {type(given).__name__}. Make one with mlflowish.infer_signature."
        )
    if example is None:
        return given if given is not None else _own_signature(native, flavor)
    if given is not None:
        from mlflowish.models.conforming import conformed

        conformed(given, example, flavor.container)
        return given
    inferred = infer_signature(example, model=native)
    return replace(inferred, outputs=_outputs(native, flavor, inferred, example))


def _own_signature(native: Any, flavor: Flavor) -> Signature | None:
    own = flavor.own_schema(native)
    return None if own is None else Signature(own)


def _outputs(native: Any, flavor: Flavor, signature: Signature, example: Any) -> Any:
    from mlflowish.models.conforming import conformed
    from mlflowish.models.containers import schema_of

    if not can_predict(native, flavor.name):
        return None
    try:
        return schema_of(flavor.predict(native, conformed(signature, example, flavor.container)), what="outputs")
    except Exception as error:  # noqa: BLE001  a model may raise anything; it is stored all the same
        warnings.warn(
            f"The model could not be asked about its input example ({type(error).__name__}: {str(error)[:200]}): its "
            "signature says nothing of what it gives. Give signature=, or an example that it takes.",
            ModelWarning,
            stacklevel=4,
        )
        return None


def _store_example(example: Any, files: FileWriter) -> Mapping[str, Any] | None:
    if example is None:
        return None
    from mlflowish.models.flavors.python import storable

    return files.add_encoded(_EXAMPLE, storable(example))


def _import_names(reach: Reach, flavor: Flavor, signature: Signature | None) -> set[str]:
    container = signature.container if signature is not None else None
    needed = {"pandas": {"pandas"}, "polars": {"polars"}, "arrow": {"pyarrow"}}.get(container or "", set())
    return {*reach.libraries, *flavor.libraries, *needed}


def _libraries(flavor: Flavor, reach: Reach) -> dict[str, str]:
    versions = {name: library_version(name) for name in sorted({*flavor.libraries, *reach.libraries})}
    return {name: version for name, version in versions.items() if version is not None}


def _loaded(flavor: Flavor, reader: FileReader, manifest: Manifest) -> Any:
    try:
        return flavor.load(reader, manifest.options)
    except MlflowishError:
        raise
    except ImportError as error:
        if flavor.extra is not None and (error.name or "").partition(".")[0] in flavor.libraries:
            raise missing_extra(
                flavor.extra, needed_for=f"Loading this {manifest.model_type.rpartition('.')[2]}", cause=error
            ) from error
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
