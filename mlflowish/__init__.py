"""mlflowish: ordinary functions as tracked, cached pipeline steps; a folder or a bucket, no server.

`import mlflowish as mf` gives every public name, lazily: nothing heavy is imported before it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlflowish.addresses import resolvers as _resolvers

if TYPE_CHECKING:
    from mlflowish import lineage as lineage
    from mlflowish import registry as registry
    from mlflowish.errors import *  # noqa: F403  the whole tree, listed in _ERRORS
    from mlflowish.executors import Future as Future
    from mlflowish.executors import Resources as Resources
    from mlflowish.executors import executor as executor
    from mlflowish.hashing import Fingerprint as Fingerprint
    from mlflowish.hashing import hexdigest as digest  # noqa: F401  re-exported
    from mlflowish.hashing import register_digester as register_digester
    from mlflowish.maintenance import du as du
    from mlflowish.maintenance import fsck as fsck
    from mlflowish.maintenance import gc as gc
    from mlflowish.maintenance import retain as retain
    from mlflowish.models import Model as Model
    from mlflowish.models import Signature as Signature
    from mlflowish.models import infer_signature as infer_signature
    from mlflowish.pipelines import Observer as Observer
    from mlflowish.pipelines import Pipeline as Pipeline
    from mlflowish.pipelines import PipelineRun as PipelineRun
    from mlflowish.pipelines import Plan as Plan
    from mlflowish.pipelines import on_exit as on_exit
    from mlflowish.pipelines import pipeline as pipeline
    from mlflowish.pipelines import when as when
    from mlflowish.registry import load_model as load_model
    from mlflowish.registry import log_model as log_model
    from mlflowish.registry import register_model as register_model
    from mlflowish.reproduction import Reproduction as Reproduction
    from mlflowish.reproduction import reproduce as reproduce
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
    from mlflowish.store import transaction as transaction
    from mlflowish.store import use as use
    from mlflowish.tracking import Run as Run
    from mlflowish.tracking import Runs as Runs
    from mlflowish.tracking import active_run as active_run
    from mlflowish.tracking import compare_runs as compare_runs
    from mlflowish.tracking import delete_run as delete_run
    from mlflowish.tracking import delete_tag as delete_tag
    from mlflowish.tracking import end_run as end_run
    from mlflowish.tracking import export_runs as export_runs
    from mlflowish.tracking import get_run as get_run
    from mlflowish.tracking import log_artifact as log_artifact
    from mlflowish.tracking import log_artifacts as log_artifacts
    from mlflowish.tracking import log_dict as log_dict
    from mlflowish.tracking import log_figure as log_figure
    from mlflowish.tracking import log_image as log_image
    from mlflowish.tracking import log_input as log_input
    from mlflowish.tracking import log_metric as log_metric
    from mlflowish.tracking import log_metrics as log_metrics
    from mlflowish.tracking import log_param as log_param
    from mlflowish.tracking import log_params as log_params
    from mlflowish.tracking import log_table as log_table
    from mlflowish.tracking import log_text as log_text
    from mlflowish.tracking import restore_run as restore_run
    from mlflowish.tracking import search_runs as search_runs
    from mlflowish.tracking import set_experiment as set_experiment
    from mlflowish.tracking import set_tag as set_tag
    from mlflowish.tracking import set_tags as set_tags
    from mlflowish.tracking import start_run as start_run
    from mlflowish.tracking import sync as sync
    from mlflowish.units import Partition as Partition
    from mlflowish.units import Results as Results
    from mlflowish.units import Unit as Unit
    from mlflowish.units import Units as Units
    from mlflowish.units import cross as cross
    from mlflowish.units import files as files
    from mlflowish.units import group as group
    from mlflowish.units import join as join
    from mlflowish.units import partitions as partitions
    from mlflowish.units import per_worker as per_worker
    from mlflowish.units import union as union

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
    "ModelWarning",
    "NotDeterministicError",
    "NotFoundError",
    "ReadOnlyError",
    "ResultGoneError",
    "StateError",
    "StepError",
    "StepTimeoutError",
    "StorageError",
    "UncacheableError",
    "UncachedWarning",
    "WorkerDiedError",
    "WorkerWarning",
)
_TRACKING = (
    "Run",
    "Runs",
    "active_run",
    "compare_runs",
    "delete_run",
    "delete_tag",
    "end_run",
    "export_runs",
    "get_run",
    "log_artifact",
    "log_artifacts",
    "log_dict",
    "log_figure",
    "log_image",
    "log_input",
    "log_metric",
    "log_metrics",
    "log_param",
    "log_params",
    "log_table",
    "log_text",
    "restore_run",
    "search_runs",
    "set_experiment",
    "set_tag",
    "set_tags",
    "start_run",
    "sync",
)
_UNITS = (
    "Partition",
    "Results",
    "Unit",
    "Units",
    "cross",
    "files",
    "group",
    "join",
    "partitions",
    "per_worker",
    "union",
)
_HOMES: dict[str, tuple[str, str]] = {
    **{name: ("mlflowish.errors", name) for name in _ERRORS},
    **{name: ("mlflowish.executors", name) for name in ("Future", "Resources", "executor")},
    **{name: ("mlflowish.maintenance", name) for name in ("du", "fsck", "gc", "retain")},
    **{name: ("mlflowish.models", name) for name in ("Model", "Signature", "infer_signature")},
    **{
        name: ("mlflowish.pipelines", name)
        for name in ("Observer", "Pipeline", "PipelineRun", "Plan", "on_exit", "pipeline", "when")
    },
    **{name: ("mlflowish.registry", name) for name in ("load_model", "log_model", "register_model")},
    **{name: ("mlflowish.reproduction", name) for name in ("Reproduction", "reproduce")},
    **{name: ("mlflowish.steps", name) for name in ("Call", "Explanation", "Step", "accept", "accepted", "step")},
    **{
        name: ("mlflowish.store", name)
        for name in ("Dir", "File", "Store", "Table", "active_store", "transaction", "use")
    },
    **{name: ("mlflowish.tracking", name) for name in _TRACKING},
    **{name: ("mlflowish.units", name) for name in _UNITS},
    "Fingerprint": ("mlflowish.hashing", "Fingerprint"),
    "digest": ("mlflowish.hashing", "hexdigest"),
    "register_digester": ("mlflowish.hashing", "register_digester"),
}

_ROOMS = ("lineage", "registry")  # packages that are public themselves

__all__ = [*sorted((*_HOMES, *_ROOMS)), "__version__"]


def __getattr__(name: str) -> Any:
    import importlib

    if name in _ROOMS:
        return importlib.import_module(f"mlflowish.{name}")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'mlflowish' has no attribute {name!r}")
    value = getattr(importlib.import_module(home[0]), home[1])
    globals()[name] = value
    return value


def _model_version(address: str, store: Any) -> Any:
    from mlflowish.registry import get

    return get(address, store=store)


_resolvers["models:/"] = _model_version


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
