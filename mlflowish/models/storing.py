"""Storing a model: its files first, then the manifest that names them. Registers nothing."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from mlflowish.errors import (
    InvalidInputError,
    MlflowishError,
    ModelWarning,
    UncacheableError,
)
from mlflowish.hashing import hexdigest
from mlflowish.models.environment import current_environment
from mlflowish.models.files import FileWriter
from mlflowish.models.flavors import Flavor, find_flavor, library_version
from mlflowish.models.manifest import Manifest
from mlflowish.models.opening import EXAMPLE, StoredModel
from mlflowish.models.proxy import Model, can_predict, native_of
from mlflowish.models.reach import Reach, reach_of
from mlflowish.models.signature import Signature, infer_signature
from mlflowish.models.snapshot import store_code
from mlflowish.storage import ObjectRef
from mlflowish.store import Store


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
    files = FileWriter(store, manifest.digest)
    options = dict(_saved(chosen, native, files))
    example = _store_example(input_example, files)
    reach = reach_of(native)
    sources = store_code(reach, files, code)
    manifest = replace(
        manifest,
        options=options,
        example=example,
        code=sources,
        environment=current_environment({*_import_names(reach, chosen, signature), *chosen.also_needs(options)}),
        files=tuple(files.files),
        libraries=_libraries(chosen, reach),
    )
    return StoredModel(store, store.objects.put(manifest.packed()), manifest)


def _saved(chosen: Flavor, native: Any, files: FileWriter) -> Mapping[str, Any]:
    try:
        return chosen.save(native, files)
    except (MlflowishError, MemoryError):
        raise
    except Exception as error:  # whatever its library says of the model
        raise InvalidInputError(
            f"The model cannot be stored by flavor '{chosen.name}': {type(error).__name__}: {str(error)[:300]}",
            flavor=chosen.name,
        ) from error


def copy_model(stored: StoredModel, store: Store) -> StoredModel:
    """The same model in another store: its files are copied as they are, and nothing of it is loaded."""
    store.create()
    files = tuple(replace(file, ref=_copied(stored.store, file.ref, store)) for file in stored.manifest.files)
    manifest = replace(stored.manifest, files=files)
    return StoredModel(store, store.objects.put(manifest.packed()), manifest)


def _copied(source: Store, ref: ObjectRef, target: Store) -> ObjectRef:
    reader = source.objects.reader(ref)
    return target.objects.put(reader.chunks, ref.size_bytes)


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
        given = flavor.predict(native, conformed(signature, example, flavor.container))
    except Exception as error:  # noqa: BLE001  a model may raise anything; it is stored all the same
        warnings.warn(
            f"The model could not be asked about its input example ({type(error).__name__}: {str(error)[:200]}): its "
            "signature says nothing of what it gives. Give signature=, or an example that it takes.",
            ModelWarning,
            stacklevel=4,
        )
        return None
    try:
        return schema_of(given, what="outputs")
    except InvalidInputError as error:
        warnings.warn(
            f"What the model gives for its input example, a {type(given).__qualname__}, has no schema: its signature "
            f"says nothing of it. {str(error)[:200]}",
            ModelWarning,
            stacklevel=4,
        )
        return None


def _store_example(example: Any, files: FileWriter) -> Mapping[str, Any] | None:
    if example is None:
        return None
    from mlflowish.models.flavors.python import storable

    return files.add_encoded(EXAMPLE, storable(example))


def _import_names(reach: Reach, flavor: Flavor, signature: Signature | None) -> set[str]:
    container = signature.container if signature is not None else None
    needed = {"pandas": {"pandas"}, "polars": {"polars"}, "arrow": {"pyarrow"}}.get(container or "", set())
    return {*reach.libraries, *flavor.libraries, *needed}


def _libraries(flavor: Flavor, reach: Reach) -> dict[str, str]:
    versions = {name: library_version(name) for name in sorted({*flavor.libraries, *reach.libraries})}
    return {name: version for name, version in versions.items() if version is not None}
