"""Many processes, random transactions, kill -9 at random instants; then everything is replayed and judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torture
from torture import Way

from mlflowish.catalog import Catalog
from mlflowish.storage import LocalStorage, open_storage

SERVERS = ["moto_url", "seaweed_url", "azurite_url", "gcs_url"]


def place_of(request: pytest.FixtureRequest, where: str, tmp_path: Path) -> Any:
    if where == "local":
        return LocalStorage(tmp_path / "store")
    url, options = request.getfixturevalue(where)
    return open_storage(url, **options)


def tortured(storage: Any, folder: Path, way: Way, **options: Any) -> dict[str, int]:
    """What was found, and how many were killed."""
    killed, archive = torture.run(storage, folder, way, **options)
    return {"killed": killed, **torture.judge(storage, folder, archive)}


def test_a_sample_of_the_torture_on_the_local_disk(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / "store")
    way = Way(threads=2, fault_rate=0.01)
    found = tortured(storage, tmp_path / "diaries", way, processes=3, seconds=4, kill_every_s=0.8, at_least=20)
    assert found["killed"] > 0
    assert found["done"] > 10


@pytest.mark.any_python
def test_a_sample_of_the_torture_in_a_bucket(seaweed_url: tuple[str, dict[str, Any]], tmp_path: Path) -> None:
    storage = open_storage(seaweed_url[0], **seaweed_url[1])
    found = tortured(storage, tmp_path / "diaries", Way(), processes=2, seconds=4, kill_every_s=1.5, at_least=3)
    assert found["killed"] > 0
    assert found["commits"] > 1


WAYS = {"plain": Way(), "hard": Way(threads=3, fault_rate=0.01)}
CLEANED = Way(threads=2, fault_rate=0.002, cleans=True)


@pytest.mark.nightly
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("where", ["local", *SERVERS])
def test_nothing_acknowledged_is_lost_or_doubled_under_torture(
    request: pytest.FixtureRequest, where: str, way: str, tmp_path: Path
) -> None:
    storage = place_of(request, where, tmp_path)
    seconds = 150 if where == "local" else 90
    found = tortured(
        storage, tmp_path / "diaries", WAYS[way], processes=8, seconds=seconds, kill_every_s=1, at_least=100, kills=21
    )
    print(f"{where}, {way}: {found}")
    assert found["done"] >= 100
    assert way == "plain" or found["together"] > 0


@pytest.mark.nightly
@pytest.mark.timeout(1200)
def test_nothing_acknowledged_is_lost_or_doubled_while_the_log_is_cleaned(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / "store")
    found = tortured(
        storage, tmp_path / "diaries", CLEANED, processes=8, seconds=150, kill_every_s=1, at_least=100, kills=21
    )
    print(found)
    assert Catalog(storage).history.floors.look(even_if_fresh=True).slot > 0


def test_the_judge_finds_what_is_wrong(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / "store", fsync="never")
    torture.prepare(Catalog(storage))
    with Catalog(storage).transaction(comment="1.1.1") as tx:
        tx.put("account/00", tx.get("account/00") - 1)
    with pytest.raises(AssertionError):
        torture.judge(storage, tmp_path / "diaries")
