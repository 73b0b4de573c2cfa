"""`mf.log_metric` and the others: what the active run is told; one is begun if there is none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlflowish.tracking.lifecycle import active_or_new_run

if TYPE_CHECKING:
    from _typeshed import StrPath


def log_metric(key: str, value: Any, step: int | None = None, *, timestamp: float | None = None) -> None:
    """Add a point to the series `key` of the active run; one is started if there is none.

    `value`: a number, or what holds one (numpy, torch); NaN and infinities stay. `step` defaults to 0. `timestamp` is
    in milliseconds since 1970 (default: now). When this returns, the point survives `kill -9`; it costs a few
    microseconds, whatever the store.

    >>> import mlflowish as mf
    >>> with mf.start_run() as run:
    ...     for step in range(3):
    ...         mf.log_metric("loss", 1 / (step + 1), step=step)
    >>> run.metric_history("loss")["value"].to_pylist()
    [1.0, 0.5, 0.3333333333333333]
    """
    active_or_new_run().log_metric(key, value, step, timestamp=timestamp)


def log_metrics(metrics: Mapping[str, Any], step: int | None = None, *, timestamp: float | None = None) -> None:
    """Add a point to each of several series of the active run, all of them or none.

    >>> import mlflowish as mf
    >>> with mf.start_run() as run:
    ...     mf.log_metrics({"loss": 0.5, "accuracy": 0.8}, step=1)
    >>> run.metrics["loss"], run.metrics["accuracy"]
    (0.5, 0.8)
    """
    active_or_new_run().log_metrics(metrics, step, timestamp=timestamp)


def log_param(key: str, value: Any, *, overwrite: bool = False) -> Any:
    """Set a param of the active run; gives the value.

    A param is set once: setting it to something else is an InvalidInputError, as in MLflow, unless `overwrite=True`.
    The value is kept as text; that of a name that sounds like a secret (`api_key`, `password`) is not kept.

    >>> import mlflowish as mf
    >>> with mf.start_run() as run:
    ...     mf.log_param("lr", 0.1)
    0.1
    >>> run.params["lr"]
    '0.1'
    """
    return active_or_new_run().log_param(key, value, overwrite=overwrite)


def log_params(params: Mapping[str, Any], *, overwrite: bool = False) -> None:
    """Set several params of the active run, all of them or none.

    >>> import mlflowish as mf
    >>> with mf.start_run() as run:
    ...     mf.log_params({"lr": 0.1, "depth": 3})
    >>> dict(run.params)
    {'lr': '0.1', 'depth': '3'}
    """
    active_or_new_run().log_params(params, overwrite=overwrite)


def set_tag(key: str, value: Any) -> None:
    """Set a tag of the active run, or replace it.

    >>> import mlflowish as mf
    >>> with mf.start_run() as run:
    ...     mf.set_tag("team", "x")
    >>> run.tags["team"]
    'x'
    """
    active_or_new_run().set_tag(key, value)


def set_tags(tags: Mapping[str, Any]) -> None:
    """Set several tags of the active run.

    >>> import mlflowish as mf
    >>> with mf.start_run() as run:
    ...     mf.set_tags({"team": "x", "stage": "draft"})
    >>> run.tags["stage"]
    'draft'
    """
    active_or_new_run().set_tags(tags)


def delete_tag(key: str) -> None:
    """Take a tag of the active run away; harmless if it has none of that name.

    >>> import mlflowish as mf
    >>> with mf.start_run(tags={"draft": "yes"}) as run:
    ...     mf.delete_tag("draft")
    >>> dict(run.tags)
    {}
    """
    active_or_new_run().delete_tag(key)


def log_artifact(local_path: StrPath, artifact_path: str | None = None) -> None:
    """Store a file, or a folder with what is in it, as it is now, with the active run; `artifact_path` is the folder
    there.

    Content that the store has already is not stored again. NotFoundError without the file, InvalidInputError for a path
    that would leave the run (`..`).

    >>> import pathlib
    >>> import mlflowish as mf
    >>> _ = pathlib.Path("plot.txt").write_text("*")
    >>> with mf.start_run() as run:
    ...     mf.log_artifact("plot.txt", "plots")
    >>> run.artifacts.paths(), run.artifacts.text("plots/plot.txt")
    (['plots/plot.txt'], '*')
    """
    active_or_new_run().log_artifact(local_path, artifact_path)


def log_artifacts(local_dir: StrPath, artifact_path: str | None = None) -> None:
    """Store the files of a folder, and of those below, with the active run.

    >>> import pathlib
    >>> import mlflowish as mf
    >>> pathlib.Path("report").mkdir()
    >>> _ = pathlib.Path("report/a.txt").write_text("a")
    >>> with mf.start_run() as run:
    ...     mf.log_artifacts("report")
    >>> run.artifacts.paths()
    ['a.txt']
    """
    active_or_new_run().log_artifacts(local_dir, artifact_path)


def log_text(text: str, artifact_file: str) -> None:
    """Store a text as a file with the active run.

    >>> import mlflowish as mf
    >>> with mf.start_run() as run:
    ...     mf.log_text("it went well", "notes/end.txt")
    >>> run.artifacts.text("notes/end.txt")
    'it went well'
    """
    active_or_new_run().log_text(text, artifact_file)


def log_dict(dictionary: Any, artifact_file: str) -> None:
    """Store a dictionary or list with the active run, as JSON, or as YAML if the name ends in .yaml or .yml.

    >>> import mlflowish as mf
    >>> with mf.start_run() as run:
    ...     mf.log_dict({"layers": [3, 1]}, "model.json")
    >>> import json
    >>> json.loads(run.artifacts.read("model.json"))
    {'layers': [3, 1]}
    """
    active_or_new_run().log_dict(dictionary, artifact_file)


def log_table(data: Any, artifact_file: str) -> None:
    """Store a frame, an Arrow table, a dictionary of columns or a list of rows with the active run, as .parquet, .json
    or .csv.

    >>> import mlflowish as mf
    >>> with mf.start_run() as run:
    ...     mf.log_table({"x": [1, 2], "y": ["a", "b"]}, "t.csv")
    >>> print(run.artifacts.text("t.csv").strip())
    "x","y"
    1,"a"
    2,"b"
    """
    active_or_new_run().log_table(data, artifact_file)


def log_figure(figure: Any, artifact_file: str, **save_options: Any) -> None:
    """Store a figure of matplotlib (.png, .svg, .pdf, ...) or plotly (.html, .json) with the active run; `save_options`
    go to the library that writes it.

    >>> import mlflowish as mf
    >>> class Figure:
    ...     def savefig(self, file, **options):
    ...         file.write(b"picture")
    >>> with mf.start_run() as run:
    ...     mf.log_figure(Figure(), "f.png")
    >>> run.artifacts.read("f.png")
    b'picture'
    """
    active_or_new_run().log_figure(figure, artifact_file, **save_options)


def log_image(image: Any, artifact_file: str | None = None, *, key: str | None = None, step: int | None = None) -> None:
    """Store an image with the active run: under a path, or as one of the series `key` at `step`.

    `image`: a PIL image or an array (h, w), (h, w, 1), (h, w, 3) or (h, w, 4), integers 0 to 255 or floats 0 to 1.

    >>> import numpy as np
    >>> import mlflowish as mf
    >>> with mf.start_run() as run:
    ...     mf.log_image(np.zeros((2, 2)), key="sample", step=1)
    >>> [image.step for image in run.artifacts.images("sample")]
    [1]
    """
    active_or_new_run().log_image(image, artifact_file, key=key, step=step)


def log_input(dataset: Any, context: str | None = None, *, name: str | None = None) -> None:
    """Say that the active run used these data: a frame, an array, any value, an `mf.File`, a path, or a dataset object
    of MLflow. They are identified by their content, and not stored.

    >>> import mlflowish as mf
    >>> with mf.start_run() as run:
    ...     mf.log_input([1, 2, 3], "training", name="numbers")
    >>> run.datasets[0].name, run.datasets[0].context, run.datasets[0].digest == mf.digest([1, 2, 3])
    ('numbers', 'training', True)
    """
    active_or_new_run().log_input(dataset, context, name=name)
