"""A folder and a store of its own for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import mlflowish as mf


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[mf.Store]:
    monkeypatch.setenv("MLFLOWISH_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    with mf.Store(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def write() -> Callable[..., None]:
    """Writes files, each with its own path as content unless `text` is given."""

    def write(*paths: str, text: str | None = None) -> None:
        for path in paths:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_text(path if text is None else text)

    return write
