"""Runs as Parquet files that everybody reads: a table of runs, and long tables of what they logged.

Plain types and encodings only, so that DuckDB, R, Julia, Spark read them as they are: the delta encodings and byte
streams of newer Parquet would save a fifth and lose some of these. One run, one series, one row group is in memory at
a time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlflowish.errors import InvalidInputError, StorageError
from mlflowish.store import Store, Table, as_store
from mlflowish.store.display import card
from mlflowish.tracking.drafts import Drafts
from mlflowish.tracking.filters import parse_filter
from mlflowish.tracking.folding import RunRecord
from mlflowish.tracking.points import all_series
from mlflowish.tracking.reading import read_runs
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
            sinks = {name: _Sink(name, str(drafts.begin(f"{name}.parquet"))) for name in tables}
            for record in _matching(read_runs(opened, deleted=deleted), wanted, names):
                _write_run(sinks, opened, record)
            rows = {name: sink.close() for name, sink in sinks.items()}
            sizes = drafts.publish()
        except OSError as error:
            raise StorageError(f"Exporting runs to {drafts.url} failed: {error}", path=drafts.url) from error
        files = [ExportedFile(f"{name}.parquet", rows[name], sizes[f"{name}.parquet"]) for name in reversed(tables)]
        return ExportReport(drafts.url, tuple(files))


def _write_run(sinks: dict[str, _Sink], store: Store, record: RunRecord) -> None:
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
        for name, table in all_series(store, run_id):
            sinks["points"].add_series(run_id, name, table)


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

    def add_series(self, run_id: str, name: str, table: pa.Table) -> None:
        """Add the points of a series."""
        import pyarrow as pa

        for piece in _pieces(table, ROWS_A_GROUP):
            rows = piece.num_rows
            texts = [pa.repeat(pa.scalar(_text(text), pa.string()), rows) for text in (run_id, name)]
            columns = [*texts, *(piece[column] for column in ("step", "value", "time"))]
            self._tables.append(pa.table(columns, schema=self._schema))
            self._waiting += rows
            if self._waiting >= ROWS_A_GROUP:
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


def _pieces(table: pa.Table, rows: int) -> Iterator[pa.Table]:
    return (table.slice(start, rows) for start in range(0, table.num_rows, rows))


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
