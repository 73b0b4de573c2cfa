"""Runs as Parquet files that everybody reads: a table of runs, and long tables of what they logged.

Plain types and encodings only, so that DuckDB, R, Julia, Spark read them as they are: the delta encodings and byte
streams of newer Parquet would save a fifth and lose some of these. One run, one series, one row group is in memory at
a time.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from mlflowish.errors import InvalidInputError, StorageError
from mlflowish.store import Store, Table, as_store
from mlflowish.store.display import card
from mlflowish.tracking.drafts import Drafts
from mlflowish.tracking.filters import parse_filter
from mlflowish.tracking.folding import RunRecord
from mlflowish.tracking.inflight import InFlight, in_flight
from mlflowish.tracking.points import all_series, ordered, table_of
from mlflowish.tracking.reading import read_runs
from mlflowish.tracking.records import Series
from mlflowish.tracking.search import _matching

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

ROWS_A_GROUP = 1 << 18
_TIME = "timestamp"
# What sorts each table comes first in it. Runs are published last: what stands in them is in the other files then.
SCHEMAS: dict[str, tuple[tuple[str, str], ...]] = {
    "points": (("run_id", "text"), ("metric", "text"), ("step", "int"), ("value", "float"), ("time", _TIME)),
    "metrics": (("run_id", "text"), ("metric", "text"), ("value", "float"), ("step", "int"), ("time", _TIME)),
    "params": (("run_id", "text"), ("param", "text"), ("value", "text")),
    "tags": (("run_id", "text"), ("tag", "text"), ("value", "text")),
    "runs": (
        *(("run_id", "text"), ("name", "text"), ("experiment", "text"), ("status", "text"), ("reason", "text")),
        *(("start_time", _TIME), ("end_time", _TIME), ("duration_s", "float"), ("parent_id", "text")),
        *(("forked_from", "text"), ("fork_step", "int"), ("user_name", "text"), ("host", "text"), ("deleted", "bool")),
    ),
}
_SORTED_BY = {"points": 3, "metrics": 2, "params": 2, "tags": 2, "runs": 1}


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """One table: the name of its file, its rows and bytes."""

    name: str
    rows: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was exported, and where to."""

    url: str
    files: tuple[ExportedFile, ...]

    @property
    def rows(self) -> dict[str, int]:
        """How many rows each table has: `{"runs": ..., "points": ...}`."""
        return {file.name.removesuffix(".parquet"): file.rows for file in self.files}

    def to_table(self) -> Table:
        """A row for each file."""
        return Table(("file", "rows", "bytes"), [(file.name, file.rows, file.size_bytes) for file in self.files])

    def document(self) -> dict[str, Any]:
        """For programs."""
        return {"url": self.url, "files": list(self.to_table())}

    def __str__(self) -> str:
        size = sum(file.size_bytes for file in self.files)
        return f"{self.url}: {self.rows['runs']:,} runs in {len(self.files)} files of {size:,} bytes"

    def _repr_html_(self) -> str:
        rows = [(file.name, f"{file.rows:,} rows, {file.size_bytes:,} bytes") for file in self.files]
        return card("Export", [("to", self.url), *rows])


