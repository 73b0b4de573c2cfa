from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from journal_worlds import BucketStorage

from mlflowish.journals import Journals
from mlflowish.storage.base import Storage
from mlflowish.storage.local import LocalStorage
from mlflowish.storage.memory import MemoryStorage


@pytest.fixture(autouse=True)
def _private_caches(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOWISH_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def local(tmp_path: Path) -> Storage:
    return LocalStorage(str(tmp_path / "store"), fsync="never")


@pytest.fixture
def bucket(tmp_path: Path) -> BucketStorage:
    return BucketStorage(MemoryStorage(str(tmp_path)))


@pytest.fixture(params=["local", "memory", "bucket"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """Every sort of storage that journals know."""
    if request.param == "local":
        return LocalStorage(str(tmp_path / "store"), fsync="never")
    memory = MemoryStorage(str(tmp_path))
    return memory if request.param == "memory" else BucketStorage(memory)


@pytest.fixture
def open_journals() -> Callable[..., Journals]:
    """Opens journals whose background work is over when the test is."""
    opened: list[Journals] = []

    def open_one(storage: Storage, kind: str = "calls", **options: object) -> Journals:
        opened.append(Journals(storage, kind, **{"refresh_s": 0.0, "ship_every_s": 60.0, **options}))
        return opened[-1]

    yield open_one
    for journals in opened:
        journals.close()
