"""Large arguments on their way to other processes: stored once, and read from the store by each worker that needs them.

Nothing refers to what is lent, so a collection takes it away in time, as it does what was never finished.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from mlflowish.codecs import decode, encode
from mlflowish.errors import MlflowishError, UncacheableError
from mlflowish.storage import ObjectRef
from mlflowish.store import Store

LARGE_BYTES = 1 << 20
_REMEMBERED = 32
_FRESH_S = 600.0

_lent: OrderedDict[tuple[Store, bytes], tuple[float, Lent]] = OrderedDict()


@dataclass(frozen=True, slots=True)
class Lent:
    """Stands for an argument that rests in the store."""

    codec: str
    head: bytes
    objects: tuple[ObjectRef, ...]

    def load(self, store: Store) -> Any:
        """The argument: a new object, the caller's own."""
        readers = [store.objects.reader(ref) for ref in self.objects]
        return decode(self.codec, self.head, readers, allow_pickle=False)


def lend(store: Store, value: Any, digest: bytes | None) -> Any:
    """What travels in place of a large value; itself if it is small, or only pickle could store it. `digest` is that
    of the value: what was lent a moment ago is not stored again."""
    if size_bytes(value) < LARGE_BYTES:
        return value
    name = (store, digest or b"")
    known = _lent.get(name) if digest is not None else None
    if known is not None and time.monotonic() - known[0] < _FRESH_S:
        return known[1]
    try:
        encoded = encode(value)
        if encoded.executes_code:
            return value
        store.create()
        objects = tuple(store.objects.put_deferred(part.chunks, part.size_bytes) for part in encoded.parts)
    except (UncacheableError, MlflowishError, OSError):  # then it travels itself
        return value
    found = Lent(encoded.codec, encoded.head, objects)
    if digest is not None:
        _lent[name] = time.monotonic(), found
        while len(_lent) > _REMEMBERED:
            _lent.popitem(last=False)
    return found


def size_bytes(value: Any) -> int:
    """About how large it is, of types that say so at once; 0 for the others."""
    if isinstance(value, (bytes, bytearray, str)):
        return len(value)
    measure = getattr(type(value), "estimated_size", None)  # polars
    if measure is not None:
        return int(measure(value))
    size = getattr(value, "nbytes", None)  # arrays, Arrow tables, tensors, series
    if isinstance(size, int):
        return size
    usage = getattr(type(value), "memory_usage", None)  # frames of pandas
    if usage is not None:
        return int(usage(value).sum())
    return 0
