"""Units: a sequence of pieces of data, listed when they are asked for, each worked on once."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, overload

from mlflowish.errors import InvalidInputError, NotFoundError, nearest
from mlflowish.store import File, Table
from mlflowish.store.distant import Look, is_known, trusting
from mlflowish.units.partition import Partition
from mlflowish.units.unit import Listing, Unit

Source = Callable[[], Listing]


class Asked(Protocol):
    """What a preview needs of a step."""

    def is_cached(self, /, *args: Any, **kwargs: Any) -> bool: ...


class Units(Sequence[Unit]):
    """Pieces of data to map a step over: `step.map(units)`. Made by `files`, `partitions`, `cross`, `join`, `group` and
    `union`.

    A sequence in a fixed order: `units[3]`, `units["data/a.csv"]`, `units[:10]`, `len(units)`. It is listed at the
    first use; `map`, `preview` and `refresh` list it anew. Listing reads no content. `is_fixed`: each listing gives the
    same, because it is of what is in memory.
    """

    def __init__(self, source: Source, shown: str, *, is_fixed: bool = False) -> None:
        self._source = source
        self._shown = shown
        self.is_fixed = is_fixed
        self._listing: Listing | None = None
        self._places: dict[str, int] | None = None

    def refresh(self) -> Units:
        """The same object, listed anew."""
        self.listed_anew()
        return self

    def listed_anew(self) -> Listing:
        """What is there now."""
        self._listing, self._places = self._source(), None
        return self._listing

    def listed(self) -> Listing:
        """What was there when it was listed last."""
        return self.listed_anew() if self._listing is None else self._listing

    # -- as a sequence -----------------------------------------------------------------------------

    @property
    def names(self) -> list[str]:
        """The names of all units, in order."""
        return [unit.name for unit in self.listed().units]

    def __len__(self) -> int:
        return len(self.listed().units)

    @overload
    def __getitem__(self, place: int | str) -> Unit: ...
    @overload
    def __getitem__(self, place: slice) -> Units: ...
    def __getitem__(self, place: int | str | slice) -> Unit | Units:
        if isinstance(place, slice):
            return Units(partial(_sliced, self, place), f"{self._shown}[{_bounds(place)}]", is_fixed=self.is_fixed)
        return self.listed().units[self._place_of(place) if isinstance(place, str) else place]

    def __contains__(self, wanted: object) -> bool:
        name = wanted.name if isinstance(wanted, Unit) else wanted
        return name in self._by_name()

    def _by_name(self) -> dict[str, int]:
        if self._places is None:
            self._places = {unit.name: place for place, unit in enumerate(self.listed().units)}
        return self._places

    def _place_of(self, name: str) -> int:
        places = self._by_name()
        if name not in places:
            near = nearest(name, places)
            raise NotFoundError(f"There is no unit {name!r} in {self!r}; near: {near}", name=name, near=near)
        return places[name]

    def filter(self, keep: str | Callable[[Unit], bool]) -> Units:
        """Those whose name matches a pattern (`"*/2024/*"`), or for which `keep(unit)` is true.

        >>> import mlflowish as mf
        >>> table = {"city": ["Rome", "Oslo", "Bonn"], "n": [1, 2, 3]}
        >>> import pyarrow as pa
        >>> mf.partitions(pa.table(table), by="city").filter("city=*o*").names
        ['city=Bonn', 'city=Oslo', 'city=Rome']
        """
        if not isinstance(keep, str) and not callable(keep):
            raise InvalidInputError(f"filter takes a pattern of names, or a function of a unit, found {keep!r}")
        return Units(partial(_filtered, self, keep), f"{self._shown}.filter(...)", is_fixed=self.is_fixed)

    def preview(self, step: Asked | None = None, /, **common: Any) -> Table:
        """What a `map` would go through now: a row for each unit with its name, keys and size. With a step also
        `state`: `hit`, `run`, or `unknown` for a remote file that nobody has read yet. Runs nothing, downloads nothing.
        """
        listing = self.listed_anew()
        keys = list(dict.fromkeys(key for unit in listing.units for key in unit.keys))
        columns = ["name", *keys, "size_bytes", *(["state"] if step is not None else [])]
        rows = []
        with trusting(listing.looks):
            for unit in listing.units:
                row = [unit.name, *(unit.keys.get(key) for key in keys), size_of(unit)]
                rows.append(row if step is None else [*row, _state_of(unit, step, common)])
        return Table(columns, rows)

    def __repr__(self) -> str:
        count = "not listed yet" if self._listing is None else f"{len(self._listing.units):,} units"
        return f"<{self._shown}: {count}>"

    def _repr_html_(self) -> str:
        return str(self.preview()._repr_html_())

    def __mlf_digest__(self) -> list[tuple[str, tuple[Any, ...]]]:
        listing = self.listed_anew()
        return [(unit.name, unit.values) for unit in listing.units]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_listing": None, "_places": None}  # whoever gets it lists what is there then


def size_of(unit: Unit) -> int | None:
    """The bytes of its files, as listed, or as they are; None if it has other values."""
    if unit.size_bytes is not None:
        return unit.size_bytes
    files = [file for value in unit.values for file in files_in(value)]
    if not files or not all(file.is_local for file in files):
        return None
    return sum(os.stat(file.path).st_size for file in files if os.path.exists(file.path))


def files_in(value: Any) -> list[File]:
    """The files of a unit's value: itself, of a list of them, or of a partition."""
    if isinstance(value, File):
        return [value]
    if isinstance(value, (list, tuple)):
        return [file for item in value for file in files_in(item)]
    return list(value.files) if isinstance(value, Partition) else []


def is_read(unit: Unit) -> bool:
    """Are the contents of all its files known without a download?"""
    return all(
        file.is_local or is_known(file.path, file.storage_options) for value in unit.values for file in files_in(value)
    )


def _state_of(unit: Unit, step: Asked, common: dict[str, Any]) -> str:
    try:
        if not is_read(unit):
            return "unknown"
        return "hit" if step.is_cached(*unit.values, **common) else "run"
    except NotFoundError:
        return "missing"


def _sliced(units: Units, place: slice) -> Listing:
    listing = units.listed_anew()
    return Listing(listing.units[place], listing.looks)


def _filtered(units: Units, keep: str | Callable[[Unit], bool]) -> Listing:
    listing = units.listed_anew()
    wanted = partial(_is_named, keep) if isinstance(keep, str) else keep
    return Listing([unit for unit in listing.units if wanted(unit)], listing.looks)


def _is_named(pattern: str, unit: Unit) -> bool:
    return fnmatch.fnmatchcase(unit.name, pattern)


def _bounds(place: slice) -> str:
    return ":".join("" if part is None else str(part) for part in (place.start, place.stop))


def merged(listings: Sequence[Listing]) -> dict[str, Look]:
    """What servers said in all of these listings."""
    return {url: look for listing in listings for url, look in listing.looks.items()}
