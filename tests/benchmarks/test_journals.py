"""Records by key: ours beside SQLite (write-ahead log) and diskcache. Nothing fails here because of a time."""

from __future__ import annotations

import os
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from mlflowish.journals import Journals
from mlflowish.storage.local import LocalStorage

PEERS = ["mlflowish", "sqlite3", "diskcache"]
PAYLOAD = os.urandom(200)


class Records(Protocol):
    def append(self, key: bytes, payload: bytes) -> None: ...
    def get(self, key: bytes) -> object: ...
    def close(self) -> None: ...


class InSqlite:
    def __init__(self, folder: Path) -> None:
        self._connection = sqlite3.connect(folder / "records.db", isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute("CREATE TABLE IF NOT EXISTS records (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID")

    def append(self, key: bytes, payload: bytes) -> None:
        self._connection.execute("INSERT OR REPLACE INTO records VALUES (?, ?)", (key, payload))

    def get(self, key: bytes) -> object:
        return self._connection.execute("SELECT value FROM records WHERE key = ?", (key,)).fetchone()

    def close(self) -> None:
        self._connection.close()


class InDiskcache:
    def __init__(self, folder: Path) -> None:
        import diskcache

        self._cache = diskcache.Cache(str(folder))
        self.append, self.get = self._cache.set, self._cache.get

    def close(self) -> None:
        self._cache.close()


def open_peer(peer: str, folder: Path) -> Records:
    if peer == "mlflowish":
        return Journals(LocalStorage(folder / "store"), "calls")
    return InSqlite(folder) if peer == "sqlite3" else InDiskcache(folder)


@pytest.fixture
def records(peer: str, tmp_path: Path) -> Iterator[Records]:
    opened = open_peer(peer, tmp_path)
    yield opened
    opened.close()


def calls(action: Callable[[bytes], object], keys: list[bytes]) -> Callable[[], None]:
    """Does it once for each key; a benchmark of one call would measure its own loop."""

    def run() -> None:
        for key in keys:
            action(key)

    return run


@pytest.mark.parametrize("peer", PEERS)
def test_append_1000_records(benchmark, records: Records, full: bool) -> None:
    benchmark.group = "append 1,000 records"
    count = 1_000 if full else 20

    def fresh() -> tuple[tuple[Callable[[], None]], dict[str, object]]:
        keys = [os.urandom(16) for _ in range(count)]
        return (calls(lambda key: records.append(key, PAYLOAD), keys),), {}

    benchmark.pedantic(lambda run: run(), setup=fresh, rounds=30 if full else 1)


@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("state", ["hot", "of 100,000, each once", "absent"])
def test_get_1000_records(benchmark, records: Records, full: bool, state: str) -> None:
    benchmark.group = f"get 1,000 records, {state}"
    keys = [os.urandom(16) for _ in range(100_000 if full else 100)]
    for key in keys:
        records.append(key, PAYLOAD)
    if isinstance(records, Journals):
        records.compact()
    random.Random(0).shuffle(keys)
    chosen = {"hot": keys[:1], "absent": [os.urandom(16)]}.get(state)
    start = 0

    def some() -> tuple[tuple[Callable[[], None]], dict[str, object]]:
        nonlocal start
        part = (chosen or keys[start : start + 1_000]) * (1_000 if chosen else 1)
        start += 1_000
        return (calls(records.get, part),), {}

    benchmark.pedantic(lambda run: run(), setup=some, rounds=50 if full else 1)


@pytest.mark.parametrize("peer", ["mlflowish", "sqlite3"])
def test_open_a_million_records_and_find_one(benchmark, peer: str, tmp_path: Path, full: bool) -> None:
    benchmark.group = "open 1,000,000 records and get one"
    count = 1_000_000 if full else 1_000
    keys = [number.to_bytes(16, "big") if peer == "sqlite3" else os.urandom(16) for number in range(count)]
    filled = open_peer(peer, tmp_path)
    for key in keys:
        filled.append(key, PAYLOAD)
    filled.close()

    def open_and_get() -> None:
        opened = open_peer(peer, tmp_path)
        assert opened.get(keys[count // 3])
        opened.close()

    benchmark.pedantic(open_and_get, rounds=10 if full else 1, warmup_rounds=1)


def test_compact(figures, tmp_path: Path, full: bool) -> None:
    """Reported as a rate; SQLite has nothing like it."""
    journals = Journals(LocalStorage(tmp_path), "calls", roll_bytes=1 << 20)
    count = 200_000 if full else 500
    for _ in range(count):
        journals.append(os.urandom(16), PAYLOAD)
    journals.close()  # a compaction leaves alone what a living writer still holds
    started = time.perf_counter()
    report = journals.compact()
    figures.add("compact", "mlflowish", report.records_read / (time.perf_counter() - started), "records/s")
    assert sum(1 for _ in journals.scan()) == count


def test_files_of_1000_short_processes(figures, tmp_path: Path, full: bool) -> None:
    """Each opens the store, appends 100 records and closes it."""
    for _ in range(1_000 if full else 30):
        journals = Journals(LocalStorage(tmp_path, fsync="never"), "calls")
        for _ in range(100 if full else 2):
            journals.append(os.urandom(16), PAYLOAD)
        journals.close()
    files = sum(path.is_file() for path in tmp_path.rglob("*"))
    figures.add("files of 1,000 short processes", "mlflowish", files, "files")
    assert files < 200
