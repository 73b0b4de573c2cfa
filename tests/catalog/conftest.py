"""Catalogs in the places that every machine has."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from mlflowish.catalog import Catalog
from mlflowish.storage import LocalStorage, MemoryStorage, Storage


@pytest.fixture(params=["memory", "local"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "memory":
        return MemoryStorage(f"catalog-{uuid.uuid4().hex}")
    return LocalStorage(tmp_path / "store", fsync="never")


@pytest.fixture
def catalog(storage: Storage) -> Catalog:
    return Catalog(storage)


@pytest.fixture
def other(storage: Storage) -> Catalog:
    """A second handle of the same catalog, as another process would have."""
    return Catalog(storage)
