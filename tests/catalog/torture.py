"""Processes that commit random transactions on one catalog until they are killed, and the judge of what is left.

`python torture.py WORKER-FOLDER NUMBER` with a pickled storage in the folder runs one worker; `judge` replays the log.
Each worker keeps a diary on the local disk: one line before and one after each transaction, with the machine's
monotonic clock, so that what was acknowledged, and when, survives it.
"""

from __future__ import annotations

import json
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlflowish.catalog import Catalog, Commit, Transaction
from mlflowish.errors import ConflictError

ACCOUNTS = 12
START = 100


def prepare(catalog: Catalog) -> None:
    """Open the accounts."""

    def open_accounts(tx: Transaction) -> None:
        for number in range(ACCOUNTS):
            tx.put(f"account/{number:02d}", START)

    catalog.transact(open_accounts, id="prepare")


def work(folder: Path, number: int) -> None:
    """Transfer, count, list and look, for ever."""
    storage = pickle.loads((folder / "storage").read_bytes())
    catalog = Catalog(storage)
    chance = random.Random(os.urandom(8))
    diary = open(folder / f"diary-{number}-{os.getpid()}", "a", buffering=1)  # noqa: SIM115  killed, never closed
    serial = 0
    while True:
        serial += 1
        name = f"{number}.{os.getpid()}.{serial}"
        act = chance.choice([transfer, transfer, transfer, enlist, look])
        diary.write(json.dumps(["began", name, time.monotonic_ns()]) + "\n")
        try:
            saw = act(catalog, name, chance)
        except ConflictError:
            diary.write(json.dumps(["refused", name, time.monotonic_ns()]) + "\n")
        else:
            diary.write(json.dumps(["done", name, time.monotonic_ns(), saw]) + "\n")


def transfer(catalog: Catalog, name: str, chance: random.Random) -> None:
    """Move one from an account to another, and count it: four keys, read and written."""
    source, target = chance.sample(range(ACCOUNTS), 2)
    counter = chance.randrange(4)

    def move(tx: Transaction) -> None:
        tx.put(f"account/{source:02d}", tx.get(f"account/{source:02d}") - 1)
        tx.put(f"account/{target:02d}", tx.get(f"account/{target:02d}") + 1)
        tx.put(f"counter/{counter}", tx.get(f"counter/{counter}", 0) + 1)
        tx.put(f"last/{name.split('.')[0]}", {"name": name, "at": tx.now_s})

    catalog.transact(move, comment=name)


def enlist(catalog: Catalog, name: str, chance: random.Random) -> None:
    """Add a key to a list whose length it has read (no phantoms), without another try (a `with` block)."""
    with catalog.transaction(comment=name) as tx:
        known = [key for key, _ in tx.scan("list/")]
        if len(known) > 20:
            tx.delete(chance.choice(known))
        else:
            tx.put(f"list/{name}", len(known))


def look(catalog: Catalog, name: str, chance: random.Random) -> Any:
    """Read everything at one slot."""
    snapshot = catalog.snapshot()
    return [snapshot.slot, [value for _, value in snapshot.scan("account/")], len([*snapshot.scan("list/")])]


