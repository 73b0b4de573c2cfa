"""Stores and small models that the tests of this room share."""

from __future__ import annotations

import pytest

import mlflowish as mf


@pytest.fixture
def store(tmp_path):
    return mf.Store(tmp_path / "store")
