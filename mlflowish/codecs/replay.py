"""What stands for a generator: to be read as often as one likes, and also with `next()`, like the generator itself."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator, Iterator, Sequence
from typing import Any

from mlflowish.errors import InvalidInputError, UncacheableError


class Replay(Sequence[Any]):
    """Items in order, of which each loop gets all, until somebody calls `next()`.

    `next()` begins a reading that belongs to the object, as a generator's does: loops then give what is left of it
    (`head = next(rows); for row in rows: ...`) and all items again once it has come to its end. `close()` ends it.
    Whoever asks for an iterator again and again and never reads one to its end, as
    `while batch := list(islice(rows, n))` does, gets the first items each time, as from a list: that cannot be told
    from readers who each want the first few. Reading twice must not go wrong in silence; `iter(rows)` serves the
    other habit.
    `send()` is `next()`: the items are there already, and nobody listens to what is sent.
    """

    __slots__ = ("_reading",)

    _reading: Iterator[Any] | None

    @abstractmethod
    def read(self) -> Generator[Any, None, Any]:
        """All items, from the first; a new iterator each time."""

    def __iter__(self) -> Iterator[Any]:
        reading = self._reading
        return self.read() if reading is None or reading is _ENDED else self._rest()

    def __next__(self) -> Any:
        if self._reading is None:
            self._reading = self.read()
        try:
            return next(self._reading)
        except BaseException:
            self._reading = _ENDED  # like a generator, which is at its end once it raised
            raise

    def send(self, value: None) -> Any:
        """`next()`; InvalidInputError for anything but None, which the generator that made the items could not get."""
        if value is not None:
            raise InvalidInputError(
                f"send({type(value).__name__}) to the items of a step: the generator ran to its end before, or in "
                "another process, and cannot receive it. Pass the value as an argument of the step.",
                found=type(value).__name__,
            )
        return next(self)

    def throw(self, error: BaseException, /) -> Any:
        """Ends the reading that `next()` began, and raises `error`."""
        self.close()
        raise error

    def close(self) -> None:
        """Ends the reading that `next()` began; loops give all items."""
        self._reading = _ENDED

    def whole(self, doing: str) -> None:
        """UncacheableError if `next()` was used: what is left of a reading has no identity and cannot be stored."""
        if self._reading is not None:
            raise UncacheableError(
                f"{doing} the items of a step after next(), send() or close() was called on them: what is left of "
                "them has no identity, as a generator has none. Read with an iterator of its own, "
                "`rows = iter(items)`, or take list(items).",
                path="items",
                reason="next(), send() or close() was called on them",
            )

    def _rest(self) -> Generator[Any, None, Any]:
        while True:
            try:
                item = next(self)
            except StopIteration as end:
                return end.value
            yield item


_ENDED: Iterator[Any] = iter(())
