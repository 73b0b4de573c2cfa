"""What objects named by their hash must do in any storage: part of `storage_suite.StorageSuite`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mlflowish.errors import IntegrityError, NotFoundError
from mlflowish.storage.base import Storage
from mlflowish.storage.cache import ObjectCache
from mlflowish.storage.objects import ObjectStore


class ObjectTests:
    """Tests of `objects`."""

    @pytest.fixture
    def objects(self, storage: Storage, tmp_path: Path) -> ObjectStore:
        """Objects in it, with a cache of their own if they are far."""
        return ObjectStore(storage, cache=ObjectCache(tmp_path / "cache-of-objects"))

    @pytest.mark.parametrize("size", [0, 1, 300_000, (8 << 20) + 1])
    def test_an_object_comes_back_writable(self, objects: ObjectStore, size: int) -> None:
        data = os.urandom(size)
        ref = objects.put(lambda: iter([memoryview(data)]), size)
        buffer = objects.reader(ref).buffer()
        assert bytes(buffer) == data
        assert not buffer.readonly
        buffer[:] = bytes(size)  # the caller's own copy: the store must not notice
        assert bytes(objects.reader(ref).buffer()) == data
        assert b"".join(objects.reader(ref).chunks()) == data
        objects.check(ref)

    @pytest.mark.parametrize("size", [1, 300_000, 3 << 20])
    def test_a_flipped_bit_is_detected_and_healed(self, objects: ObjectStore, tmp_path: Path, size: int) -> None:
        data = os.urandom(size)
        ref = objects.put(data)
        damaged = bytearray(data)
        damaged[size // 2] ^= 1
        objects.storage.put(ref.path, damaged)
        elsewhere = ObjectStore(objects.storage, cache=ObjectCache(tmp_path / "another-cache"))
        with pytest.raises(IntegrityError):
            elsewhere.reader(ref).buffer()
        assert elsewhere.put(data) == ref
        elsewhere.check(ref)
        assert bytes(elsewhere.reader(ref).buffer()) == data

    @pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"x", lambda data: b""])
    def test_another_length_is_detected_and_healed(
        self, objects: ObjectStore, tmp_path: Path, change: Callable[[bytes], bytes]
    ) -> None:
        data = os.urandom(400_000)
        ref = objects.put(data)
        objects.storage.put(ref.path, change(data))
        elsewhere = ObjectStore(objects.storage, cache=ObjectCache(tmp_path / "another-cache"))
        assert elsewhere.put(data) == ref
        elsewhere.check(ref)

    def test_a_missing_object_is_not_found(self, objects: ObjectStore) -> None:
        ref = objects.put(b"x" * 1000)
        objects.storage.delete(ref.path)
        assert not objects.contains(ref)
        fresh = ObjectStore(objects.storage, cache=ObjectCache(objects.cache.folder + "-2") if objects.cache else None)
        with pytest.raises(NotFoundError):
            fresh.reader(ref).buffer()
        assert objects.put(b"x" * 1000) == ref
        assert objects.contains(ref)
