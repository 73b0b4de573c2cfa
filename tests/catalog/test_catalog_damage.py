"""Flipped bytes in every kind of file: found, or harmless; never another answer."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from mlflowish.catalog import Catalog
from mlflowish.catalog.record import record_path
from mlflowish.errors import FormatVersionError, IntegrityError
from mlflowish.storage import LocalStorage, MemoryStorage

GOLDEN = Path(__file__).parent / "golden"
KINDS = ["log", "bodies", "checkpoints", "segments", "floors", "HINT"]
FOUND = (IntegrityError, FormatVersionError)


def copied(name: str) -> MemoryStorage:
    source, target = LocalStorage(GOLDEN), MemoryStorage(name)
    for info in source.list("catalog"):
        target.put(info.path, source.get(info.path))
    return target


def everything(storage: MemoryStorage) -> list[object]:
    """The newest state, single keys of it, an earlier one, the log; each alone, since each may be found damaged."""
    found: list[object] = []
    for look in (
        lambda: [*Catalog(storage).snapshot().scan()],
        lambda: [Catalog(storage).snapshot().get(f"k/{number:02d}") for number in range(30)],
        lambda: [*Catalog(storage).snapshot(100).scan()],
        lambda: [*Catalog(storage).log()],
    ):
        try:
            found.append(look())
        except FOUND:
            found.append(None)
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.nightly)])
def test_a_flipped_bit_never_changes_an_answer(kind: str, seed: int, tmp_path: Path) -> None:
    storage = copied(f"damage-{tmp_path.name}")
    right = everything(storage)
    assert None not in right
    chance = random.Random(f"{kind}{seed}")
    files = [info.path for info in storage.list("catalog") if info.path.split("/")[1] == kind]
    assert files
    for path in [chance.choice(files) for _ in range(200 if seed else 25)]:
        whole = storage.get(path)
        damaged = bytearray(whole)
        damaged[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        storage.put(path, bytes(damaged))
        found = everything(storage)
        assert all(one is None or one == other for one, other in zip(found, right, strict=True)), path
        if kind in ("HINT", "checkpoints", "segments"):
            # The newest state: from the log, unless that was cleaned below this very checkpoint.
            is_needed = kind != "HINT" and path.split("/")[2][:20] == f"{63:020d}"
            assert found[0] == right[0] or is_needed, path
        storage.put(path, whole)


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_or_emptied_file_never_changes_an_answer(kind: str, tmp_path: Path) -> None:
    storage = copied(f"cut-{tmp_path.name}")
    right = everything(storage)
    files = [info.path for info in storage.list("catalog") if info.path.split("/")[1] == kind]
    for path in (files[0], files[-1]):
        whole = storage.get(path)
        for content in (b"", whole[:-1], whole[: len(whole) // 2], whole + b"\n", whole * 2):
            storage.put(path, content)
            found = everything(storage)
            assert all(one is None or one == other for one, other in zip(found, right, strict=True)), (path, content)
        storage.put(path, whole)


def test_a_record_in_the_place_of_another_is_found(tmp_path: Path) -> None:
    storage = copied(f"moved-{tmp_path.name}")
    paths = sorted(info.path for info in storage.list("catalog/log"))
    storage.put(paths[-1], storage.get(paths[-2]))
    with pytest.raises(IntegrityError, match="holds the record of slot"):
        Catalog(storage).snapshot()


def test_a_record_of_another_history_is_found(tmp_path: Path) -> None:
    first, second = MemoryStorage(f"first-{tmp_path.name}"), MemoryStorage(f"second-{tmp_path.name}")
    for storage in (first, second):
        for _ in range(2):
            Catalog(storage).transact(lambda tx: tx.put("a", 1))
    path = "catalog/log/0000000000/00000000000000000001"
    first.put(path, second.get(path))
    with pytest.raises(IntegrityError, match="does not continue the history"):
        Catalog(first).snapshot()


def test_writing_after_damage_changes_nothing(tmp_path: Path) -> None:
    storage = copied(f"write-{tmp_path.name}")
    path = max(info.path for info in storage.list("catalog/log"))
    storage.put(path, storage.get(path)[:-10])
    before = len([*storage.list("")])
    with pytest.raises(IntegrityError):
        Catalog(storage).transact(lambda tx: tx.put("a", 1))
    assert len([*storage.list("")]) == before


def test_a_gap_before_the_end_of_the_log_is_damage_and_not_its_end(tmp_path: Path) -> None:
    """As a folder that was copied while somebody wrote may have: a commit into it would end the log for good."""
    catalog = Catalog(LocalStorage(tmp_path))
    for number in range(5):
        catalog.transact(lambda tx, number=number: tx.put("k", number))
    record = tmp_path / record_path(3)
    data = record.read_bytes()
    record.unlink()
    for _ in range(2):
        copied_handle = Catalog(LocalStorage(tmp_path))
        for _ in range(2):
            with pytest.raises(IntegrityError, match="later records are"):
                copied_handle.snapshot()
        with pytest.raises(IntegrityError, match="later records are"):
            copied_handle.transact(lambda tx: tx.put("k", "new"))
    assert not record.exists()
    record.write_bytes(data)
    assert Catalog(LocalStorage(tmp_path)).snapshot().get("k") == 4
