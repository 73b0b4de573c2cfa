"""Files of the catalog whose check fits and whose content makes no sense: an error of ours, or no matter at all."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from mlflowish.catalog import Catalog
from mlflowish.catalog.checkpoints import checkpoint_path
from mlflowish.catalog.floors import HINT_PATH, floor_path
from mlflowish.catalog.record import checked, record_path
from mlflowish.errors import IntegrityError, MlflowishError
from mlflowish.storage import LocalStorage, MemoryStorage

GOLDEN = Path(__file__).parent / "golden"
HEAD = 143
DEEP = "[" * 100_000 + "]" * 100_000
LONG = "9" * 5_000


@pytest.fixture
def storage() -> MemoryStorage:
    """A log that was cleaned up to slot 63, with another checkpoint at 127."""
    source, target = LocalStorage(GOLDEN), MemoryStorage(f"lies-{uuid.uuid4().hex}")
    for info in source.list("catalog"):
        target.put(info.path, source.get(info.path))
    return target


def truth() -> dict[str, Any]:
    return dict(Catalog(LocalStorage(GOLDEN)).snapshot().scan())


def change(storage: MemoryStorage, path: str, text: str = "", **fields: Any) -> None:
    """Put other fields into a checked line, or another text, and a check that fits."""
    found = json.loads(storage.get(path)[:-66]) if not text else {}
    line = text or json.dumps({**found, **fields}, sort_keys=True, separators=(",", ":"))
    storage.put(path, checked(line))


def reads(storage: MemoryStorage) -> Iterator[Any]:
    """What every sort of reading gives, each by a handle of its own; None for an error of ours."""
    for look in (
        lambda: dict(Catalog(storage).snapshot().scan()),
        lambda: Catalog(storage).snapshot().get("k/05"),
        lambda: dict(Catalog(storage).snapshot(100).scan()),
        lambda: dict(Catalog(storage).snapshot(at=1.9e9).scan()),
        lambda: [commit.slot for commit in Catalog(storage).log()],
        lambda: Catalog(storage).clean(keep_s=0.0, keep_slots=0),
    ):
        try:
            yield look()
        except MlflowishError:
            yield None


HINTS: dict[str, dict[str, Any]] = {
    "a checkpoint that is not there yet": {"checkpoint": 6399},
    "a checkpoint before the first": {"checkpoint": -5},
    "a slot that has no name": {"checkpoint": 10**30},
    "a slot that is no whole number": {"checkpoint": 1e300},
    "a floor that is not there": {"floor": 191, "number": 1},
    "a later floor": {"floor": 127, "number": 1},
    "another slot of the floor": {"floor": 127, "number": 0},
    "a floor of no number": {"floor": 127, "number": None},
    "a number that has no name": {"floor": 127, "number": 10**30},
    "text": {"text": "{"},
    "infinity": {"text": '{"checkpoint":Infinity,"floor":63,"number":0,"v":1}'},
    "deep nesting": {"text": '{"checkpoint":127,"floor":63,"number":0,"v":1,"x":' + DEEP + "}"},
    "a very long number": {"text": '{"checkpoint":127,"floor":63,"number":' + LONG + ',"v":1}'},
}


@pytest.mark.parametrize("lie", HINTS)
def test_a_hint_that_lies_changes_no_answer(storage: MemoryStorage, lie: str) -> None:
    change(storage, HINT_PATH, **HINTS[lie])
    assert dict(Catalog(storage).snapshot().scan()) == truth()
    assert len([*Catalog(storage).log()]) == HEAD - 63
    assert dict(Catalog(storage).snapshot(64).scan()) == dict(Catalog(LocalStorage(GOLDEN)).snapshot(64).scan())
    Catalog(storage).transact(lambda tx: tx.put("new", 1))
    assert dict(Catalog(storage).snapshot().scan()) == {**truth(), "new": 1}


FLOORS: dict[str, dict[str, Any]] = {
    "a slot that is not there": {"floor": 1023},
    "no slot": {"floor": "x"},
    "no whole number": {"floor": 63.0},
    "another number": {"number": 7},
    "a slot that has no name": {"floor": 10**300},
    "text": {"text": "{"},
    "infinity": {"text": '{"floor":Infinity,"number":1,"v":1}'},
    "deep nesting": {"text": DEEP},
}


@pytest.mark.parametrize("lie", FLOORS)
def test_a_floor_that_lies_is_an_error_of_ours(storage: MemoryStorage, lie: str) -> None:
    storage.put(floor_path(1), checked('{"floor":127,"number":1,"v":1}'))
    change(storage, floor_path(1), **FLOORS[lie])
    assert [*reads(storage)] == [None] * 6


def test_a_damaged_floor_is_read_by_the_hint(storage: MemoryStorage) -> None:
    storage.put(floor_path(0), b"?")
    assert dict(Catalog(storage).snapshot().scan()) == truth()
    storage.delete(HINT_PATH)
    with pytest.raises(IntegrityError):
        Catalog(storage).snapshot()


CHECKPOINTS: dict[str, dict[str, Any]] = {
    "no runs": {"runs": 5},
    "a run that is none": {"runs": [[[1]]]},
    "files of other types": {"runs": [[["x", 5, [], {}, 1, 2]]]},
    "a file outside": {"runs": [[[63, "../../../../../etc/passwd", 10, 0, "0" * 64, "a"]]]},
    "an index before its file": {"runs": [[[63, "0" * 64, 10, -5, "0" * 64, "a"]]]},
    "a key that is none": {"runs": [[[63, "0" * 64, 10, 5, "0" * 64, 7]]]},
    "a file that is not there": {"runs": [[[63, "0" * 64, 10, 5, "0" * 64, "a"]]]},
    "a slot that is no whole number": {"slot": 127.0},
    "a hash that is none": {"hash": 5},
    "a time that is none": {"time": 10**400},
    "text": {"text": "{"},
    "deep nesting": {"text": DEEP},
}


@pytest.mark.parametrize("lie", CHECKPOINTS)
def test_a_checkpoint_that_makes_no_sense_changes_no_answer(storage: MemoryStorage, lie: str) -> None:
    change(storage, checkpoint_path(127), **CHECKPOINTS[lie])
    found = [*reads(storage)]
    if lie == "a hash that is none":  # of another log: nobody knows which is right
        assert found[0] is None
        return
    assert found[0] == truth()
    assert found[2] == dict(Catalog(LocalStorage(GOLDEN)).snapshot(100).scan())


FILES = {
    "no index": (b"", "5"),
    "an index that is no JSON": (b"", "{"),
    "an index of other things": (b"", '[["a",-5,-3,0],[1]]'),
    "an index that nests deep": (b"", DEEP),
    "rows without tabs": (b"nope\n", ""),
    "a row with no slot": (b'"a"\tx\t1\n', ""),
    "a key that is no JSON": (b'a"\t3\t1\n', ""),
    "bytes that are no text": (b"\xff\xfe\n", ""),
}


@pytest.mark.parametrize("lie", FILES)
def test_a_file_of_a_checkpoint_that_makes_no_sense_changes_no_answer(storage: MemoryStorage, lie: str) -> None:
    block, index = FILES[lie]
    index = index or json.dumps([["a", 0, len(block), blake3(block).hexdigest(length=16)]], separators=(",", ":"))
    data = block + index.encode()
    name = blake3(data).hexdigest()
    storage.put(f"catalog/segments/{127:020d}.{name}", data)
    refs = [[127, name, len(data), len(block), blake3(index.encode()).hexdigest(), ""]]
    change(storage, checkpoint_path(127), runs=[refs])
    assert next(reads(storage)) == truth()


RECORDS: dict[str, dict[str, Any]] = {
    "no hash before it": {"prev": 5},
    "a time that is none": {"time": 10**400},
    "a time beyond all calendars": {"time": 1e308},
    "an epoch that is none": {"epoch": [1]},
    "deletes of no keys": {"tx": [{"base": -1, "id": "x", "deletes": [5]}]},
    "deletes of lists": {"tx": [{"base": -1, "id": "x", "deletes": [["a"]]}]},
    "puts that are none": {"tx": [{"base": -1, "id": "x", "puts": [["a", 1]]}]},
    "text": {"text": "{"},
    "deep nesting": {"text": DEEP},
    "not a number": {"text": '{"a":NaN}'},
}


@pytest.mark.parametrize("lie", RECORDS)
def test_a_record_that_makes_no_sense_is_an_error_of_ours(storage: MemoryStorage, lie: str) -> None:
    change(storage, record_path(HEAD), **RECORDS[lie])
    with pytest.raises(IntegrityError):
        Catalog(storage).snapshot()
    assert None in reads(storage)


def test_an_epoch_that_is_no_number_is_an_error_of_ours(storage: MemoryStorage) -> None:
    change(storage, record_path(HEAD), tx=[{"base": -1, "id": "x", "puts": {"~epoch": "many"}}])
    assert Catalog(storage).snapshot().get("k/05") == truth()["k/05"]
    with pytest.raises(IntegrityError, match="~epoch"):
        Catalog(storage).transact(lambda tx: tx.put("a", 1))
    with pytest.raises(IntegrityError, match="~epoch"):
        Catalog(storage).doom(())


def test_names_that_a_later_minor_version_adds_are_passed_over(storage: MemoryStorage) -> None:
    found = json.loads(storage.get(record_path(HEAD))[:-66])
    later = [{**each, "later": {"x": [1]}} for each in found["tx"]]
    change(storage, record_path(HEAD), later=1, tx=later)
    for path in (checkpoint_path(63), checkpoint_path(127), HINT_PATH, floor_path(0)):
        change(storage, path, later=[1])
    assert dict(Catalog(storage).snapshot().scan()) == truth()
