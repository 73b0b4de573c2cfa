"""mlflowish: ordinary functions as tracked, cached pipeline steps; a folder or a bucket, no server.

`import mlflowish as mf` gives every public name, lazily: nothing heavy is imported before it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflowish.errors import *  # noqa: F403  the whole tree, listed in _ERRORS
    from mlflowish.executors import Future as Future
    from mlflowish.executors import executor as executor
    from mlflowish.hashing import Fingerprint as Fingerprint
    from mlflowish.hashing import hexdigest as digest  # noqa: F401  re-exported
    from mlflowish.hashing import register_digester as register_digester
    from mlflowish.maintenance import du as du
    from mlflowish.maintenance import fsck as fsck
    from mlflowish.maintenance import gc as gc
    from mlflowish.models import Model as Model
    from mlflowish.models import ModelWarning as ModelWarning
    from mlflowish.models import Signature as Signature
    from mlflowish.models import infer_signature as infer_signature
    from mlflowish.steps import Call as Call
    from mlflowish.steps import Explanation as Explanation
    from mlflowish.steps import Step as Step
    from mlflowish.steps import accept as accept
    from mlflowish.steps import accepted as accepted
    from mlflowish.steps import step as step
    from mlflowish.store import Dir as Dir
    from mlflowish.store import File as File
    from mlflowish.store import Store as Store
    from mlflowish.store import Table as Table
    from mlflowish.store import active_store as active_store
    from mlflowish.store import use as use

__version__ = "0.1.0"

_ERRORS = (
    "AlreadyExistsError",
    "CapabilityError",
    "ConflictError",
    "FormatVersionError",
    "IntegrityError",
    "InvalidInputError",
    "MergeConflictError",
    "MissingExtraError",
    "MlflowishError",
    "NotDeterministicError",
    "NotFoundError",
    "ReadOnlyError",
    "StateError",
    "StepError",
    "StepTimeoutError",
    "StorageError",
    "UncacheableError",
    "UncachedWarning",
)
_HOMES: dict[str, tuple[str, str]] = {
    **{name: ("mlflowish.errors", name) for name in _ERRORS},
    **{name: ("mlflowish.executors", name) for name in ("Future", "executor")},
    **{name: ("mlflowish.maintenance", name) for name in ("du", "fsck", "gc")},
    **{name: ("mlflowish.models", name) for name in ("Model", "ModelWarning", "Signature", "infer_signature")},
    **{name: ("mlflowish.steps", name) for name in ("Call", "Explanation", "Step", "accept", "accepted", "step")},
    **{name: ("mlflowish.store", name) for name in ("Dir", "File", "Store", "Table", "active_store", "use")},
    "Fingerprint": ("mlflowish.hashing", "Fingerprint"),
    "digest": ("mlflowish.hashing", "hexdigest"),
    "register_digester": ("mlflowish.hashing", "register_digester"),
}

__all__ = [*sorted(_HOMES), "__version__"]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'mlflowish' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(home[0]), home[1])
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
