"""What the driver has forgotten is not read back by workers that remember it: in a bucket, where they look seldom."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mlflowish as mf


@pytest.fixture
def content(tmp_path: Path) -> Path:
    """A file that the steps read, and that no key knows of."""
    (tmp_path / "content").write_text("one")
    return tmp_path / "content"


@pytest.fixture
def one_worker(moto_url: tuple[str, dict[str, Any]]) -> Iterator[mf.Store]:
    url, options = moto_url
    with mf.Store(url, **options) as store, mf.executor("processes", workers=1):
        yield store
    store.close()


@mf.step(ignore=["path"])
def read(n: int, path: str) -> str:
    return Path(path).read_text()


@mf.step(ignore=["path"])
def around(n: int, path: str) -> str:
    return read(n, path) + "!"


def test_a_worker_does_not_read_back_what_the_driver_has_forgotten(one_worker: mf.Store, content: Path) -> None:
    assert read.map([1], path=str(content)) == ["one"]
    content.write_text("two")
    assert read.forget(1, str(content)) == 1
    assert read.map([1], path=str(content)) == ["two"]
    content.write_text("three")
    assert read(1, str(content)) == "two"  # the driver knows where to look


def test_nor_does_a_step_inside_another_one_there(one_worker: mf.Store, content: Path) -> None:
    assert around.map([2], path=str(content)) == ["one!"]
    content.write_text("two")
    assert (around.forget(2, str(content)), read.forget(2, str(content))) == (1, 1)
    time.sleep(1.1)  # so long a listing of a bucket is taken for news
    assert around.map([2], path=str(content)) == ["two!"]
