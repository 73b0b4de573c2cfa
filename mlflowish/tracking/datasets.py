"""What is said of data that a run used: a name, the digest of the content, where it came from, what it looks like."""

from __future__ import annotations

import os
from typing import Any

from mlflowish.codecs import describe
from mlflowish.errors import MlflowishError
from mlflowish.hashing import hexdigest
from mlflowish.store import Dir, File
from mlflowish.store.masking import without_credentials


def described(dataset: Any, *, name: str | None, context: str | None) -> dict[str, Any]:
    """The event about a dataset: a frame, array or other value, an `mf.File` or `mf.Dir`, a path to one, or a dataset
    object of MLflow."""
    body = _of_mlflow(dataset) if _is_mlflow(dataset) else _of_value(dataset)
    if name is not None:
        body["name"] = name
    return {**body, "context": context}


def _of_value(dataset: Any) -> dict[str, Any]:
    value = dataset
    if isinstance(dataset, (str, os.PathLike)):
        path = os.fspath(dataset)
        value = Dir(path) if os.path.isdir(path) else File(path)
    source = without_credentials(str(value.path)) if isinstance(value, (File, Dir)) else ""
    kind = type(value)
    return {
        "name": os.path.basename(source.rstrip("/")) or "dataset",
        "digest": _digest(value),
        "source": source,
        "kind": f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}",
        "description": describe(value),
    }


def _digest(value: Any) -> str:
    try:
        return hexdigest(value)
    except MlflowishError:
        if isinstance(value, (File, Dir)):
            raise
        return ""  # no identity, but still a name


def _is_mlflow(dataset: Any) -> bool:
    return all(hasattr(dataset, name) for name in ("name", "digest", "source", "to_dict"))


def _of_mlflow(dataset: Any) -> dict[str, Any]:
    fields = dataset.to_dict()
    return {
        "name": str(dataset.name),
        "digest": str(dataset.digest),
        "source": without_credentials(str(fields.get("source", ""))),
        "kind": str(fields.get("source_type", "")),
        "description": str(fields.get("profile", "")),
    }
