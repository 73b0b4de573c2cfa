"""What is put over something damaged is on the disk before others rely on it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mlflowish.storage import LocalStorage, MemoryStorage
from mlflowish.storage.replacing import put_durably


@pytest.mark.parametrize(("fsync", "flushed"), [("objects", True), ("always", True), ("never", False)])
def test_a_file_that_replaces_another_is_flushed_by_the_policy_and_so_is_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fsync: str, flushed: bool
) -> None:
    storage = LocalStorage(tmp_path, fsync=fsync)  # type: ignore[arg-type]  # one of the three
    storage.put_if_absent("a/b", b"damaged")
    synced, real = set(), os.fsync

    def note(fd: int) -> None:
        synced.add(os.fstat(fd).st_ino)
        real(fd)

    monkeypatch.setattr(os, "fsync", note)
    put_durably(storage, "a/b", b"whole")
    assert storage.get("a/b") == b"whole"
    inodes = {(tmp_path / "a" / "b").stat().st_ino, (tmp_path / "a").stat().st_ino}
    assert (inodes <= synced) == flushed


def test_what_is_in_memory_is_replaced() -> None:
    storage = MemoryStorage("replacing")
    put_durably(storage, "a", b"1")
    put_durably(storage, "a", b"2")
    assert storage.get("a") == b"2"
