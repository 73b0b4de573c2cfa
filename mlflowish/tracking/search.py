"""`search_runs`: the runs that a filter describes, in order, as a table that also gives the runs themselves."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from mlflowish.errors import InvalidInputError
from mlflowish.store import Store, Table, as_store
from mlflowish.tracking.filters import EVERYTHING, Field, Filter, Value, parse_filter, parse_order
from mlflowish.tracking.folding import RunRecord
from mlflowish.tracking.reading import read_runs
from mlflowish.tracking.run import Run

_FIXED = ("run_id", "name", "experiment", "status", "start_time", "end_time")
_PARTS = ("metrics", "params", "tags")
_HIDDEN_TAGS = "mlflow."
Order = tuple[Field, bool]


class Runs(Table):
    """Runs that were found, in order. Iterating gives `Run` objects; as a table (`to_pandas`, `to_arrow`, `column`)
    each is a row of run_id, name, experiment, status, start_time, end_time (UTC), and a column for each `metrics.`,
    `params.` and `tags.` that one of them has.
    """

    def __init__(self, store: Store, records: Sequence[RunRecord]) -> None:
        self._store, self._records = store, tuple(records)
        keys = [(part, key) for part in _PARTS for key in _keys(self._records, part)]
        rows = [(*_fixed(record), *(_cell(record, part, key) for part, key in keys)) for record in self._records]
        super().__init__((*_FIXED, *(f"{part}.{key}" for part, key in keys)), rows)

    def __iter__(self) -> Iterator[Run]:  # type: ignore[override]  # a search gives runs
        return (Run(self._store, record.run_id, record) for record in self._records)

    def __getitem__(self, index: int) -> Run:  # type: ignore[override]
        record = self._records[index]
        return Run(self._store, record.run_id, record)

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

        return grouped(self._records, fields, aggregates)


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
    found = _matching(read_runs(opened, deleted=deleted), wanted, names)
    if limit is None:
        return Runs(opened, sorted(found, key=lambda record: _rank(record, orders))[offset:])
    best = heapq.nsmallest(limit + offset, found, key=lambda record: _rank(record, orders))
    return Runs(opened, best[offset:])


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


def _keys(records: Sequence[RunRecord], part: str) -> list[str]:
    found: dict[str, None] = {}
    for record in records:
        found.update(dict.fromkeys(getattr(record, part)))
    return sorted(key for key in found if part != "tags" or not key.startswith(_HIDDEN_TAGS))


def _fixed(record: RunRecord) -> tuple[Any, ...]:
    return record.run_id, record.name, record.experiment, record.status, _time(record.start_s), _time(record.end_s)


def _cell(record: RunRecord, part: str, key: str) -> Any:
    found = getattr(record, part).get(key)
    return found.value if part == "metrics" and found is not None else found


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, tz=UTC)
