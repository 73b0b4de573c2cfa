"""A store for each test, active in it; and nobody of a test before who still listens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import mlflowish as mf
from mlflowish.registry import telling


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[mf.Store]:
    """A local store, active in the test."""
    monkeypatch.setenv("MLFLOWISH_USER", "ann")
    monkeypatch.setattr(telling, "_listeners", [])
    with mf.Store(tmp_path / "store") as opened:
        yield opened
    opened.close()
