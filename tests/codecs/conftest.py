"""Parts that rest in memory, and the round trip through them."""

from __future__ import annotations

import pytest

from mlflowish.codecs import decode, encode


class StoredPart:
    """A part as a store would keep it; each reader gets a buffer of its own, as from a copy-on-write map."""

    def __init__(self, part):
        slabs = [bytes(slab) for slab in part.chunks()]
        assert all(len(slab) <= 4 << 20 for slab in slabs)
        self._data = b"".join(slabs)
        assert len(self._data) == part.size_bytes

    @property
    def size_bytes(self):
        return len(self._data)

    def buffer(self):
        return memoryview(bytearray(self._data))

    def chunks(self):
        yield self._data


class BytesPart(StoredPart):
    """A stored part made of the bytes themselves."""

    def __init__(self, data):
        self._data = bytes(data)


@pytest.fixture(scope="session")
def store_part():
    """Keeps a part and gives its reader."""
    return StoredPart


@pytest.fixture(scope="session")
def bytes_part():
    """A reader of given bytes."""
    return BytesPart


@pytest.fixture(scope="session")
def load():
    """Decodes what was encoded, through stored parts."""

    def load(encoded, **options):
        return decode(encoded.codec, encoded.head, [StoredPart(part) for part in encoded.parts], **options)

    return load


@pytest.fixture(scope="session")
def roundtrip(load):
    """The value as it comes back."""

    def roundtrip(value, **options):
        return load(encode(value, **options))

    return roundtrip