def export_runs(
    target: str | os.PathLike[str],
    filter_string: str = "",
    *,
    experiment: str | Sequence[str] | None = None,
    points: bool = True,
    deleted: bool = False,
    overwrite: bool = False,
    store: Any = None,
    **storage_options: Any,
) -> ExportReport:
    """Write runs into a folder (or any fsspec URL) as Parquet files: `runs`, `params`, `tags`, `metrics` (the last
    value of each series) and, unless `points=False`, `points` (all of them, sorted by run, metric, step).

    `filter_string` and `experiment` choose runs, as those of `search_runs`; deleted ones only if asked for. Columns
    are texts, numbers and times in UTC, with `run_id` first; what a fork shares with the run that it continues stands
    with that one (`forked_from`, `fork_step`). Hardware series are metrics whose names begin with `system/`.

    A file appears when it is whole: what ends early leaves the folder as it was, or with an earlier file of that name.
    AlreadyExistsError for files that are there, unless `overwrite`. Memory: one run, one series and about 20 MB.
    `storage_options` are for the driver of the target; those of the store are taken for its own sort of URL.

    >>> import mlflowish as mf
    >>> with mf.start_run(experiment="doc-export"):
    ...     mf.log_params({"lr": 0.1}); mf.log_metrics({"loss": 0.5}, step=1); mf.log_metrics({"loss": 0.3}, step=2)
    >>> mf.export_runs("exported", experiment="doc-export").rows
    {'runs': 1, 'tags': 0, 'params': 1, 'metrics': 1, 'points': 2}
    >>> import pyarrow.parquet as pq
    >>> pq.read_table("exported/points.parquet")["value"].to_pylist()
    [0.5, 0.3]
    """
    opened, wanted = as_store(store), parse_filter(filter_string)
    names = None if experiment is None else {experiment} if isinstance(experiment, str) else set(experiment)
    options = storage_options or _shared_options(opened, target)
    tables = [name for name in SCHEMAS if points or name != "points"]
    with Drafts(target, options) as drafts:
        _require_outside(opened, drafts)
        if not overwrite:
            drafts.require_new(*(f"{name}.parquet" for name in tables))
        try:
            sinks = {
                name: (_PointSink if name == "points" else _Sink)(name, str(drafts.begin(f"{name}.parquet")))
                for name in tables
            }
            flying = in_flight(opened)  # looked at before the journals
            for record in _matching(read_runs(opened, deleted=deleted), wanted, names):
                _write_run(sinks, opened, record, flying)
            rows = {name: sink.close() for name, sink in sinks.items()}
            sizes = drafts.publish()
        except OSError as error:
            raise StorageError(f"Exporting runs to {drafts.url} failed: {error}", path=drafts.url) from error
        files = [ExportedFile(f"{name}.parquet", rows[name], sizes[f"{name}.parquet"]) for name in reversed(tables)]
        return ExportReport(drafts.url, tuple(files))


def _write_run(sinks: dict[str, _Sink], store: Store, record: RunRecord, flying: InFlight) -> None:
    run_id, series = record.run_id, {**record.metrics, **record.hardware}
    origin, step = record.forked_from or (None, None)
    times = (_us(record.start_s), None if record.end_s is None else _us(record.end_s))
    took = None if record.end_s is None else record.end_s - record.start_s
    first = (run_id, record.name, record.experiment, record.status, record.reason)
    sinks["runs"].add(
        [(*first, *times, took, record.parent_id, origin, step, record.user, record.host, record.is_deleted)]
    )
    sinks["params"].add([(run_id, name, text) for name, text in sorted(record.params.items())])
    sinks["tags"].add([(run_id, name, text) for name, text in sorted(record.tags.items())])
    lasts = [(run_id, name, last.value, last.step, last.time_us) for name, last in sorted(series.items())]
    sinks["metrics"].add(lasts)
    if "points" in sinks:
        points = sinks["points"]
        assert isinstance(points, _PointSink)
        for name, pieces in all_series(store, run_id, flying):
            points.add_series(run_id, name, pieces)


class _Sink:
    """One Parquet file, written a row group at a time."""

    def __init__(self, name: str, path: str) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        types = {
            "text": pa.string(),
            "int": pa.int64(),
            "float": pa.float64(),
            "bool": pa.bool_(),
            _TIME: pa.timestamp("us", tz="UTC"),
        }
        self._schema = pa.schema([(column, types[kind]) for column, kind in SCHEMAS[name]])
        self._writer: pq.ParquetWriter = pq.ParquetWriter(
            path,
            self._schema,
            compression="zstd",
            use_dictionary=[column for column, kind in SCHEMAS[name] if kind == "text"],
            sorting_columns=[pq.SortingColumn(place) for place in range(_SORTED_BY[name])],
        )
        self._rows: list[tuple[Any, ...]] = []
        self._tables: list[pa.Table] = []
        self._waiting = self._written = 0

    def add(self, rows: list[tuple[Any, ...]]) -> None:
        """Add rows: texts, numbers, microseconds."""
        self._rows += rows
        self._waiting += len(rows)
        if self._waiting >= ROWS_A_GROUP // 8:
            self._flush()

    def close(self) -> int:
        """End the file; how many rows it has."""
        self._flush()
        self._writer.close()
        return self._written

    def _flush(self) -> None:
        import pyarrow as pa

        if self._rows:
            columns = zip(*self._rows, strict=True)
            cells = [
                pa.array([_text(cell) if isinstance(cell, str) else cell for cell in column], field.type)
                for column, field in zip(columns, self._schema, strict=True)
            ]
            self._tables.append(pa.table(cells, schema=self._schema))
        if self._tables:
            self._writer.write_table(pa.concat_tables(self._tables), row_group_size=ROWS_A_GROUP)
        self._written += self._waiting
        self._rows, self._tables, self._waiting = [], [], 0


