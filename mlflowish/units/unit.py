"""One unit of work, and what a listing of units is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlflowish.errors import InvalidInputError
from mlflowish.store.distant import Look


@dataclass(frozen=True, slots=True, eq=False)
class Unit:
    """One piece of data to call a step with. Unpack it into a call: `step(*unit)`.

    `name`: a path or URL as it is in the pattern, `date=2024-01-01` of a partition, the names of its parts joined by
    ` + ` where inputs were combined. `values`: one for each input. `keys`: the named parts of a pattern, or what a
    partition or group is by. `size_bytes` is None where a listing does not tell it.
    """

    name: str
    values: tuple[Any, ...]
    keys: Mapping[str, Any] = field(default_factory=dict)
    size_bytes: int | None = None

    @property
    def value(self) -> Any:
        """The value of a unit that has one."""
        if len(self.values) != 1:
            raise InvalidInputError(f"The unit {self.name} has {len(self.values)} values: use unit.values")
        return self.values[0]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values)

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True, slots=True)
class Listing:
    """Units as they were found at one moment, and what servers said of remote files then."""

    units: Sequence[Unit]
    looks: Mapping[str, Look] = field(default_factory=dict)
