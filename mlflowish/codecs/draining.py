"""Taking everything out of a generator, plain or async, and storing it as it comes, a chunk at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator
from itertools import chain
from typing import Any

from mlflowish.codecs.base import INLINE_LIMIT, Encoded
from mlflowish.codecs.items import Items, ItemsWriter, StorePart


def drain(
    iterator: Iterable[Any],
    store_part: StorePart,
    *,
    digest_item: Callable[[Any], bytes] | None = None,
    inline_limit: int = INLINE_LIMIT,
) -> tuple[Items, Encoded]:
    """Take everything out of `iterator`, storing as it comes: the items as the caller gets them, and the entry's form.

    `store_part` is called for each part in the order in which the entry must list them, and gives its reader; the
    `Encoded` has no parts of its own. `digest_item` gives the digest of one item (of one length), so that equal
    items make an equal whole in every process; without it the digest is of the encoded bytes, which are equal
    whenever the same code drains the same plain items. What the iterator raises passes through: the parts stored so
    far are then garbage.

    UncacheableError with `.path` such as `result[17].conn` when an item cannot be stored. On any failure to store,
    the exception's `.rescued` is a generator of all items, those drained so far included, so that nothing computed
    is lost.
    """
    source = _Source(iterator)
    writer = ItemsWriter(store_part, digest_item, inline_limit)
    for item in source:
        try:
            writer.add(item)
        except Exception as error:
            error.rescued = source.resumed(chain(writer.so_far(), [item]))  # type: ignore[attr-defined]  # ours
            raise
    try:
        return writer.finished(source.returned)
    except Exception as error:
        error.rescued = source.resumed(writer.so_far())  # type: ignore[attr-defined]  # the same
        raise


async def drain_async(
    iterator: AsyncIterator[Any],
    store_part: StorePart,
    *,
    digest_item: Callable[[Any], bytes] | None = None,
    inline_limit: int = INLINE_LIMIT,
) -> tuple[Items, Encoded]:
    """The same for an async generator, in the task that awaits it: storing a chunk holds up its event loop.

    When an item cannot be stored the rest is taken into memory at once, for `.rescued` to give.
    """
    writer = ItemsWriter(store_part, digest_item, inline_limit)
    async for item in iterator:
        try:
            writer.add(item)
        except Exception as error:
            rest = [item, *[later async for later in iterator]]
            error.rescued = _Source(()).resumed(chain(writer.so_far(), rest))  # type: ignore[attr-defined]  # ours
            raise
    try:
        return writer.finished()
    except Exception as error:
        error.rescued = _Source(()).resumed(writer.so_far())  # type: ignore[attr-defined]  # the same
        raise


class _Source:
    """An iterator that also keeps what the generator returned at its end."""

    def __init__(self, iterator: Iterable[Any]) -> None:
        self._iterator = iter(iterator)
        self.returned: Any = None

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            return next(self._iterator)
        except StopIteration as end:
            self.returned = end.value if self.returned is None else self.returned
            raise

    def resumed(self, drained: Iterable[Any]) -> Generator[Any, None, Any]:
        """What was taken already, then what is left; ends as the generator does."""
        yield from drained
        yield from self
        return self.returned
