"""A run as its readers see it."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from mlflowish.errors import NotFoundError, nearest
from mlflowish.storage import ObjectRef
from mlflowish.store import Store, Table
from mlflowish.tracking import points as stored_points
from mlflowish.tracking import reading
from mlflowish.tracking.artifacts import Artifacts
from mlflowish.tracking.folding import NOTE_TAG, Dataset, LoggedModel, RunRecord

if TYPE_CHECKING:
    import pyarrow as pa

    from mlflowish.tracking.plots import Plot


class Run:
    """What a run logged, as of when it was read; `refresh()` reads again. Times are seconds since 1970.

    Picklable: it travels as its store and id.
    """

    def __init__(self, store: Store, run_id: str, record: RunRecord | None = None) -> None:
        self.store = store
        self.run_id = run_id
        self._known = record

    def refresh(self) -> Run:
        """Read it again; gives itself."""
        self._known = None
        return self

    @property
    def record(self) -> RunRecord:
        """Everything that is known of it, as one record."""
        if self._known is None:
            self._known = reading.read_run(self.store, self.run_id)
        return self._known

    @property
    def name(self) -> str:
        """What people call it."""
        return self.record.name

    @property
    def experiment(self) -> str:
        """What it belongs to."""
        return self.record.experiment

    @property
    def status(self) -> str:
        """RUNNING, FINISHED, FAILED, or KILLED (interrupted, or its process died)."""
        return self.record.status

    @property
    def metrics(self) -> Mapping[str, float]:
        """The last value of each metric: that of the highest step, of those the latest. Hardware series are apart."""
        record = self.record
        own = {name: last.value for name, last in record.metrics.items()}
        return own if record.forked_from is None else {**self._inherited(record), **own}

    @property
    def hardware(self) -> Mapping[str, float]:
        """The last value of each series about the machine and the process."""
        return {name: last.value for name, last in self.record.hardware.items()}

    @property
    def params(self) -> Mapping[str, str]:
        """Its params, as texts; those of the run that it continues stand behind its own."""
        record = self.record
        if record.forked_from is None:
            return dict(record.params)
        return {**Run(self.store, record.forked_from[0]).params, **record.params}

    @property
    def tags(self) -> Mapping[str, str]:
        """Its tags."""
        return dict(self.record.tags)

    @property
    def description(self) -> str:
        """What somebody wrote about it."""
        return self.record.tags.get(NOTE_TAG, "")

    @property
    def artifacts(self) -> Artifacts:
        """Its files."""
        return Artifacts(self.store, self.run_id, self.record.artifacts)

    @property
    def datasets(self) -> tuple[Dataset, ...]:
        """The data that it used, as logged with `log_input`."""
        return self.record.datasets

    @property
    def models(self) -> tuple[LoggedModel, ...]:
        """The models that it stored with `log_model`, then the versions that were registered inside it, which are named
        as `mf.load_model` takes them: `models:/churn/3`."""
        from mlflowish.tracking.registered import registered_in

        return (*self.record.models, *registered_in(self.store, self.run_id))

    @property
    def code(self) -> Mapping[str, Any]:
        """Where its code came from: `entry`, `command`, `commit`, `branch`, `remote`, `is_dirty`, ...; what could not
        be found out is missing."""
        return deepcopy(dict(self.record.facts.get("source", {})))

    @property
    def environment(self) -> Mapping[str, Any]:
        """Python, system and versions of packages."""
        return deepcopy(dict(self.record.facts.get("environment", {})))

    @property
    def calls(self) -> Table:
        """The calls of steps inside it, hits and misses."""
        rows = reading.read_calls(self.store, self.run_id)
        columns = ("time", "key", "step", "hit", "duration_s", "output", "status")
        return Table(columns, [(row[0] / 1e6, *row[1:7]) for row in rows])

    @property
    def console(self) -> str:
        """What it printed."""
        return reading.read_console(self.store, self.run_id)

    @property
    def parent_id(self) -> str | None:
        """The id of the run inside which it was started."""
        return self.record.parent_id

    @property
    def start_s(self) -> float:
        """When it began."""
        return self.record.start_s

    @property
    def end_s(self) -> float | None:
        """When it ended."""
        return self.record.end_s

    @property
    def duration_s(self) -> float | None:
        """How long it took; None while it runs."""
        return None if self.record.end_s is None else self.record.end_s - self.record.start_s

    def metric_history(self, name: str, *, points: int | None = None) -> pa.Table:
        """Every point of a metric, by step and then time: an Arrow table of `step`, `value` and `time` (UTC). With
        `points`, about so many of them, for plots: first, last, least and greatest of each stretch are kept."""
        history = stored_points.history_of(self.store, self.record, name)
        if points is None:
            return history
        from mlflowish.tracking.downsampling import downsampled

        return downsampled(history, points)

    def plot(self, *names: str, log: bool = False) -> Plot:
        """A plot of metrics, all of them on the same axes; without names, of each that was logged more than once.
        `log`: on a logarithmic scale. NotFoundError if there is no such metric.
        """
        from mlflowish.tracking.curves import curve_of
        from mlflowish.tracking.plots import plot_of

        known = self.metrics
        for name in names:
            if name not in known and not self.metric_history(name).num_rows:
                raise NotFoundError(
                    f"The run {self.name} has no metric {name!r}; it has {', '.join(nearest(name, known)) or 'none'}",
                    metric=name,
                )
        curves = [curve_of(name, self.metric_history(name)) for name in names or sorted(known)]
        shown = curves if names else [curve for curve in curves if curve.points > 1]
        return plot_of(", ".join(names) if len(names) < 4 else self.name, shown, log=log)

    def source_text(self, which: str = "diff") -> str:
        """A text that was captured with the source: `diff` (what was not committed), `script` or `notebook`; "" without
        one."""
        facts = self.record.facts
        texts = {**facts.get("source", {}).get("texts", {}), **facts.get("notebook", {}).get("texts", {})}
        if which not in texts:
            return ""
        reader = Artifacts(self.store, self.run_id, ())
        return reader.read_ref(ObjectRef(*texts[which])).decode("utf-8", "replace")

    def _inherited(self, record: RunRecord) -> dict[str, float]:
        """Last values, up to the step of the fork, of the run that this one continues."""
        assert record.forked_from is not None
        origin, step = record.forked_from
        parent = Run(self.store, origin)
        found = {}
        for name in {**parent.metrics}:
            table = stored_points.metric_history(self.store, origin, name)
            values = [value for at, value in zip(*(table[c].to_pylist() for c in ("step", "value"))) if at <= step]  # noqa: B905
            if values:
                found[name] = values[-1]
        return found

    def __lineage__(self) -> tuple[str, str, str, dict[str, Any], tuple[str, ...]]:
        """How it stands in a lineage: its node, and the keys of its calls, hits too."""
        record = self.record
        facts = {"run_id": self.run_id, "experiment": record.experiment, "status": record.status}
        keys = [row[1] for row in reading.read_calls(self.store, self.run_id)]
        return f"run:{self.run_id}", "run", record.name, facts, tuple(dict.fromkeys(key for key in keys if key))

    def __reduce__(self) -> tuple[Any, ...]:
        return Run, (self.store, self.run_id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Run) and (other.run_id, other.store) == (self.run_id, self.store)

    def __hash__(self) -> int:
        return hash(self.run_id)

    def __repr__(self) -> str:
        record = self.record
        return f"<Run {record.name!r} of {record.experiment!r}: {record.status.lower()}, {self.run_id}>"

    def _repr_html_(self) -> str:
        from mlflowish.tracking.display import run_html

        return run_html(self)
