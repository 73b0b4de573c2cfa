"""`search_runs`: the runs that a filter describes, in order, as a table that also gives the runs themselves."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from mlflowish.errors import InvalidInputError
from mlflowish.store import Store, Table, as_store
from mlflowish.tracking.filters import EVERYTHING, Field, Filter, Kind, Value, parse_filter, parse_order
from mlflowish.tracking.folding import RunRecord
from mlflowish.tracking.reading import read_runs
from mlflowish.tracking.run import Run
from mlflowish.tracking.table import are_few, pays
from mlflowish.tracking.table.few import few_runs

_FIXED = ("run_id", "name", "experiment", "status", "start_time", "end_time")
if TYPE_CHECKING:
    from mlflowish.tracking.table.chosen import Chosen

_KIND_OF: dict[str, Kind] = {"metrics": "metric", "params": "param", "tags": "tag"}
_HIDDEN_TAGS = "mlflow."
# Of so many runs that a search found, folding each takes less time than reading all columns.
_PAGE_RUNS = 1_000
Order = tuple[Field, bool]


class Found(Protocol):
    """Runs in order, whose values come as `value_of` gives them."""

    def __len__(self) -> int: ...

    def run_id(self, at: int) -> str:
        """The id of one of them."""

    def record(self, at: int) -> RunRecord | None:
        """One of them, whole; None if that has to be read again."""

    def column(self, field: Field) -> list[Value]:
        """The value of a field in each of them; None without one."""

    def seconds(self) -> tuple[list[Any], list[Any]]:
        """When they began and when they ended, in seconds since 1970."""

    def names(self, kind: str) -> list[str]:
        """Names of metrics, params or tags that one of them has, in order."""


class Listed:
    """Runs that were folded."""

    def __init__(self, records: Sequence[RunRecord]) -> None:
        self._records = tuple(records)

    def __len__(self) -> int:
        return len(self._records)

    def run_id(self, at: int) -> str:
        return self._records[at].run_id

    def record(self, at: int) -> RunRecord | None:
        return self._records[at]

    def column(self, field: Field) -> list[Value]:
        return [value_of(record, field) for record in self._records]

    def seconds(self) -> tuple[list[Any], list[Any]]:
        return [record.start_s for record in self._records], [record.end_s for record in self._records]

    def names(self, kind: str) -> list[str]:
        return sorted({name for record in self._records for name in getattr(record, kind)})


class Runs(Table):
    """Runs that were found, in order. Iterating gives `Run` objects; as a table (`to_pandas`, `to_arrow`, `column`)
    each is a row of run_id, name, experiment, status, start_time, end_time (UTC), and a column for each `metrics.`,
    `params.` and `tags.` that one of them has.
    """

    def __init__(self, store: Store, found: Sequence[RunRecord] | Found) -> None:
        self._store, self._found = store, Listed(found) if isinstance(found, Sequence) else found

    @cached_property
    def columns(self) -> tuple[str, ...]:  # type: ignore[override]  # of many runs, made when somebody looks at it
        """Names of the columns."""
        return (*_FIXED, *(f"{kind}.{name}" for kind, name in self._names))

    @cached_property
    def _rows(self) -> list[tuple[Any, ...]]:  # type: ignore[override]  # made when somebody looks, where a Table has them
        found = self._found
        fixed = [found.column(Field("attribute", key)) for key in ("run_id", "run_name", "experiment", "status")]
        times = [[_time(seconds) for seconds in column] for column in found.seconds()]
        others = [found.column(Field(_KIND_OF[kind], name)) for kind, name in self._names]
        return list(zip(*fixed, *times, *others, strict=True))

    @cached_property
    def _names(self) -> list[tuple[str, str]]:
        return [
            (kind, name)
            for kind in _KIND_OF
            for name in self._found.names(kind)
            if kind != "tags" or not name.startswith(_HIDDEN_TAGS)
        ]

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[Run]:  # type: ignore[override]  # a search gives runs
        return map(self._run, range(len(self)))

    def __getitem__(self, index: int) -> Run:  # type: ignore[override]  # made when somebody looks, where a Table has them
        return self._run(range(len(self))[index])

    def _run(self, at: int) -> Run:
        record = self._found.record(at)
        return Run(self._store, self._found.run_id(at) if record is None else record.run_id, record)

    def group_by(self, *fields: str, **aggregates: str | tuple[str, str]) -> Table:
        """One row for each combination of values of `fields`, with the number of runs and what `aggregates` ask for:
        `best="min(metrics.loss)"`; there are min, max, mean, median, sum, count, first and last.

        >>> import mlflowish as mf
        >>> for depth in (2, 2, 3):
        ...     with mf.start_run(experiment="doc-group"):
        ...         mf.log_params({"depth": depth}); mf.log_metric("acc", depth / 4)
        >>> print(mf.search_runs(experiment="doc-group").group_by("params.depth", best="max(metrics.acc)"))
        params.depth  runs  best
        2             2     0.5
        3             1     0.75
        """
        from mlflowish.tracking.grouping import grouped

        return grouped(self._found, fields, aggregates)


class Page:
    """Few runs of the table, folded when somebody looks at them: of few that takes less time than reading columns."""

    def __init__(self, chosen: Chosen) -> None:
        self._chosen = chosen

    @cached_property
    def _found(self) -> Found:
        records = [self._chosen.record(at) for at in range(len(self._chosen))]
        known = [record for record in records if record is not None]
        return Listed(known) if len(known) == len(records) else self._chosen  # the records of some are damaged

    def __len__(self) -> int:
        return len(self._chosen)

    def run_id(self, at: int) -> str:
        return self._chosen.run_id(at)

    def record(self, at: int) -> RunRecord | None:
        return self._found.record(at)

    def column(self, field: Field) -> list[Value]:
        return self._found.column(field)

    def seconds(self) -> tuple[list[Any], list[Any]]:
        return self._found.seconds()

    def names(self, kind: str) -> list[str]:
        return self._found.names(kind)


def search_runs(
    filter_string: str = "",
    *,
    experiment: str | Sequence[str] | None = None,
    order_by: str | Sequence[str] = (),
    limit: int | None = 100,
    offset: int = 0,
    deleted: bool = False,
    store: Any = None,
) -> Runs:
    """The runs that a filter in MLflow's language describes: `metrics.loss < 0.2 and params.lr = '0.1'`.

    Fields: `metrics.`, `params.`, `tags.`, `datasets.name|digest|context`, and attributes (run_id, run_name,
    experiment, status, user, start_time and end_time in milliseconds, duration in seconds, parent_id, host).
    Operators: = != < <= > >=, LIKE and ILIKE (% and _), IN, NOT IN, IS NULL, IS NOT NULL, AND, OR, NOT, parentheses.
    Keys with other characters stand in backticks or double quotes. What a run lacks fits nothing but IS NULL.

    `order_by`: fields with `asc` or `desc`, runs without a value last; then the newest first. `experiment`: one or more
    names. `limit` (None: all) and `offset` give pages. InvalidInputError for a filter that makes no sense says where.

    >>> import mlflowish as mf
    >>> for lr in (0.1, 0.2):
    ...     with mf.start_run(f"lr {lr}", experiment="doc-search"):
    ...         mf.log_params({"lr": lr}); mf.log_metric("loss", lr * 2)
    >>> found = mf.search_runs("metrics.loss < 0.3", experiment="doc-search", order_by=["metrics.loss asc"])
    >>> [run.name for run in found], found.column("params.lr")
    (['lr 0.1'], ['0.1'])
    """
    wanted, orders = parse_filter(filter_string), _orders(order_by)
    _require_page(limit, offset)
    opened = as_store(store)
    names = None if experiment is None else {experiment} if isinstance(experiment, str) else set(experiment)
    if pays(opened):
        return _from_table(opened, wanted, names, orders, deleted=deleted, limit=limit, offset=offset)
    records = few_runs(opened) if are_few(opened) else read_runs(opened, deleted=deleted)
    found = _matching((record for record in records if deleted or not record.is_deleted), wanted, names)
    if limit is None:
        return Runs(opened, sorted(found, key=lambda record: _rank(record, orders))[offset:])
    best = heapq.nsmallest(limit + offset, found, key=lambda record: _rank(record, orders))
    return Runs(opened, best[offset:])


def _from_table(
    store: Store,
    wanted: Filter,
    experiments: set[str] | None,
    orders: Sequence[Order],
    *,
    deleted: bool,
    limit: int | None,
    offset: int,
) -> Runs:
    from mlflowish.tracking.table.chosen import choose

    chosen = choose(store, wanted, experiments=experiments, orders=orders, deleted=deleted, limit=limit, offset=offset)
    return Runs(store, chosen if len(chosen) > _PAGE_RUNS else Page(chosen))


def _matching(records: Iterable[RunRecord], wanted: Filter, experiments: set[str] | None) -> Iterator[RunRecord]:
    for record in records:
        if (experiments is None or record.experiment in experiments) and (
            wanted is EVERYTHING or wanted(_Asked(record))
        ):
            yield record


class _Asked:
    """A run as a filter sees it."""

    __slots__ = ("record",)

    def __init__(self, record: RunRecord) -> None:
        self.record = record

    def values(self, field: Field) -> tuple[Value, ...]:
        if field.kind == "dataset":
            return tuple(value for data in self.record.datasets if (value := getattr(data, field.key)) is not None)
        value = value_of(self.record, field)
        return () if value is None else (value,)


def value_of(record: RunRecord, field: Field) -> Value:
    """The value of a field that has one at most; None without one."""
    if field.kind == "metric":
        last = record.metrics.get(field.key) or record.hardware.get(field.key)
        return None if last is None else last.value
    if field.kind == "param":
        return record.params.get(field.key)
    if field.kind == "tag":
        return record.tags.get(field.key)
    if field.kind == "dataset":
        return next((getattr(data, field.key) for data in record.datasets), None)
    return _attribute(record, field.key)


def _attribute(record: RunRecord, key: str) -> Value:
    if key == "start_time":
        return record.start_s * 1000
    if key == "end_time":
        return None if record.end_s is None else record.end_s * 1000
    if key == "duration":
        return None if record.end_s is None else record.end_s - record.start_s
    if key == "run_name":
        return record.name
    found: Value = getattr(record, key)
    return found


def _orders(order_by: str | Sequence[str]) -> list[Order]:
    return [parse_order(text) for text in ([order_by] if isinstance(order_by, str) else order_by)]


def _rank(record: RunRecord, orders: Sequence[Order]) -> tuple[Any, ...]:
    """Smaller is earlier: each field, then the newest, then the id."""
    ranks = [_directed(value_of(record, field), down) for field, down in orders]
    return (*ranks, -record.start_s, record.run_id)


def _directed(value: Value, down: bool) -> tuple[Any, ...]:
    """What is missing comes last, before it what is no number, whatever the direction."""
    if value is None:
        return (2,)
    if isinstance(value, float):
        return (1,) if math.isnan(value) else (0, -value if down else value)
    return (0, _Reversed(str(value)) if down else str(value))


class _Reversed:
    """Text that sorts the other way round."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __lt__(self, other: _Reversed) -> bool:
        return other.text < self.text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Reversed) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)


def _require_page(limit: int | None, offset: int) -> None:
    for name, number in (("limit", limit), ("offset", offset)):
        if number is not None and (not isinstance(number, int) or isinstance(number, bool) or number < 0):
            raise InvalidInputError(f"{name} is a number of runs, 0 or more, found {number!r}", found=number)


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, tz=UTC)
