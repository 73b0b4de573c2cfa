"""What a map over units gives: the results in order, each under the name of its unit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mlflowish.errors import InvalidInputError, NotFoundError, nearest
from mlflowish.units.unit import Unit


class Results(list[Any]):
    """The results of a map over units: a list, in the order of `units`, and by name: `results["data/a.csv"]`.

    Of the units as they were listed for the map: what has vanished since the last one is not in it.
    """

    def __init__(self, values: Sequence[Any], units: Sequence[Unit]) -> None:
        super().__init__(values)
        if len(units) != len(self):
            raise InvalidInputError(f"There are {len(self)} results of {len(units)} units", found=len(self))
        self.units = list(units)
        self._places = {unit.name: place for place, unit in enumerate(self.units)}

    @property
    def names(self) -> list[str]:
        """The names of the units, in order."""
        return [unit.name for unit in self.units]

    def items(self) -> Iterator[tuple[str, Any]]:
        """(name of the unit, result), in order."""
        return zip(self.names, self, strict=True)

    def to_dict(self) -> dict[str, Any]:
        """The results by name."""
        return dict(self.items())

    def __getitem__(self, place: Any) -> Any:
        if not isinstance(place, str):
            return super().__getitem__(place)
        if place not in self._places:
            near = nearest(place, self._places)
            raise NotFoundError(f"There is no result of a unit {place!r}; near: {near}", name=place, near=near)
        return super().__getitem__(self._places[place])

    def __mlf_digest__(self) -> tuple[list[str], list[Any]]:
        return self.names, list(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return Results, (list(self), self.units)
