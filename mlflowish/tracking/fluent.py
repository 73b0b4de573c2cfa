"""`mf.start_run`, `mf.log_metric` and the others: the active run, found or begun, and what it is told."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlflowish.errors import InvalidInputError, StateError
from mlflowish.store import Store, as_store
from mlflowish.tracking import reading
from mlflowish.tracking.active import ActiveRun, begin_run, ending_of, resume_run
from mlflowish.tracking.capture import Watched, finish_describing
from mlflowish.tracking.folding import FINISHED
from mlflowish.tracking.ids import new_run_id, new_run_name
from mlflowish.tracking.options import DEFAULT_EXPERIMENT, EXPERIMENT_VARIABLE, RUN_VARIABLE
from mlflowish.tracking.records import RUNS, Batch, Event, pack_batch
from mlflowish.tracking.run import Run
from mlflowish.tracking.stack import current_run, open_runs
from mlflowish.tracking.values import require_step
from mlflowish.tracking.writer import before_the_end

if TYPE_CHECKING:
    from _typeshed import StrPath

_experiment: str | None = None
_starting = threading.RLock()


def set_experiment(name: str) -> None:
    """Let runs that are started from now on in this process belong to the experiment `name`.

    An experiment is a name: it need not be created. Without this it is $MLFLOWISH_EXPERIMENT, else "Default".

    >>> import mlflowish as mf
    >>> mf.set_experiment("churn")
    >>> with mf.start_run() as run:
    ...     run.experiment
    'churn'
    """
    global _experiment
    _experiment = require_experiment(name)


def start_run(
    name: str | None = None,
    *,
    experiment: str | None = None,
    run_id: str | None = None,
    tags: Mapping[str, Any] | None = None,
    description: str | None = None,
    parent: Run | str | None = None,
    nested: bool = True,
    fork_of: Run | str | None = None,
    fork_step: int | None = None,
    console: bool | None = None,
    hardware: bool | None = None,
    store: Store | str | os.PathLike[str] | None = None,
) -> ActiveRun:
    """Begin a run and make it the active one: `with mf.start_run() as run:`, or without `with` until `mf.end_run()`.

    `run_id` opens an existing run again, from this process, from many at once, or from another machine
    ($MLFLOWISH_RUN_ID does the same for a whole program). Inside another run it is nested: its `parent` is that run,
    unless you name one; `nested=False` makes that an error. `fork_of` and `fork_step` continue another run from one of
    its steps: its points up to there, and its params, stand before the new ones.

    `console` and `hardware` say whether to capture output and the load of the machine (default: the settings). Costs
    less than a millisecond; waits for no network. A run whose block raises ends FAILED, with the type of the exception;
    one that is interrupted ends KILLED.

    NotFoundError for an unknown `run_id`, StateError for a deleted one.

    >>> import mlflowish as mf
    >>> with mf.start_run("first", tags={"team": "x"}) as run:
    ...     mf.log_metric("loss", 0.3, step=1)
    >>> run.name, run.status, run.metrics["loss"], run.tags["team"]
    ('first', 'FINISHED', 0.3, 'x')
    """
    outer = current_run()
    if outer is not None and not nested:
        raise StateError(
            f"Run {outer.run_id} is active and nested=False: end it first with mf.end_run(), or allow nesting",
            run_id=outer.run_id,
        )
    opened = as_store(store) if store is not None or outer is None else outer.store
    watched = Watched.chosen(console=console, hardware=hardware)
    asked = run_id or (os.environ.get(RUN_VARIABLE) if outer is None else None)
    if asked:
        if name is not None or parent is not None or fork_of is not None:
            raise InvalidInputError("start_run opens an existing run (run_id), or begins one: it cannot be named anew")
        reading.require_run_id(asked)
        return resume_run(opened, asked, tags=tags or {}, description=description, watched=watched)
    new_id = new_run_id()
    return begin_run(
        opened,
        new_id,
        name=new_run_name() if name is None else str(name),
        experiment=_chosen_experiment(experiment, outer),
        tags=tags or {},
        description=description,
        parent=_id_of(parent) if parent is not None else outer.run_id if outer is not None else None,
        forked_from=_fork(opened, fork_of, fork_step),
        watched=watched,
    )


def end_run(status: str = FINISHED) -> None:
    """End the active run: FINISHED, FAILED or KILLED. Harmless without one.

    >>> import mlflowish as mf
    >>> run = mf.start_run()
    >>> mf.end_run()
    >>> run.status
    'FINISHED'
    """
    run = current_run()
    if run is not None:
        run.end(status)


def active_run() -> ActiveRun | None:
    """The run that is logged into now, None outside one: that of the enclosing block, else the one that this process
    opened last.

    >>> import mlflowish as mf
    >>> with mf.start_run() as run:
    ...     mf.active_run() is run
    True
    """
    return current_run()


def get_run(run_id: str, *, store: Store | str | os.PathLike[str] | None = None) -> Run:
    """The run with this id, as it is now; `refresh()` reads it again. NotFoundError, naming the nearest, without one.

    >>> import mlflowish as mf
    >>> with mf.start_run() as run:
    ...     mf.log_param("lr", 0.1)
    0.1
    >>> mf.get_run(run.run_id).params
    {'lr': '0.1'}
    """
    opened = as_store(store)
    return Run(opened, run_id, reading.read_run(opened, run_id))


def delete_run(run_id: str, *, store: Store | str | os.PathLike[str] | None = None) -> None:
    """Take a run out of listings and searches. Nothing is lost before a collection; `mf.restore_run` brings it back.

    >>> import mlflowish as mf
    >>> with mf.start_run() as run:
    ...     pass
    >>> mf.delete_run(run.run_id)
    >>> mf.get_run(run.run_id).record.is_deleted
    True
    """
    _set_life(run_id, store, deleted=True)


def restore_run(run_id: str, *, store: Store | str | os.PathLike[str] | None = None) -> None:
    """Bring a deleted run back.

    >>> import mlflowish as mf
    >>> with mf.start_run() as run:
    ...     pass
    >>> mf.delete_run(run.run_id)
    >>> mf.restore_run(run.run_id)
    >>> mf.get_run(run.run_id).record.is_deleted
    False
    """
    _set_life(run_id, store, deleted=False)


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


def require_experiment(name: Any) -> str:
    """The name of an experiment."""
    if isinstance(name, str) and 0 < len(name) <= 250 and name.isprintable() and name.strip() == name:
        return name
    raise InvalidInputError(
        f"The name of an experiment has 1 to 250 printable characters, no space at its ends; found {name!r}", found=name
    )


def active_or_new_run() -> ActiveRun:
    """The active run; one is started if there is none, as in MLflow."""
    run = current_run()
    if run is None:
        with _starting:
            run = current_run() or start_run()
    return run


def _chosen_experiment(given: str | None, outer: ActiveRun | None) -> str:
    if given is not None:
        return require_experiment(given)
    if _experiment is not None:
        return _experiment
    if outer is not None and outer.belongs_to:
        return outer.belongs_to
    return require_experiment(os.environ.get(EXPERIMENT_VARIABLE) or DEFAULT_EXPERIMENT)


def _fork(store: Store, origin: Run | str | None, step: int | None) -> tuple[str, int] | None:
    if origin is None:
        if step is not None:
            raise InvalidInputError("fork_step says where to go on from a run: pass that run as fork_of")
        return None
    if step is None:
        raise InvalidInputError("fork_of needs fork_step, the last step that the new run shares with it")
    record = reading.read_run(store, _id_of(origin))
    return record.run_id, require_step(step)


def _id_of(run: Run | str) -> str:
    run_id = run.run_id if isinstance(run, Run) else run
    reading.require_run_id(run_id)
    return run_id


def _set_life(run_id: str, where: Store | str | os.PathLike[str] | None, *, deleted: bool) -> None:
    store = as_store(where)
    record = reading.read_run(store, run_id)
    if record.is_deleted == deleted:
        return
    if deleted and any(run.run_id == run_id for run in open_runs()):
        raise StateError(f"Run {run_id} is open here; end it before you delete it", run_id=run_id)
    batch = Batch(os.urandom(16), 0, (Event("life", _now_us(), {"deleted": deleted}),))
    store.create()
    store.journals(RUNS).append(bytes.fromhex(run_id), pack_batch(batch))


def _now_us() -> int:
    import time

    return time.time_ns() // 1000


def _end_at_exit() -> None:
    error = None if hasattr(sys, "ps1") or "IPython" in sys.modules else getattr(sys, "last_value", None)
    status, reason = ending_of(error)
    finish_describing()
    for run in open_runs():
        run.end(status, reason=reason)


before_the_end(_end_at_exit)
