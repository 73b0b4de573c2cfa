"""The conformance suite on every storage of the library, the remote ones through real servers on loopback."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest

from mlflowish.storage import LocalStorage, MemoryStorage, Storage, open_storage
from mlflowish.testing.faults import Fault, FaultyStorage, Seeded
from mlflowish.testing.storage_suite import StorageSuite


class TestLocal(StorageSuite):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        return LocalStorage(tmp_path / "store")


class TestMemory(StorageSuite):
    rounds = 20

    @pytest.fixture
    def storage(self) -> Storage:
        return MemoryStorage(uuid.uuid4().hex)


class TestFaultyWithoutAHarmfulFault(StorageSuite):
    """Wrapped, delayed and delivered twice, it is still a storage."""

    rounds = 2

    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        plan = Seeded(seed=1, rate=0.1, faults=(Fault.DELAY,))
        return FaultyStorage(LocalStorage(tmp_path / "store", fsync="never"), plan, delay_s=0.001)


class TestMoto(StorageSuite):
    preload = ("s3fs",)
    rounds = 3

    @pytest.fixture
    def storage(self, moto_url: tuple[str, dict[str, Any]]) -> Storage:
        return _inside(moto_url)


class TestSeaweed(StorageSuite):
    rounds = 3
    preload = ("s3fs",)

    @pytest.fixture
    def storage(self, seaweed_url: tuple[str, dict[str, Any]]) -> Storage:
        return _inside(seaweed_url)


class TestGoogle(StorageSuite):
    rounds = 3

    @pytest.fixture
    def storage(self, gcs_url: tuple[str, dict[str, Any]]) -> Storage:
        return _inside(gcs_url)


class TestAzure(StorageSuite):
    rounds = 3

    @pytest.fixture
    def storage(self, azurite_url: tuple[str, dict[str, Any]]) -> Storage:
        return _inside(azurite_url)


def _inside(place: tuple[str, dict[str, Any]]) -> Storage:
    url, options = place
    return open_storage(f"{url}/{uuid.uuid4().hex}", **options)
