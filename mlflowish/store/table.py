"""A small table of records for people and programs: what listings and searches return."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mlflowish.errors import InvalidInputError, missing_extra, nearest


class Table:
    """Rows with named columns, in order: iterate it for dicts, or take it as Arrow or pandas."""

    def __init__(self, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        self.columns = tuple(columns)
        self._rows = [tuple(row) for row in rows]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (dict(zip(self.columns, row, strict=True)) for row in self._rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return dict(zip(self.columns, self._rows[index], strict=True))

    def column(self, name: str) -> list[Any]:
        """All values of one column, in row order."""
        if name not in self.columns:
            raise InvalidInputError(
                f"There is no column {name!r}; there are {', '.join(nearest(str(name), self.columns, limit=20))}",
                found=name,
            )
        place = self.columns.index(name)
        return [row[place] for row in self._rows]

    def to_arrow(self) -> Any:
        """A `pyarrow.Table`."""
        import pyarrow as pa

        return pa.table({name: pa.array(self.column(name)) for name in self.columns})

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame`."""
        try:
            import pandas as pd
        except ImportError as error:
            raise missing_extra("pandas", needed_for="Table.to_pandas", cause=error) from error
        return pd.DataFrame({name: self.column(name) for name in self.columns}, columns=list(self.columns))

    def __repr__(self) -> str:
        shown = [[_short(value) for value in row] for row in self._rows[:20]]
        widths = [max([len(name), *(len(row[i]) for row in shown)]) for i, name in enumerate(self.columns)]
        lines = ["  ".join(name.ljust(width) for name, width in zip(self.columns, widths, strict=True)).rstrip()]
        lines += [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in shown
        ]
        if len(self._rows) > len(shown):
            lines.append(f"... {len(self._rows) - len(shown)} more rows")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from html import escape

        head = "".join(f"<th>{escape(name)}</th>" for name in self.columns)
        body = "".join(
            "<tr>" + "".join(f"<td>{_cell_html(value)}</td>" for value in row) + "</tr>" for row in self._rows[:50]
        )
        more = f"<p>... {len(self._rows) - 50} more rows</p>" if len(self._rows) > 50 else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def _cell_html(value: Any) -> str:
    """The text of a value; a series of numbers as a small line."""
    from html import escape

    from mlflowish.store.display import sparkline_of

    if isinstance(value, (list, tuple)) and len(value) > 2 and all(type(number) in (int, float) for number in value):
        return sparkline_of(enumerate(map(float, value))) or escape(_short(value))
    return escape(_short(value))


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    text = "" if value is None else str(value)
    return text if len(text) <= 48 else text[:45] + "..."
