"""Units of several inputs: each with each, matched, together, or one after the other."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Literal, overload

from mlflowish.errors import InvalidInputError
from mlflowish.units.matching import By, Match, keys_of, matcher, ordered, title
from mlflowish.units.sequence import Source, Units, merged
from mlflowish.units.unit import Listing, Unit

How = Literal["inner", "left", "outer"]
_BETWEEN = " + "
_ABSENT = "-"


def cross(*inputs: Units) -> Units:
    """Each unit of each input with each of the others: the step gets one argument from each input.

    >>> import mlflowish as mf
    >>> from pathlib import Path
    >>> for name in ("a.txt", "b.txt", "model.bin"):
    ...     _ = Path(name).write_text(name)
    >>> mf.cross(mf.files("*.txt"), mf.files("model.bin")).names
    ['a.txt + model.bin', 'b.txt + model.bin']
    """
    return _combined(partial(_crossed, inputs), inputs, "cross")


def join(*inputs: Units, on: By = None, how: How = "inner") -> Units:
    """The units of several inputs that belong together: the step gets one argument from each input.

    `on`: a key, or several, that patterns or partitions name; a regular expression, whose groups are looked for in the
    names; or a function of a unit. By default all keys that the inputs have in common. `how`: "inner" leaves out what
    is not in every input, "left" what is not in the first, "outer" nothing: the step gets None for what is not there.
    Several units of one input with the same key go with each of the others.

    >>> import mlflowish as mf
    >>> from pathlib import Path
    >>> for name in ("1.png", "2.png", "2.txt"):
    ...     _ = Path(name).write_text(name)
    >>> images, labels = mf.files("{id}.png"), mf.files("{id}.txt")
    >>> mf.join(images, labels, on="id").names
    ['2.png + 2.txt']
    >>> mf.join(images, labels, on=r"(\\d+)", how="outer").names
    ['1.png + -', '2.png + 2.txt']
    """
    if how not in ("inner", "left", "outer"):
        raise InvalidInputError(f"how is 'inner', 'left' or 'outer', found {how!r}", found=how)
    return _combined(partial(_joined, inputs, on, how), inputs, "join")


def group(*inputs: Units, by: By) -> Units:
    """A unit for each value of `by`, as `on` of `join`: the step gets a list from each input, of what has that value.

    >>> import mlflowish as mf
    >>> from pathlib import Path
    >>> for name in ("s1-1.txt", "s1-2.txt", "s2-1.txt"):
    ...     _ = Path(name).write_text(name)
    >>> for unit in mf.group(mf.files("{subject}-{session}.txt"), by="subject"):
    ...     print(unit.name, [file.name for file in unit.value])
    subject=s1 ['s1-1.txt', 's1-2.txt']
    subject=s2 ['s2-1.txt']
    """
    return _combined(partial(_grouped, inputs, by), inputs, "group")


def union(*inputs: Units) -> Units:
    """The units of one input after those of the other; what is in several of them, once.

    >>> import mlflowish as mf
    >>> from pathlib import Path
    >>> for name in ("a.txt", "b.csv"):
    ...     _ = Path(name).write_text(name)
    >>> mf.union(mf.files("*.txt"), mf.files("*.csv"), mf.files("a*")).names
    ['a.txt', 'b.csv']
    """
    return _combined(partial(_united, inputs), inputs, "union")


def _combined(source: Source, inputs: Sequence[Any], what: str) -> Units:
    wrong = [item for item in inputs if not isinstance(item, Units)]
    if wrong or not inputs:
        found = f"found {type(wrong[0]).__name__}" if wrong else "found none"
        if wrong and type(wrong[0]).__name__ == "Node":
            found = (
                f"found {wrong[0]!r}, which has not run yet in the body of its pipeline. Let a step take it, combine "
                "it, and return the units: step.map(node) goes over them"
            )
        raise InvalidInputError(f'{what} takes units, such as mf.files("*.csv") and mf.partitions(table): {found}')
    is_fixed = all(units.is_fixed for units in inputs)
    return Units(source, f"{what} of {len(inputs)} inputs", is_fixed=is_fixed)


# -- cross ---------------------------------------------------------------------------------------------


def _crossed(inputs: tuple[Units, ...]) -> Listing:
    listings = [units.listed_anew() for units in inputs]
    return Listing(_Product([listing.units for listing in listings]), merged(listings))


class _Product(Sequence[Unit]):
    """Each with each, made when it is asked for: a thousand times a thousand fit in no memory."""

    def __init__(self, inputs: list[Sequence[Unit]]) -> None:
        self._inputs = inputs

    def __len__(self) -> int:
        return math.prod(len(units) for units in self._inputs)

    @overload
    def __getitem__(self, place: int) -> Unit: ...
    @overload
    def __getitem__(self, place: slice) -> list[Unit]: ...
    def __getitem__(self, place: int | slice) -> Unit | list[Unit]:
        if isinstance(place, slice):
            return [self[one] for one in range(len(self))[place]]
        rest, parts = range(len(self))[place], []
        for units in reversed(self._inputs):
            rest, one = divmod(rest, len(units))
            parts.append(units[one])
        return _together(parts[::-1])


def _together(parts: Iterable[Unit | int]) -> Unit:
    """One unit of several; a number stands for one that is not there, with so many values."""
    found = list(parts)
    units = [part for part in found if isinstance(part, Unit)]
    values = tuple(v for part in found for v in (part.values if isinstance(part, Unit) else (None,) * part))
    sizes = [unit.size_bytes for unit in units]
    return Unit(
        _BETWEEN.join(part.name if isinstance(part, Unit) else _ABSENT for part in found),
        values,
        {name: value for unit in units for name, value in unit.keys.items()},
        None if None in sizes else sum(size for size in sizes if size is not None),
    )


# -- join, group ---------------------------------------------------------------------------------------


def _matched(inputs: tuple[Units, ...], by: By, what: str) -> tuple[list[Listing], list[dict[Match, list[Unit]]]]:
    """What each input has for each match, in the order of the input."""
    listings = [units.listed_anew() for units in inputs]
    match: Callable[[Unit], Match] = matcher(by, [listing.units for listing in listings], what=what)
    tables: list[dict[Match, list[Unit]]] = []
    for listing in listings:
        table: dict[Match, list[Unit]] = {}
        for unit in listing.units:
            table.setdefault(match(unit), []).append(unit)
        tables.append(table)
    return listings, tables


def _joined(inputs: tuple[Units, ...], on: By, how: How) -> Listing:
    listings, tables = _matched(inputs, on, "on")
    every = list(dict.fromkeys(found for table in tables for found in table))
    wanted = {"outer": every, "left": list(tables[0]), "inner": [m for m in every if all(m in t for t in tables)]}[how]
    widths = [len(listing.units[0]) if len(listing.units) else 1 for listing in listings]
    rows: list[tuple[Unit | int, ...]] = []
    for match in wanted:
        parts: list[Sequence[Unit | int]] = [t.get(match) or [width] for t, width in zip(tables, widths, strict=True)]
        rows += itertools.product(*parts)
    units = [_together(row) for row in rows]
    return Listing(units, merged(listings))


def _grouped(inputs: tuple[Units, ...], by: By) -> Listing:
    listings, tables = _matched(inputs, by, "by")
    every = sorted({found for table in tables for found in table}, key=lambda found: [*map(ordered, found[1])])
    units = [_group_of(found, [table.get(found, []) for table in tables]) for found in every]
    return Listing(units, merged(listings))


def _group_of(match: Match, parts: list[list[Unit]]) -> Unit:
    values = tuple([unit.value if len(unit) == 1 else unit.values for unit in units] for units in parts)
    sizes = [unit.size_bytes for units in parts for unit in units]
    size = None if None in sizes else sum(size for size in sizes if size is not None)
    return Unit(title(match), values, keys_of(match), size)


# -- union ---------------------------------------------------------------------------------------------


def _united(inputs: tuple[Units, ...]) -> Listing:
    listings = [units.listed_anew() for units in inputs]
    found: dict[str, Unit] = {}
    for listing in listings:
        for unit in listing.units:
            other = found.setdefault(unit.name, unit)
            if other is not unit and not _is_same(other, unit):
                raise InvalidInputError(
                    f"union: two units are named {unit.name!r} and are not the same file. Give partitions a name: "
                    'mf.partitions(table, by="day", name="sales")',
                    name=unit.name,
                )
    return Listing(list(found.values()), merged(listings))


def _is_same(one: Unit, other: Unit) -> bool:
    paths = [[getattr(value, "path", None) for value in unit.values] for unit in (one, other)]
    return paths[0] == paths[1] and None not in paths[0]