def run(storage: Any, folder: Path, *, processes: int, seconds: float, kill_every_s: float, at_least: int = 1) -> int:
    """Run workers, kill one at a random instant again and again, and start another; how many were killed.

    A worker is killed when it has begun a transaction, and the time runs from when all have: on a busy machine they
    would die while they import, and nothing would be tested. It goes on until `at_least` so many transfers and entries
    were acknowledged and one worker was killed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "storage").write_bytes(pickle.dumps(storage))
    prepare(Catalog(storage))

    def start(number: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, __file__, str(folder), str(number)])

    def wait_until_begun(number: int) -> None:
        diary = folder / f"diary-{number}-{workers[number].pid}"
        while not (diary.exists() and diary.stat().st_size):
            assert workers[number].poll() is None, "a worker failed"
            time.sleep(0.01)

    workers = [start(number) for number in range(processes)]
    killed, chance = 0, random.Random()
    try:
        for number in range(processes):
            wait_until_begun(number)
        end = time.monotonic() + seconds
        while time.monotonic() < end or not killed or acknowledged(folder) < at_least:
            number = chance.randrange(processes)
            wait_until_begun(number)
            time.sleep(chance.random() * 2 * kill_every_s)
            assert workers[number].poll() is None, "a worker failed"
            workers[number].kill()
            assert workers[number].wait() == -signal.SIGKILL
            killed += 1
            workers[number] = start(number)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    return killed


def acknowledged(folder: Path) -> int:
    """How many transactions were acknowledged that wrote something."""
    return sum(is_done and saw is None for _, _, _, saw, is_done in read_diaries(folder))


def judge(storage: Any, folder: Path) -> dict[str, int]:
    """Replay everything that was committed; AssertionError at the first thing that is wrong."""
    catalog = Catalog(storage)
    commits = [*catalog.log()]
    slots = check_history(commits)
    diary = [*read_diaries(folder)]
    done = {name: (began, ended, saw) for name, began, ended, saw, is_done in diary if is_done}
    refused = [name for name, _, ended, _, is_done in diary if ended is not None and not is_done]
    for name, (_, _, saw) in done.items():
        expected = 0 if saw is not None else 1
        assert len(slots.get(name, [])) == expected, f"{name} was acknowledged and is there {slots.get(name)}"
    for name in refused:
        assert name not in slots, f"{name} was refused and is there"
    assert all(len(found) == 1 for found in slots.values()), "applied twice"
    check_real_time(
        [
            (began, ended, slots[name][0] if saw is None else saw[0], saw is None)
            for name, (began, ended, saw) in done.items()
        ]
    )
    states = {commit.slot: state for commit, state in states_of(commits)}
    for name, (_, _, saw) in done.items():
        if saw is not None:
            accounts, listed = states[saw[0]]
            assert (saw[1], saw[2]) == (accounts, listed), f"{name} saw what never was"
    return {"commits": len(commits), "done": len(done), "refused": len(refused)}


def check_history(commits: list[Commit]) -> dict[str, list[int]]:
    """The log is a chain, time never falls, every read was the last write: serialisable, checked from the records
    alone. Gives the slots of each transaction."""
    state: dict[str, tuple[int, Any]] = {}
    slots: dict[str, list[int]] = {}
    for before, commit in zip([None, *commits], commits, strict=False):
        if before is not None:
            assert (commit.slot, commit.previous) == (before.slot + 1, before.hash)
            assert commit.time_s >= before.time_s
        for change in commit.transactions:
            for key, slot in change.reads.items():
                assert state.get(key, (-1,))[0] == slot, f"{change.comment} read {key} of slot {slot}"
            for prefix in change.prefixes:
                listed = sum(key.startswith(prefix) for key in state)
                assert all(value == listed for key, value in change.puts.items() if key.startswith(prefix)), "a phantom"
            for key in change.deletes:
                state.pop(key, None)
            for key, value in change.puts.items():
                state[key] = (commit.slot, value)
                if key.startswith("last/"):
                    assert value["at"] == commit.time_s
            if change.comment:
                slots.setdefault(change.comment, []).append(commit.slot)
            assert sum(value for key, (_, value) in state.items() if key.startswith("account/")) == ACCOUNTS * START
    return slots


def check_real_time(done: list[tuple[int, int, int, bool]]) -> None:
    """What ended before another began has a smaller slot; who only looked saw no older one."""
    by_begin, by_end = sorted(done), sorted(done, key=lambda one: one[1])
    highest, at = -1, 0
    for began, _, slot, is_commit in by_begin:
        while at < len(by_end) and by_end[at][1] < began:
            highest = max(highest, by_end[at][2])
            at += 1
        assert slot > highest or (slot == highest and not is_commit), (
            f"slot {slot} began after slot {highest} had ended"
        )


def states_of(commits: list[Commit]) -> Iterator[tuple[Commit, tuple[list[int], int]]]:
    """The accounts and the length of the list after each slot."""
    state: dict[str, Any] = {}
    for commit in commits:
        for change in commit.transactions:
            for key in change.deletes:
                state.pop(key, None)
            state.update(change.puts)
        accounts = [state[key] for key in sorted(state) if key.startswith("account/")]
        yield commit, (accounts, sum(key.startswith("list/") for key in state))


def read_diaries(folder: Path) -> Iterator[tuple[str, int, int | None, Any, bool]]:
    """(name, began, ended, what it saw, was it done) of each transaction."""
    for path in folder.glob("diary-*"):
        began: dict[str, int] = {}
        ended: dict[str, tuple[int, Any, bool]] = {}
        for line in path.read_text().splitlines():
            try:
                what, name, when, *saw = json.loads(line)
            except ValueError:  # the line during which it was killed
                continue
            if what == "began":
                began[name] = when
            else:
                ended[name] = (when, saw[0] if saw else None, what == "done")
        for name, when in began.items():
            end, saw_, is_done = ended.get(name, (None, None, False))
            yield name, when, end, saw_, is_done


if __name__ == "__main__":
    work(Path(sys.argv[1]), int(sys.argv[2]))
