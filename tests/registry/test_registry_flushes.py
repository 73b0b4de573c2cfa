"""How often the disk is asked to flush: what a registration waits for where flushing is slow."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

import mlflowish as mf
from mlflowish.models import store_model


@pytest.fixture
def flushes(store: mf.Store, monkeypatch: pytest.MonkeyPatch, only_here: Callable[..., Any]) -> list[int]:
    """Real flushes, noted, after all folders are there: the list grows by one with each that this thread waits for."""
    for _ in range(2):
        mf.register_model("churn", len)
    noted: list[int] = []
    flush = os.fsync
    monkeypatch.setattr(os, "fsync", only_here(lambda fd: (noted.append(fd), flush(fd))[1], flush))
    return noted


def test_a_change_of_the_registry_flushes_one_record_and_its_name(flushes: list[int]) -> None:
    mf.registry.transition("churn", 2, "production")
    assert len(flushes) == 2
    mf.registry.set_alias("churn", "champion", 1)
    assert len(flushes) == 4


def test_registering_what_this_process_has_stored_flushes_no_more_than_that(
    store: mf.Store, flushes: list[int]
) -> None:
    stored = store_model(store, max)
    flushes.clear()
    mf.register_model("churn", stored)
    assert len(flushes) == 2


def test_storing_and_registering_flushes_each_file_of_the_model_once(store: mf.Store, flushes: list[int]) -> None:
    version = mf.register_model("churn", max)
    objects = {tuple(ref) for ref in version.record.refs}
    folders = {name[:2] for name, _ in objects}
    new_folders = len(flushes) - 2 - 2 * len(objects)
    assert 0 <= new_folders <= len(folders)  # a folder that is made is flushed into the one above it


def test_what_another_process_has_stored_is_flushed_before_it_is_registered(
    store: mf.Store, flushes: list[int]
) -> None:
    stored = store_model(store, max)
    from mlflowish.storage.settling import _forget

    _forget()  # what this process knows of the disk, as if another had written
    flushes.clear()
    mf.register_model("churn", stored)
    assert len(flushes) == 2 + len(stored.refs)
