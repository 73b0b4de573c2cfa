"""Codec `items`: what a generator gave, drained a chunk at a time, and read back so as often as one likes.

Neither side holds more than a chunk in memory. An item that can change is encoded before the generator goes on:
generators like to yield the same array again and again. A chunk's *payload* is one plain stream `(values, [(place,
codec, head, number of parts), ...])`: the items that cannot change as they are, the others by what their codec made
of them. The chunk's parts are those of its items, then its payload, unless that rests in the head, as a single
small one does.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import accumulate, chain
from typing import Any, NamedTuple, overload

from mlflowish.codecs.base import Declined, Encoded, Part, PartReader
from mlflowish.codecs.coding import encode
from mlflowish.codecs.refusals import damaged, refused_by_policy, sense_made, unstorable
from mlflowish.codecs.replay import Replay
from mlflowish.codecs.slabs import buffers_part
from mlflowish.codecs.streams import dump, load
from mlflowish.codecs.tree import decode_with
from mlflowish.errors import UncacheableError

_CHUNK_BYTES = 1 << 20
_CHUNK_ITEMS = 16_384
_FIXED = frozenset({type(None), bool, int, float, complex, str, bytes})

StorePart = Callable[[Part], PartReader]


class _Returned(NamedTuple):
    """What the generator returned, if not None: its parts follow those of all chunks."""

    codec: str
    head: bytes
    parts: int
    executes_code: bool


class _Chunk(NamedTuple):
    """`length` items in `parts` parts; the payload is the last of them if it is not here."""

    length: int
    parts: int
    payload: bytes | None
    executes_code: bool


class Items(Replay):
    """The stored items of a generator, in order: iterate as often as you like, `len()`, index, slice; or `next()`.

    Items are read back chunk by chunk (about 1 MiB) as the iteration goes, and are new objects each time. What the
    generator returned is the value of `yield from items`.
    """

    __slots__ = (
        "__weakref__",
        "_allow_pickle",
        "_chunks",
        "_digest",
        "_ends",
        "_head",
        "_parts",
        "_returned",
        "_starts",
    )

    def __init__(self, head: bytes, parts: Sequence[PartReader], *, allow_pickle: bool = True) -> None:
        self._head = head
        self._parts = tuple(parts)
        self._allow_pickle = allow_pickle
        self._reading = None
        self._digest, self._chunks, self._returned = _read_index(head, self._parts)
        self._ends = list(accumulate(chunk.length for chunk in self._chunks))
        self._starts = list(accumulate((chunk.parts for chunk in self._chunks), initial=0))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def read(self) -> Generator[Any, None, Any]:
        """All items, from the first; holds one chunk at a time."""
        for number in range(len(self._chunks)):
            yield from self._load(number)
        return None if self._returned is None else self._load_returned(self._returned)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return self._pick(range(len(self))[index])
        place = range(len(self))[index]
        return self._pick(range(place, place + 1))[0]

    def __repr__(self) -> str:
        return f"Items({len(self):,} items in {len(self._chunks):,} chunks)"

    def __mlf_digest__(self) -> bytes:
        self.whole("Identifying")
        return b"items" + self._digest

    def __reduce__(self) -> tuple[Any, ...]:
        self.whole("Pickling")
        return _rebuilt, (self._head, self._parts, self._allow_pickle)

    @property
    def executes_code(self) -> bool:
        """Does reading some item run stored code (pickle)?"""
        return any(found.executes_code for found in (*self._chunks, self._returned) if found is not None)

    def encoded(self) -> Encoded:
        """The items as they lie, for an entry of their own: the same parts, nothing decoded."""
        self.whole("Storing")
        parts = tuple(Part(reader.chunks, reader.size_bytes) for reader in self._parts)
        return Encoded("items", self._head, parts, self.executes_code)

    def _load(self, number: int) -> list[Any]:
        chunk, first = self._chunks[number], self._starts[number]
        parts = self._parts[first : first + chunk.parts]
        payload = chunk.payload
        if payload is None:
            payload, parts = bytes(parts[-1].buffer()), parts[:-1]
        items = _assembled(payload, parts, allow_pickle=self._allow_pickle)
        if len(items) != chunk.length:
            raise damaged("items", f"chunk {number} holds {len(items)} items and not {chunk.length}")
        return items

    def _load_returned(self, stored: _Returned) -> Any:
        parts = self._parts[self._starts[-1] : self._starts[-1] + stored.parts]
        return decode_with(stored.codec, stored.head, parts, allow_pickle=self._allow_pickle)

    def _pick(self, places: range) -> list[Any]:
        picked = []
        number, items = -1, []
        for place in places:
            wanted = bisect_right(self._ends, place)
            if wanted != number:
                number, items = wanted, self._load(wanted)
            picked.append(items[place - self._ends[number]])
        return picked


def _rebuilt(head: bytes, parts: tuple[PartReader, ...], allow_pickle: bool) -> Items:
    return Items(head, parts, allow_pickle=allow_pickle)


class ItemsCodec:
    """Reads what `drain` wrote, and stores `Items` again without decoding them."""

    name = "items"
    executes_code = False

    def encode(self, value: Any, *, inline_limit: int) -> Encoded:
        if type(value) is not Items:
            raise Declined("only what a generator gave is stored as items")
        return value.encoded()

    def decode(self, head: bytes, parts: Sequence[PartReader], *, allow_pickle: bool) -> Any:
        items = Items(head, parts, allow_pickle=allow_pickle)
        if items.executes_code and not allow_pickle:
            # Now, and not in the middle of somebody's loop.
            raise refused_by_policy(self.name)
        return items


class ItemsWriter:
    """Encodes item after item and stores chunk after chunk; `draining.py` feeds it."""

    def __init__(self, store_part: StorePart, digest_item: Callable[[Any], bytes] | None, inline_limit: int) -> None:
        from blake3 import blake3

        self._store_part = store_part
        self._digest_item = digest_item
        self._inline_limit = inline_limit
        self._hasher = blake3()
        self._chunks: list[_Chunk] = []
        self._parts: list[PartReader] = []
        self._length = 0
        self._begin()

    def add(self, item: Any) -> None:
        """One more item."""
        if len(self._values) >= _CHUNK_ITEMS or self._size_bytes >= _CHUNK_BYTES:
            self._flush(self._payload())
        digest = self._digest_item(item) if self._digest_item is not None else b""
        if _is_fixed(item):
            self._values.append(item)
            self._size_bytes += 16 + (len(item) if isinstance(item, (str, bytes, tuple)) else 0)
        else:
            self._encode(item)
        self._hasher.update(digest)
        self._length += 1

    def finished(self, returned: Any = None) -> tuple[Items, Encoded]:
        """The whole, once the iterator is at its end and returned `returned`."""
        payload = self._payload()
        alone = not self._chunks and len(payload) <= self._inline_limit
        if alone:
            chunk = _Chunk(len(self._values), len(self._parts), payload, self._executes_code)
            self._hash(payload)
            chunks = [chunk]
        else:
            self._flush(payload)
            chunks = self._chunks
        ending = None if returned is None else self._end(returned)
        head = _index(self._hasher.digest(), chunks, ending)
        if len(head) > max(self._inline_limit, len(payload) * alone + 256):
            self._parts.append(self._store_part(buffers_part([head], ".pkl")))
            head = b""
        items = Items(head, self._parts)
        return items, Encoded("items", head, (), items.executes_code)

    def so_far(self) -> Iterator[Any]:
        """What was added, read back."""
        stored = Items(_index(b"", self._chunks), self._parts[: self._first_part])
        return chain(stored, _assembled(self._payload(), self._parts[self._first_part :], allow_pickle=True))

    def _begin(self) -> None:
        self._values: list[Any] = []
        self._encoded: list[tuple[int, str, bytes, int]] = []
        self._size_bytes = 0
        self._executes_code = False
        self._first_part = len(self._parts)

    def _encode(self, item: Any) -> None:
        try:
            encoded = encode(item, inline_limit=self._inline_limit)
        except UncacheableError as error:
            path = f"result[{self._length}]{str(error.data['path']).removeprefix('result')}"
            raise unstorable(path, str(error.data.get("reason", error))) from error
        readers = []
        for part in encoded.parts:
            readers.append(self._store_part(part))
            if self._digest_item is None:
                self._hash(*part.chunks())
        self._parts += readers
        self._encoded.append((len(self._values), encoded.codec, encoded.head, len(readers)))
        self._values.append(None)
        self._size_bytes += 32 + len(encoded.head)
        self._executes_code |= encoded.executes_code

    def _end(self, returned: Any) -> _Returned:
        """Keep what the generator returned, behind all items."""
        if self._digest_item is not None:
            self._hasher.update(b"returned" + self._digest_item(returned))
        encoded = encode(returned, inline_limit=self._inline_limit)
        self._hash(b"returned", encoded.head)
        for part in encoded.parts:
            self._parts.append(self._store_part(part))
            self._hash(*part.chunks())
        return _Returned(encoded.codec, encoded.head, len(encoded.parts), encoded.executes_code)

    def _payload(self) -> bytes:
        return dump((self._values, self._encoded)).joined()

    def _flush(self, payload: bytes) -> None:
        self._hash(payload)
        self._parts.append(self._store_part(buffers_part([payload], ".pkl")))
        self._chunks.append(_Chunk(len(self._values), len(self._parts) - self._first_part, None, self._executes_code))
        self._begin()

    def _hash(self, *pieces: Any) -> None:
        if self._digest_item is None:
            for piece in pieces:
                self._hasher.update(piece)


def _is_fixed(item: Any) -> bool:
    """Can neither the item nor anything in it change?"""
    kind = type(item)
    return kind in _FIXED or (kind is tuple and _FIXED.issuperset(map(type, item)))


def _assembled(payload: bytes, parts: Sequence[PartReader], *, allow_pickle: bool) -> list[Any]:
    values, encoded = _pair_of_lists(load(payload, codec="items"))
    first = 0
    with sense_made("items"):
        for place, codec, head, count in encoded:
            if not 0 <= count <= len(parts) - first or not 0 <= place < len(values) or type(head) is not bytes:
                raise damaged("items", f"item {place} wants {count} parts from {first} of {len(parts)}")
            values[place] = decode_with(codec, head, parts[first : first + count], allow_pickle=allow_pickle)
            first += count
    return values


def _pair_of_lists(found: Any) -> tuple[list[Any], list[Any]]:
    match found:
        case (list() as values, list() as encoded):
            return values, encoded
    raise damaged("items", "a chunk is of another form")


def _index(digest: bytes, chunks: list[_Chunk], returned: _Returned | None = None) -> bytes:
    rows = [tuple(chunk) for chunk in chunks]
    return dump((digest, rows) if returned is None else (digest, rows, tuple(returned))).joined()


def _read_index(head: bytes, parts: tuple[PartReader, ...]) -> tuple[bytes, list[_Chunk], _Returned | None]:
    if not head and not parts:
        raise damaged("items", "it has neither a head nor a part")
    found = load(head or bytes(parts[-1].buffer()), codec="items")
    try:
        digest, rows, *ending = found
        chunks = [_Chunk(*row) for row in rows]
        returned = _Returned(*ending[0]) if ending else None
        sound = type(digest) is bytes and all(_is_sound(chunk) for chunk in chunks)
        sound = sound and len(ending) < 2 and (returned is None or _is_sound_ending(returned))
    except (TypeError, ValueError):
        sound = False
    if not sound:
        raise damaged("items", "the list of its chunks is of another form")
    if sum(found.parts for found in (*chunks, returned) if found is not None) != len(parts) - (not head):
        raise damaged("items", f"its chunks have other parts than the {len(parts)} there are")
    return digest, chunks, returned


def _is_sound(chunk: _Chunk) -> bool:
    numbers = type(chunk.length) is int and type(chunk.parts) is int and chunk.length >= 0
    placed = type(chunk.payload) is bytes or (chunk.payload is None and chunk.parts >= 1)
    return numbers and placed and chunk.parts >= 0 and type(chunk.executes_code) is bool


def _is_sound_ending(returned: _Returned) -> bool:
    kinds = tuple(map(type, returned))
    return kinds == (str, bytes, int, bool) and returned.parts >= 0
