"""What a run takes in: each method returns when it is spooled, and so survives the death of the process."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflowish.errors import InvalidInputError, StateError, StorageError
from mlflowish.storage import ObjectRef
from mlflowish.store import Store
from mlflowish.store.masking import masked
from mlflowish.tracking import artifacts, datasets, media
from mlflowish.tracking.values import (
    param_text,
    require_name,
    require_number,
    require_step,
    require_time_us,
    tag_text,
)
from mlflowish.tracking.writer import Writer

if TYPE_CHECKING:
    from _typeshed import StrPath

_log = logging.getLogger("mlflowish.tracking")
_TRIES = 3  # each time a collection would have to choose the same object again


class Intake:
    """The methods behind `mf.log_*`, for one run. Thread-safe.

    `params`: what is known of its params; None if that could not be looked up.
    """

    store: Store
    run_id: str
    _is_open = False

    def __init__(self, writer: Writer, key: bytes, params: Mapping[str, str] | None) -> None:
        self._writer = writer
        self._key = key
        self._params: dict[str, str] = dict(params or {})
        self._names: set[str] = set()
        self._clock_us = 0

    # -- numbers, names and texts --------------------------------------------------------------------

    def log_metric(self, key: str, value: Any, step: int | None = None, *, timestamp: float | None = None) -> None:
        """Add a point to a series. See `mlflowish.log_metric`."""
        if key not in self._names:
            self._names.add(require_name(key, "metric"))
        if not self._is_open:
            raise self._has_ended()
        if type(value) is not float:
            value = require_number(value, key)
        if type(step) is not int or not -(1 << 63) <= step < 1 << 63:
            step = require_step(step)
        self._writer.point(
            self._key, key, step, self._now() if timestamp is None else require_time_us(timestamp), value
        )

    def log_metrics(
        self, metrics: Mapping[str, Any], step: int | None = None, *, timestamp: float | None = None
    ) -> None:
        """Add a point to each of several series, all of them or none. See `mlflowish.log_metrics`."""
        if not self._is_open:
            raise self._has_ended()
        step = require_step(step)
        time_us = self._now() if timestamp is None else require_time_us(timestamp)
        rows = []
        for key, value in metrics.items():
            if key not in self._names:
                self._names.add(require_name(key, "metric"))
            rows.append((key, step, time_us, value if type(value) is float else require_number(value, key)))
        self._writer.points(self._key, rows)

    def log_param(self, key: str, value: Any, *, overwrite: bool = False) -> Any:
        """Set a param, once. See `mlflowish.log_param`."""
        self.log_params({key: value}, overwrite=overwrite)
        return value

    def log_params(self, params: Mapping[str, Any], *, overwrite: bool = False) -> None:
        """Set several params, all of them or none. See `mlflowish.log_params`."""
        texts = {key: masked(key, param_text(key, value)) for key, value in _named(params, "param").items()}
        changed = {key for key, text in texts.items() if self._params.get(key, text) != text}
        if changed and not overwrite:
            key = min(changed)
            raise InvalidInputError(
                f"The param {key!r} of run {self.run_id} is {self._params[key]!r} and cannot become {texts[key]!r}: a "
                "param is set once. Log a metric or a tag for what changes, or pass overwrite=True.",
                param=key,
                found=texts[key],
                wanted=self._params[key],
            )
        new = {key: text for key, text in texts.items() if self._params.get(key) != text}
        if new:
            self._event("params", {"values": new, **({"overwrite": True} if overwrite else {})})
            self._params.update(new)

    def set_tag(self, key: str, value: Any) -> None:
        """Set a tag, or replace it. See `mlflowish.set_tag`."""
        self.set_tags({key: value})

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set several tags. See `mlflowish.set_tags`."""
        texts = {key: tag_text(key, value) for key, value in _named(tags, "tag").items()}
        if texts:
            self._event("tags", {"values": texts})

    def delete_tag(self, key: str) -> None:
        """Take a tag away. See `mlflowish.delete_tag`."""
        self._event("tags", {"values": {require_name(key, "tag"): None}})

    # -- files ---------------------------------------------------------------------------------------

    def log_artifact(self, local_path: StrPath, artifact_path: str | None = None) -> None:
        """Store a file, or a folder, as it is now. See `mlflowish.log_artifact`."""
        source = Path(local_path)
        if source.is_dir():
            inside = artifacts.artifact_path(source.resolve().name, artifact_path)
            self.log_artifacts(source, inside)
            return
        path = artifacts.artifact_path(source.name, artifact_path)
        self._artifact(path, lambda: artifacts.put_file(self.store, source))

    def log_artifacts(self, local_dir: StrPath, artifact_path: str | None = None) -> None:
        """Store the files of a folder and below. See `mlflowish.log_artifacts`."""
        for name, file in artifacts.files_in(local_dir):
            put = partial(artifacts.put_file, self.store, file)
            self._artifact(artifacts.artifact_path(name, artifact_path), put)

    def log_text(self, text: str, artifact_file: str) -> None:
        """Store a text as a file. See `mlflowish.log_text`."""
        self._bytes(artifact_file, str(text).encode("utf-8", "surrogatepass"))

    def log_dict(self, dictionary: Any, artifact_file: str) -> None:
        """Store a dictionary or list as JSON, or YAML if the name ends so. See `mlflowish.log_dict`."""
        self._bytes(artifact_file, media.dictionary_bytes(dictionary, artifact_file))

    def log_table(self, data: Any, artifact_file: str) -> None:
        """Store a table as Parquet, JSON or CSV, by its name. See `mlflowish.log_table`."""
        self._bytes(artifact_file, media.table_bytes(data, artifact_file))

    def log_figure(self, figure: Any, artifact_file: str, **save_options: Any) -> None:
        """Store a figure of matplotlib or plotly. See `mlflowish.log_figure`."""
        self._bytes(artifact_file, media.figure_bytes(figure, artifact_file, save_options))

    def log_image(
        self, image: Any, artifact_file: str | None = None, *, key: str | None = None, step: int | None = None
    ) -> None:
        """Store an image under a path, or as one of a series. See `mlflowish.log_image`."""
        if (artifact_file is None) == (key is None):
            raise InvalidInputError("log_image takes a path (artifact_file) or a key with a step, one of the two")
        if key is None:
            assert artifact_file is not None
            self._bytes(artifact_file, media.image_bytes(image, artifact_file))
            return
        number, time_us = require_step(step), self._now()
        path = f"images/{require_name(key, 'series of images').replace(' ', '_')}/{number:08d}-{time_us}.png"
        self._bytes(path, media.image_bytes(image, path), key=key, step=number)

    def log_input(self, dataset: Any, context: str | None = None, *, name: str | None = None) -> None:
        """Say that the run used these data. See `mlflowish.log_input`."""
        self._event("input", datasets.described(dataset, name=name, context=context))

    def log_stored_model(
        self, name: str, manifest: ObjectRef, refs: tuple[ObjectRef, ...] = (), *, flavor: str = ""
    ) -> None:
        """Say that a model, whose objects are in the store, belongs to the run."""
        body = {
            "name": artifacts.require_artifact_path(name),
            "manifest": (manifest.name, manifest.size_bytes),
            "refs": [(ref.name, ref.size_bytes) for ref in refs],
            "flavor": flavor,
        }
        self._event("model", body)

    # -- how it is done ------------------------------------------------------------------------------

    def _bytes(self, path: str, data: bytes, **marks: Any) -> None:
        path = artifacts.require_artifact_path(path)
        self._artifact(path, lambda: artifacts.put_bytes(self.store, data), **marks)

    def _artifact(self, path: str, put: Callable[[], ObjectRef], **marks: Any) -> None:
        for _ in range(_TRIES):
            try:
                ref = put()
            except StorageError as error:  # neither the store nor a disk here takes it: the program goes on
                _log.error("The artifact %s of run %s is not stored: %s", path, self.run_id, error)
                return
            body = {"path": path, "ref": (ref.name, ref.size_bytes), "type": media.media_type(path), **marks}
            self._event("artifact", body)
            if not artifacts.is_doomed(self.store, ref):
                return

    def _fact(self, name: str, values: Mapping[str, Any]) -> None:
        self._event("fact", {"name": name, "values": dict(values)})

    def _event(self, kind: str, body: dict[str, Any]) -> None:
        self._writer.event(self._key, kind, self._next(), body)

    def _now(self) -> int:
        """Microseconds since 1970, never less than before: a clock that is set back does not turn the order around."""
        now = time.time_ns() // 1000
        if now < self._clock_us:
            return self._clock_us
        self._clock_us = now
        return now

    def _next(self) -> int:
        """The same for events, no two of which have one time."""
        self._clock_us = self._now() + 1
        return self._clock_us

    def _has_ended(self) -> StateError:
        return StateError(
            f"Run {self.run_id} has ended and takes no points; mf.start_run(run_id={self.run_id!r}) opens it again",
            run_id=self.run_id,
        )


def _named(values: Mapping[str, Any], what: str) -> dict[str, Any]:
    return {require_name(key, what): value for key, value in values.items()}
