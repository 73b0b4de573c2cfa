"""What a fingerprint is made of, kept in the store: so that `explain` can say what changed since, with source and
values."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import msgpack

from mlflowish.errors import IntegrityError
from mlflowish.hashing import Fingerprint
from mlflowish.hashing.parts import Part
from mlflowish.store import Store

_KIND = "fingerprints"
_LIMIT = 20_000  # characters of one part's description


@dataclass(frozen=True, slots=True)
class StoredPart:
    """One dependency of a fingerprint, as it was when a result was computed with it."""

    label: str
    kind: str
    digest: str
    description: str


def remember(store: Store, fingerprint: Fingerprint) -> None:
    """Keep the parts of a fingerprint; at its first result in a store only."""
    journals = store.journals(_KIND)
    if not journals.get(fingerprint.digest):
        rows = [(*recorded[:3], recorded[3][:_LIMIT]) for recorded in map(Part.recorded, fingerprint.parts)]
        packed: Any = msgpack.packb(rows, unicode_errors="surrogatepass")
        journals.append(fingerprint.digest, zlib.compress(packed))


def recall(store: Store, digest: bytes) -> list[StoredPart] | None:
    """The parts kept for a fingerprint digest, None if they are not there."""
    for payload in store.journals(_KIND).get(digest):
        try:
            rows = msgpack.unpackb(zlib.decompress(payload), unicode_errors="surrogatepass")
            return [StoredPart(*row[:4]) for row in rows]
        except (ValueError, TypeError, zlib.error) as error:
            raise IntegrityError(f"the parts of fingerprint {digest.hex()} cannot be parsed: {error}") from error
    return None
