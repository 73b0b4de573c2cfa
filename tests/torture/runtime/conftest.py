"""Every test of this folder: a store of its own, and the project's steps importable."""

from __future__ import annotations

import pytest


@pytest.fixture
def log(tmp_path, monkeypatch):
    """A file in which computations are noted, in this process and in those that it starts."""
    path = tmp_path / "computed.log"
    monkeypatch.setenv("RUNTIME_LOG", str(path))
    return path


@pytest.fixture
def root(tmp_path):
    """The folder of a store that does not exist yet."""
    return tmp_path / "store"
