"""How results are printed: tables and lines for people, JSON for programs."""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_READABLE = 12  # characters of a column that long texts fold into
_NARROWEST = 120  # columns of a table in a pipe or a log, where nobody says how wide the page is


def print_json(document: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(document, indent=2, ensure_ascii=False))


def console() -> Console:
    """Where text for people goes: standard output, coloured when it is a terminal."""
    from rich.console import Console

    found = Console(highlight=False, soft_wrap=False)
    return found if sys.stdout.isatty() else Console(highlight=False, width=max(found.width, _NARROWEST))


def print_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[str] = ()
) -> None:
    """Rows of texts under their names; columns in `numbers` stand to the right. Of no rows: the title, and that.
    Where the page is too narrow for columns that can be read, each row is a block of lines."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    page, lines = console(), list(rows)
    if not lines:
        page.print(f"[bold]{escape(title)}[/]: none")
        return
    if not _fits(columns, lines, page.width):
        page.print(f"[bold]{escape(title)}[/]")
        for row in lines:
            page.print()
            print_facts((name, cell) for name, cell in zip(columns, row, strict=True) if cell)
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name in numbers else "left", overflow="fold")
    for row in lines:
        table.add_row(*(escape(cell) for cell in row))
    page.print(f"[bold]{escape(title)}[/]")
    _print(page, table)


def print_facts(rows: Iterable[tuple[str, str]]) -> None:
    """Names and texts, a line each."""
    from rich.markup import escape
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row(escape(name), escape(text))
    _print(console(), table)


def _fits(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> bool:
    """Has each column room for its texts, or for so much of them that a fold can be read?"""
    needed = [max(map(len, (name, *cells))) for name, *cells in zip(columns, *rows, strict=True)]
    return sum(min(each, _READABLE) + 3 for each in needed) <= width


def _print(page: Console, table: Table) -> None:
    """A table; in a pipe or a file without the spaces that fill its last column."""
    if page.is_terminal:
        page.print(table)
        return
    with page.capture() as captured:
        page.print(table)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def seconds(value: float) -> str:
    """A duration to three digits: `12.3 ms`, `4.10 s`, `2 min 5 s`."""
    if value < 0.0995:
        return f"{value * 1e3:.2f} ms" if value < 0.00995 else f"{value * 1e3:.1f} ms"
    if value < 60:
        return f"{value:.2f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def size(value_bytes: int) -> str:
    """A number of bytes to three digits: `512 B`, `1.2 kB`, `3.4 MB`."""
    if value_bytes < 1000:
        return f"{value_bytes} B"
    number = float(value_bytes)
    for unit in ("kB", "MB", "GB", "TB"):
        number /= 1000
        if number < 999.5 or unit == "TB":
            break
    return f"{number:.1f} {unit}"


def utc(time_s: float) -> str:
    """Seconds since 1970 as ISO 8601 text, for programs."""
    return datetime.datetime.fromtimestamp(time_s, tz=datetime.UTC).isoformat(timespec="milliseconds")


def local(time_s: float) -> str:
    """Seconds since 1970 as the clock on the wall shows it, for people."""
    return datetime.datetime.fromtimestamp(time_s).astimezone().strftime("%Y-%m-%d %H:%M:%S")
