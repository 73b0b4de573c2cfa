"""What a generator gave, held in memory, when the store has no part in it: used like the stored `Items`."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import Any, overload

from mlflowish.codecs import Replay


class HeldItems(Replay):
    """The items of a generator step that is not cached; the same objects at each reading."""

    __slots__ = ("__weakref__", "_items", "_returned")

    def __init__(self, items: Iterable[Any], returned: Any = None) -> None:
        self._items = tuple(items)
        self._returned = returned
        self._reading = None

    @classmethod
    def drained(cls, iterator: Generator[Any, None, Any]) -> HeldItems:
        """All that an iterator gives, and what it returns at its end."""
        ending: list[Any] = []
        items = tuple(_until_the_end(iterator, ending))
        return cls(items, *ending)

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        return list(self._items[index]) if isinstance(index, slice) else self._items[index]

    def read(self) -> Generator[Any, None, Any]:
        """All items, from the first."""
        yield from self._items
        return self._returned

    def __repr__(self) -> str:
        return f"HeldItems({len(self):,} items in memory)"

    def __mlf_digest__(self) -> tuple[Any, ...]:
        self.whole("Identifying")
        return self._items, self._returned

    def __reduce__(self) -> tuple[Any, ...]:
        self.whole("Pickling")
        return type(self), (self._items, self._returned)


def _until_the_end(iterator: Generator[Any, None, Any], ending: list[Any]) -> Iterator[Any]:
    ending.append((yield from iterator))
