"""Groups of values: `alike` ones must have one digest, `distinct` ones a digest each; made afresh by functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Make = Callable[[], Any]


@dataclass(frozen=True)
class Group:
    """A claim about some values, and its name."""

    name: str
    makes: tuple[Make, ...]
    alike: bool

    @property
    def pairs(self) -> int:
        return len(self.makes) * (len(self.makes) - 1) // 2


class Groups(list[Group]):
    """The claims of one module, in order."""

    def alike(self, name: str, *makes: Make) -> None:
        self.append(Group(name, makes, alike=True))

    def distinct(self, name: str, *makes: Make) -> None:
        self.append(Group(name, makes, alike=False))
