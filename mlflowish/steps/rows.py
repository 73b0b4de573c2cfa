"""The rows of a map: one item of each iterable, in step; units give what they are made of, and their names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from itertools import zip_longest
from typing import Any

from mlflowish.errors import InvalidInputError
from mlflowish.store import File
from mlflowish.store.distant import Look, content_of, is_known, trusting
from mlflowish.store.files import shown_path
from mlflowish.units import Unit, Units
from mlflowish.units.sequence import files_in, is_read, merged

_READERS = 16
_ENDED: Any = object()


class Rows:
    """The arguments of each call of a map, in order. Units are listed when this is made.

    `units`: those of the first `Units` among the iterables, None if there are none. `looks`: what servers said of their
    files. InvalidInputError if there are no iterables, or (while they are gone through) they are not equally long.
    """

    def __init__(self, name: str, iterables: tuple[Any, ...]) -> None:
        if not iterables or not all(isinstance(items, Iterable) for items in iterables):
            found = f", found {', '.join(type(items).__name__ for items in iterables)}" if iterables else ""
            raise InvalidInputError(f"{name}.map takes at least one iterable of items, {name}.map(xs, ...){found}")
        self._name = name
        listings = {place: items.listed_anew() for place, items in enumerate(iterables) if isinstance(items, Units)}
        self._columns = [listings[place].units if place in listings else x for place, x in enumerate(iterables)]
        self.units: Sequence[Unit] | None = next((listing.units for listing in listings.values()), None)
        self.looks: dict[str, Look] = merged(list(listings.values()))

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        for row in zip_longest(*self._columns, fillvalue=_ENDED):
            if any(item is _ENDED for item in row):
                raise InvalidInputError(
                    f"{self._name}.map goes through its iterables in step, and they are not equally long. Give what is "
                    f"the same for all items by its name: {self._name}.map(xs, y=...)."
                )
            yield tuple(value for item in row for value in (item.values if isinstance(item, Unit) else (item,)))

    def read_ahead(self) -> ReadAhead:
        """Reads what is to be identified and is known to nobody, several files at a time."""
        return ReadAhead(self.units or (), self.looks)

    def are_read(self) -> bool:
        """Are the contents of all files known without reading one? In a block that trusts `looks`."""
        return all(map(is_read, self.units or ()))

    def all_read(self) -> None:
        """Come back when every file that nobody knew has been read, or cannot be."""
        with self.read_ahead() as ahead:
            for place in range(len(self.units or ())):
                ahead.wait(place)

    def label(self, place: int) -> str:
        """How a row is called in messages."""
        name = self.name_of(place)
        return f"index {place} ({name})" if name else f"index {place}"

    def name_of(self, place: int) -> str:
        """The name of the unit of a row, without what a URL may have of passwords and signatures; "" if it has none."""
        return "" if self.units is None else shown_path(self.units[place].name)


class ReadAhead:
    """In its block, remote files that nobody has read are being read, in order, ahead of whoever waits for them."""

    def __init__(self, units: Sequence[Unit], looks: dict[str, Look]) -> None:
        self._units, self._looks = units, looks
        self._pool: ThreadPoolExecutor | None = None
        self._reading: dict[str, Future[bytes]] = {}
        self._urls: dict[int, list[str]] = {}

    def __enter__(self) -> ReadAhead:
        if self._looks:
            with trusting(self._looks):
                for place, unit in enumerate(self._units):
                    files = [file for value in unit for file in files_in(value) if file.path in self._looks]
                    self._urls[place] = [file.path for file in files if self._is_begun(file)]
        return self

    def _is_begun(self, file: File) -> bool:
        """Begin to read a file, unless what it holds is known without a request."""
        url, options = file.path, file.storage_options
        if url not in self._reading and not (self._looks[url].mark and is_known(url, options)):
            if self._pool is None:
                self._pool = ThreadPoolExecutor(_READERS, thread_name_prefix="mlflowish-read")
            self._reading[url] = self._pool.submit(copy_context().run, content_of, url, options)
        return url in self._reading

    def wait(self, place: int) -> None:
        """Come back when the files of this unit are read, or cannot be: whoever identifies them then finds out."""
        for url in self._urls.pop(place, ()):
            reading = self._reading[url]
            if reading.exception() is None and not self._looks[url].mark:
                self._looks[url] = replace(self._looks[url], content=reading.result())

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