class _PointSink(_Sink):
    """The file of points: series are gathered as they rest, and made a table when there are enough of them."""

    def __init__(self, name: str, path: str) -> None:
        super().__init__(name, path)
        self._series: list[tuple[str, str, int]] = []
        self._pieces: list[Series] = []

    def add_series(self, run_id: str, name: str, pieces: list[Series]) -> None:
        """Add the points of a series."""
        rows = sum(len(piece.steps) for piece in pieces) // 8
        if not rows:
            return
        if rows > ROWS_A_GROUP // 2:  # worth a table of its own, in order before it is divided
            self._gather()
            self._add_table([(run_id, name, rows)], ordered(table_of(pieces)))
            self._flush()
            return
        self._series.append((run_id, name, rows))
        self._pieces += pieces
        self._waiting += rows
        if self._waiting >= ROWS_A_GROUP:
            self._flush()

    def _flush(self) -> None:
        self._gather()
        super()._flush()

    def _gather(self) -> None:
        series, self._series = self._series, []
        pieces, self._pieces = self._pieces, []
        if series:
            self._waiting -= sum(rows for _, _, rows in series)
            self._add_table(series, table_of(pieces))

    def _add_table(self, series: list[tuple[str, str, int]], points: pa.Table) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        ends = pa.array(accumulate(rows for _, _, rows in series), pa.int32())
        texts = [
            pc.run_end_decode(pa.RunEndEncodedArray.from_arrays(ends, pa.array(map(_text, column), pa.string())))
            for column in ([run_id for run_id, _, _ in series], [name for _, name, _ in series])
        ]
        table = pa.table([*texts, *(points[column] for column in ("step", "value", "time"))], schema=self._schema)
        if not _is_ordered(points["step"], ends):
            table = table.sort_by([(column, "ascending") for column in ("run_id", "metric", "step", "time")])
        self._tables.append(table)
        self._waiting += table.num_rows


def _is_ordered(steps: Any, ends: pa.Array) -> bool:
    """Do the steps of each series grow?"""
    import pyarrow.compute as pc

    falls = pc.greater_equal(steps.slice(0, max(len(steps) - 1, 0)), steps.slice(1))
    between = pc.subtract(ends.slice(0, len(ends) - 1), 1)
    return bool((pc.sum(falls).as_py() or 0) == (pc.sum(falls.take(between)).as_py() or 0))


def _text(text: str) -> str:
    """Names of files and streams may hold bytes that are no text; Parquet has text only."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _us(seconds: float) -> int:
    return round(seconds * 1e6)


def _shared_options(store: Store, target: str | os.PathLike[str]) -> dict[str, Any]:
    """What the driver of the store was told, for a target of the same sort."""
    location, _, _, options = store._arguments
    scheme, found, _ = os.fspath(target).partition("://")
    return dict(options) if found and location.startswith(f"{scheme}://") else {}


def _require_outside(store: Store, drafts: Drafts) -> None:
    probe = store.storage.local_path("objects/x") if store.storage.capabilities.local_paths else None
    if probe is None or drafts.folder is None:
        return
    root = os.path.realpath(os.path.dirname(os.path.dirname(probe)))
    if os.path.commonpath([root, os.path.realpath(drafts.folder)]) == root:
        raise InvalidInputError(
            f"{drafts.url} lies inside the store {store.url}, where files of others have no place; export beside it",
            path=drafts.url,
        )
