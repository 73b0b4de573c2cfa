"""The conformance suite on every storage of the library, the remote ones through real servers on loopback."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest

from mlflowish.storage import LocalStorage, MemoryStorage, Storage, open_storage
from mlflowish.testing.faults import Fault, FaultyStorage, Seeded
from mlflowish.testing.storage_suite import StorageSuite


class OursSuite(StorageSuite):
    # One process forks the children of all storages, so that the first of them settles what it has imported. Not gcsfs:
    # gRPC, which it imports, does not survive a fork.
    preload = ("s3fs",)


class TestLocal(OursSuite):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        return LocalStorage(tmp_path / "store")


class TestMemory(OursSuite):
    rounds = 20

    @pytest.fixture
    def storage(self) -> Storage:
        return MemoryStorage(uuid.uuid4().hex)


class TestFaultyWithoutAHarmfulFault(OursSuite):
    """Wrapped, delayed and delivered twice, it is still a storage."""

    rounds = 2

    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        plan = Seeded(seed=1, rate=0.1, faults=(Fault.DELAY,))
        return FaultyStorage(LocalStorage(tmp_path / "store", fsync="never"), plan, delay_s=0.001)


class TestMoto(OursSuite):
    rounds = 3

    @pytest.fixture
    def storage(self, moto_url: tuple[str, dict[str, Any]]) -> Storage:
        return _inside(moto_url)


@pytest.mark.any_python
class TestSeaweed(OursSuite):
    rounds = 3

    @pytest.fixture
    def storage(self, seaweed_url: tuple[str, dict[str, Any]]) -> Storage:
        return _inside(seaweed_url)


@pytest.mark.any_python
class TestGoogle(OursSuite):
    rounds = 3

    @pytest.fixture
    def storage(self, gcs_url: tuple[str, dict[str, Any]]) -> Storage:
        return _inside(gcs_url)


@pytest.mark.any_python
class TestAzure(OursSuite):
    rounds = 3

    @pytest.fixture
    def storage(self, azurite_url: tuple[str, dict[str, Any]]) -> Storage:
        return _inside(azurite_url)


def _inside(place: tuple[str, dict[str, Any]]) -> Storage:
    url, options = place
    return open_storage(f"{url}/{uuid.uuid4().hex}", **options)
