"""The parts of a table as units: of one in memory by its columns, of a Parquet data set by its folders."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import quote, unquote

from mlflowish.errors import InvalidInputError
from mlflowish.units.finding import files
from mlflowish.units.matching import ordered
from mlflowish.units.partition import NULL, Partition
from mlflowish.units.sequence import Units
from mlflowish.units.unit import Listing, Unit

_SPLITTERS = {"pyarrow": "_arrow_parts", "pandas": "_pandas_parts", "polars": "_polars_parts"}
Parts = Iterator[tuple[tuple[Any, ...], Any]]


def partitions(table: Any, by: str | Sequence[str] | None = None, *, name: str = "", **storage_options: Any) -> Units:
    """The parts of a table as units, one for each combination of values of the columns `by`, sorted by them.

    `table`: a pandas or polars frame or an Arrow table, and a unit's value is a slice of the same kind; or the folder
    or URL of a Parquet data set with folders such as `day=2024-01-01`, and its value a `Partition`, of which nothing is
    read before `to_arrow()` or `to_pandas()`. `by` is then some of those keys, by default all. `name` is put in front
    of the units' names.

    >>> import mlflowish as mf
    >>> import pandas as pd
    >>> sales = pd.DataFrame({"city": ["Rome", "Oslo", "Rome"], "n": [1, 2, 3]})
    >>> @mf.step
    ... def total(part):
    ...     return int(part.n.sum())
    >>> total.map(mf.partitions(sales, by="city")).to_dict()
    {'city=Oslo': 2, 'city=Rome': 4}
    """
    columns = [by] if isinstance(by, str) else list(by or ())
    prefix = f"{name}/" if name else ""
    if isinstance(table, (str, os.PathLike)):
        source = partial(_listed_folder, files(table, **storage_options), columns, prefix, os.fspath(table))
        return Units(source, f"partitions({os.fspath(table)!r})")
    split = _splitter(table)
    if not columns:
        raise InvalidInputError('partitions of a table need columns to split it by: partitions(table, by="day")')
    if missing := [column for column in columns if column not in _columns_of(table)]:
        raise InvalidInputError(f"The table has no column {missing[0]!r}; it has {', '.join(_columns_of(table))}")
    source = partial(_listed_table, split, table, columns, prefix)
    return Units(source, f"partitions by {', '.join(columns)}", is_fixed=True)


def _name(keys: Mapping[str, Any]) -> str:
    """As folders of a data set are named."""
    return "/".join(f"{key}={NULL if value is None else quote(str(value), safe=' :+')}" for key, value in keys.items())


# -- in memory -----------------------------------------------------------------------------------------


def _splitter(table: Any) -> Callable[[Any, list[str]], Parts]:
    library = type(table).__module__.partition(".")[0]
    if library not in _SPLITTERS or type(table).__name__ not in ("DataFrame", "Table"):
        raise InvalidInputError(
            "partitions takes a pandas or polars DataFrame, an Arrow Table, or the path or URL of a Parquet data set, "
            f"found {type(table).__name__}",
            found=type(table).__name__,
        )
    found: Callable[[Any, list[str]], Parts] = globals()[_SPLITTERS[library]]
    return found


def _columns_of(table: Any) -> list[str]:
    return [str(name) for name in (table.column_names if hasattr(table, "column_names") else table.columns)]


def _listed_table(split: Callable[[Any, list[str]], Parts], table: Any, by: list[str], prefix: str) -> Listing:
    parts = sorted(split(table, by), key=lambda part: [ordered(value) for value in part[0]])
    found: dict[str, Unit] = {}
    for values, part in parts:
        keys = dict(zip(by, values, strict=True))
        unit = Unit(prefix + _name(keys), (part,), keys, _size_of(part))
        if found.setdefault(unit.name, unit) is not unit:
            raise InvalidInputError(
                f"Two parts of the table are called {unit.name}: a column holds values that differ in type only. "
                "Convert it to one type first.",
                name=unit.name,
            )
    return Listing(list(found.values()))


def _size_of(part: Any) -> int | None:
    if hasattr(part, "nbytes"):
        return int(part.nbytes)
    return int(part.estimated_size()) if hasattr(part, "estimated_size") else None


def _arrow_parts(table: Any, by: list[str]) -> Parts:
    import pyarrow as pa

    place = "place"
    while place in by:
        place += "_"
    numbered = table.select(by).append_column(place, pa.array(range(len(table)), pa.int64()))
    # With threads the places of a group would come in any order.
    groups = numbered.group_by(by, use_threads=False).aggregate([(place, "list")])
    for row in groups.to_pylist():
        yield tuple(row[name] for name in by), table.take(pa.array(row[f"{place}_list"], pa.int64()))


def _pandas_parts(table: Any, by: list[str]) -> Parts:
    import pandas as pd

    for values, part in table.groupby(by, sort=False, dropna=False, observed=True):
        yield tuple(None if pd.isna(value) else value for value in values), part


def _polars_parts(table: Any, by: list[str]) -> Parts:
    yield from table.partition_by(by, as_dict=True, maintain_order=True).items()


# -- a Parquet data set --------------------------------------------------------------------------------


def _listed_folder(found: Units, by: list[str], prefix: str, root: str) -> Listing:
    listing = found.listed_anew()
    parts: dict[tuple[tuple[tuple[str, str], ...], str], list[tuple[Unit, dict[str, str]]]] = {}
    for unit in listing.units:
        if unit.name.rpartition("/")[2].startswith("_"):
            continue  # _SUCCESS, _metadata
        keys = _keys_in(unit.name[len(root.rstrip("/")) :])
        if missing := [column for column in by if column not in keys]:
            raise InvalidInputError(
                f"{unit.name} is in no folder {missing[0]}=...; its keys: {', '.join(keys) or 'none'}. Read the data "
                "set and split the table itself by that column.",
                path=unit.name,
            )
        chosen = tuple((key, value) for key, value in keys.items() if not by or key in by)
        parts.setdefault((chosen, "" if chosen else unit.name), []).append((unit, keys))
    units = [_part(prefix, dict(chosen), name, members) for (chosen, name), members in sorted(parts.items())]
    return Listing(units, listing.looks)


def _part(prefix: str, keys: dict[str, str], name: str, members: list[tuple[Unit, dict[str, str]]]) -> Unit:
    sizes = [unit.size_bytes for unit, _ in members]
    size = None if None in sizes else sum(size for size in sizes if size is not None)
    value = Partition([(unit.value, columns) for unit, columns in members])
    return Unit(prefix + (name or _name(keys)), (value,), keys, size)


def _keys_in(path: str) -> dict[str, str]:
    """The keys that the folders of a path name: {"day": "2024-01-01"} of `day=2024-01-01/part-0.parquet`."""
    pairs = [part.partition("=") for part in path.split("/")[:-1] if "=" in part]
    return {unquote(key): unquote(value) for key, _, value in pairs if key}
