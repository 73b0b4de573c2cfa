"""An input example as MLflow keeps one in a model folder: JSON, and what the MLmodel file says of it."""

from __future__ import annotations

import base64
import datetime
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_MOST_BYTES = 16 << 20
_EXAMPLE, _SERVING = "input_example.json", "serving_input_example.json"


def write_example(example: Any, folder: Path) -> dict[str, Any] | None:
    """Write an example into `folder` and give the `saved_input_example_info` of the MLmodel; None for what MLflow has
    no form for (sparse matrices with types of their own, tensors of types that numpy does not have, objects)."""
    form = _form(example)
    if form is None:
        return None
    info, data, serving = form
    try:
        texts = {name: json.dumps(value, default=_plain) for name, value in ((_EXAMPLE, data), (_SERVING, serving))}
    except (TypeError, ValueError):  # something in it that JSON cannot hold
        return None
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return {"artifact_path": _EXAMPLE, "serving_input_path": _SERVING, **info}


def _form(example: Any) -> tuple[dict[str, Any], Any, Any] | None:
    """What MLflow says of the example, its JSON, and that of a request with it."""
    import numpy as np

    example = _without_tensors(example)
    if isinstance(example, np.ndarray):
        return {"type": "ndarray"}, example.tolist(), {"inputs": example.tolist()}
    if isinstance(example, dict) and example and all(isinstance(item, np.ndarray) for item in example.values()):
        arrays = {name: item.tolist() for name, item in example.items()}
        return {"type": "ndarray"}, arrays, {"inputs": arrays}
    frame = _frame(example)
    if frame is not None:
        split = _split(frame)
        return {"type": "dataframe", "pandas_orient": "split"}, split, {"dataframe_split": split}
    if isinstance(example, (dict, list, str, int, float, bool)):
        return {"type": "json_object"}, example, {"inputs": example}
    return None


def _without_tensors(example: Any) -> Any:
    """Tensors, alone or by their names, as the arrays that MLflow gives a model of PyTorch."""
    from mlflowish.models.containers import as_numpy, container_of

    try:
        if container_of(example) == "torch":
            return as_numpy(example)
        if isinstance(example, dict):
            return {name: as_numpy(item) if container_of(item) == "torch" else item for name, item in example.items()}
    except TypeError:
        return None
    return example


def read_example(folder: Path, info: Any) -> Any:
    """The example that an MLmodel of somebody tells of in `folder`; None for none, and for one that cannot be read:
    a model is whole without."""
    if not isinstance(info, Mapping) or not isinstance(info.get("artifact_path"), str):
        return None
    try:
        path = (folder / info["artifact_path"]).resolve()
        if not path.is_relative_to(folder.resolve()) or not path.is_file() or path.stat().st_size > _MOST_BYTES:
            return None
        return _read(json.loads(path.read_text(encoding="utf-8")), info.get("type"))
    except (OSError, ValueError, TypeError, KeyError, ImportError, OverflowError, RecursionError):
        return None


def _read(value: Any, kind: Any) -> Any:
    if kind == "dataframe":
        import pandas as pd

        is_split = isinstance(value, Mapping) and "data" in value
        return pd.DataFrame(value["data"], columns=value.get("columns")) if is_split else pd.DataFrame(value)
    if kind == "ndarray":
        import numpy as np

        if isinstance(value, Mapping):
            return {str(name): np.asarray(item) for name, item in value.items()}
        return np.asarray(value)
    return value if kind == "json_object" else None


def _frame(example: Any) -> Any:
    """Frames of any library as one of pandas; None for what is no frame."""
    kind = type(example)
    top = kind.__module__.partition(".")[0]
    if top == "pandas" and kind.__name__ == "DataFrame":
        return example
    if (top, kind.__name__) in (("polars", "DataFrame"), ("pyarrow", "Table")):
        return example.to_pandas()
    return None


def _split(frame: Any) -> dict[str, Any]:
    split: dict[str, Any] = frame.astype(object).where(frame.notnull(), None).to_dict(orient="split")
    del split["index"]
    return split


def _plain(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray)):
        return base64.encodebytes(value).decode("ascii")
    if isinstance(value, (datetime.date, datetime.datetime)):
        return value.isoformat()
    if hasattr(value, "tolist"):  # numpy's scalars and arrays
        return value.tolist()
    raise TypeError(type(value).__name__)
