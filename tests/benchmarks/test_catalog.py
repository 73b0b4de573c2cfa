"""The catalog beside an SQLite file of the same durability (write-ahead log, synchronous=FULL), in one run.

A transaction reads a counter and writes it and one more key. SQLite has one writer at a time and a file that its
processes share on one machine; the catalog needs neither.
"""

from __future__ import annotations

import multiprocessing
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlflowish.catalog import Catalog
from mlflowish.storage.local import LocalStorage

PEERS = ["mlflowish", "sqlite3"]


class InSqlite:
    def __init__(self, folder: Path) -> None:
        self._path = folder / "catalog.db"
        self._local = threading.local()
        self._connection().execute("CREATE TABLE IF NOT EXISTS map (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID")

    def _connection(self) -> sqlite3.Connection:
        """SQLite's own advice: a connection for each thread."""
        if not hasattr(self._local, "connection"):
            connection = sqlite3.connect(self._path, isolation_level=None, timeout=60)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            self._local.connection = connection
        return self._local.connection

    def count(self, who: int, number: int) -> None:
        connection = self._connection()
        connection.execute("BEGIN IMMEDIATE")
        found = connection.execute("SELECT value FROM map WHERE key = ?", (f"counter/{who}",)).fetchone()
        value = int(found[0]) + 1 if found else 1
        connection.execute("INSERT OR REPLACE INTO map VALUES (?, ?)", (f"counter/{who}", str(value)))
        connection.execute("INSERT OR REPLACE INTO map VALUES (?, ?)", (f"entry/{who}/{number}", "x" * 100))
        connection.execute("COMMIT")

    def get(self, key: str) -> object:
        return self._connection().execute("SELECT value FROM map WHERE key = ?", (key,)).fetchone()


class InCatalog:
    def __init__(self, folder: Path) -> None:
        self.catalog = Catalog(LocalStorage(folder / "store"))
        self.snapshot: Any = None

    def count(self, who: int, number: int) -> None:
        def add(tx: Any) -> None:
            tx.put(f"counter/{who}", tx.get(f"counter/{who}", 0) + 1)
            tx.put(f"entry/{who}/{number}", "x" * 100)

        self.catalog.transact(add)

    def get(self, key: str) -> object:
        if self.snapshot is None:
            self.snapshot = self.catalog.snapshot()
        return self.snapshot.get(key)


def open_peer(peer: str, folder: Path) -> InCatalog | InSqlite:
    return InCatalog(folder) if peer == "mlflowish" else InSqlite(folder)


def commits_of_process(peer: str, folder: Path, who: int, count: int, start: Any) -> None:
    opened = open_peer(peer, folder)
    opened.get("warm")
    start.wait()
    for number in range(count):
        opened.count(who, number)


def in_processes(peer: str, folder: Path, processes: int, count: int) -> float:
    """Seconds that the processes take for `count` commits each."""
    open_peer(peer, folder)
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(processes + 1)
    workers = [
        context.Process(target=commits_of_process, args=(peer, folder, who, count, start)) for who in range(processes)
    ]
    for worker in workers:
        worker.start()
    start.wait()
    began = time.perf_counter()
    for worker in workers:
        worker.join()
    assert all(worker.exitcode == 0 for worker in workers)
    return time.perf_counter() - began


def in_threads(peer: str, folder: Path, threads: int, count: int) -> float:
    opened = open_peer(peer, folder)

    def work(who: int) -> None:
        for number in range(count):
            opened.count(who, number)

    workers = [threading.Thread(target=work, args=(who,)) for who in range(threads)]
    began = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return time.perf_counter() - began


Runner = Callable[[str, Path, int, int], float]


@pytest.mark.parametrize(("how", "many"), [("processes", 1), ("processes", 4), ("threads", 16)])
@pytest.mark.parametrize("full", [False, pytest.param(True, marks=pytest.mark.nightly)])
def test_commits_per_second(how: str, many: int, full: bool, tmp_path: Path, figures: Any) -> None:
    count, rounds = (240 // many, 3) if full else (4, 1)
    runner: Runner = in_processes if how == "processes" else in_threads
    for turn in range(rounds):
        for peer in PEERS:
            folder = tmp_path / f"{peer}-{turn}"
            folder.mkdir()
            seconds = runner(peer, folder, many, count)
            figures.add(f"commit, {many} {how}{'' if full else ' (short)'}", peer, seconds / (many * count))


@pytest.mark.parametrize("full", [False, pytest.param(True, marks=pytest.mark.nightly)])
@pytest.mark.timeout(1200)
def test_opening_a_long_catalog(full: bool, tmp_path: Path, figures: Any) -> None:
    transactions = 100_000 if full else 300
    catalog = Catalog(LocalStorage(tmp_path / "store", fsync="never"))
    database = sqlite3.connect(tmp_path / "catalog.db", isolation_level=None)
    database.execute("CREATE TABLE map (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID")
    for number in range(transactions):
        key = f"entry/{number * 7919 % transactions:06d}"
        catalog.transact(lambda tx, key=key: tx.put(key, "x" * 100))
        database.execute("INSERT OR REPLACE INTO map VALUES (?, ?)", (key, "x" * 100))
    database.close()
    wanted = f"entry/{transactions // 2:06d}"

    def ours() -> None:
        assert Catalog(LocalStorage(tmp_path / "store")).snapshot().get(wanted) == "x" * 100

    def theirs() -> None:
        connection = sqlite3.connect(tmp_path / "catalog.db")
        assert connection.execute("SELECT value FROM map WHERE key = ?", (wanted,)).fetchone()
        connection.close()

    figures.race(f"open a catalog of {transactions:,} transactions and get", {"mlflowish": ours, "sqlite3": theirs}, 9)
    snapshot = Catalog(LocalStorage(tmp_path / "store")).snapshot()
    connection = sqlite3.connect(tmp_path / "catalog.db")
    figures.race(
        f"get one of {transactions:,} keys again",
        {
            "mlflowish": lambda: snapshot.get(wanted),
            "sqlite3": lambda: connection.execute("SELECT value FROM map WHERE key = ?", (wanted,)).fetchone(),
        },
        99,
    )
    connection.close()
