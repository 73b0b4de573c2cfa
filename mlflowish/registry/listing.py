"""Sequences of records that show themselves: what listings of the registry return."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar, overload

from mlflowish.store.table import Table

Row = TypeVar("Row")
_SHOWN = 50


class Listing(Sequence[Row], Generic[Row]):
    """Records in order: a sequence, which is also a table (`to_pandas`, `to_arrow`) and shows itself."""

    columns: tuple[str, ...] = ()

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = tuple(rows)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Row, ...]: ...
    def __getitem__(self, index: int | slice) -> Row | tuple[Row, ...]:
        return self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, (Listing, list, tuple)):
            return self._rows == tuple(other)
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self._rows)

    def table(self) -> Table:
        """The same as a `Table`."""
        return Table(self.columns, [[getattr(row, name) for name in self.columns] for row in self._rows])

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame`."""
        return self.texts().to_pandas()

    def to_arrow(self) -> Any:
        """A `pyarrow.Table`."""
        return self.texts().to_arrow()

    def texts(self, limit: int | None = None) -> Table:
        """The same as a table of numbers and short texts, for people; at most `limit` rows."""
        rows = [[cell(getattr(row, name)) for name in self.columns] for row in self._rows[:limit]]
        return Table(self.columns, rows)

    def __repr__(self) -> str:
        if not self._rows:
            return f"{type(self).__name__}: none"
        more = f"\n... {len(self) - _SHOWN} more rows" if len(self) > _SHOWN else ""
        return repr(self.texts(_SHOWN)) + more

    def _repr_html_(self) -> str:
        from mlflowish.store.display import table_html

        rows = [["" if text is None else str(text) for text in row.values()] for row in self.texts(_SHOWN)]
        return table_html(self.columns, rows, more=max(0, len(self) - _SHOWN))


def cell(value: Any) -> Any:
    """A value as a cell of a table: numbers and texts stay, the rest becomes a short text."""
    if isinstance(value, datetime.datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    if isinstance(value, dict):
        return ", ".join(f"{key}={_short(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return value


def utc(time_s: float) -> datetime.datetime:
    """Seconds since 1970 as a moment, in UTC."""
    return datetime.datetime.fromtimestamp(time_s, tz=datetime.UTC)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
