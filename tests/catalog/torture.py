"""Processes that commit random transactions on one catalog until they are killed, and the judge of what is left.

`python torture.py WORKER-FOLDER NUMBER` with a pickled storage in the folder runs one worker; `judge` replays the log.
Each worker keeps a diary on the local disk: one line before and one after each transaction, with the machine's
monotonic clock, so that what was acknowledged, and when, survives it.
"""

from __future__ import annotations

import itertools
import json
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlflowish.catalog import Catalog, Commit, Snapshot, Transaction
from mlflowish.catalog.cleaning import clean
from mlflowish.errors import ConflictError, NotFoundError, StorageError
from mlflowish.testing.faults import Call, Fault, FaultyStorage, Seeded

ACCOUNTS = 12
START = 100
FAULTS = (Fault.FAIL_BEFORE, Fault.FAIL_AFTER, Fault.TORN, Fault.TWICE, Fault.DELAY, Fault.STALE_LIST, Fault.FULL)
# A record is removed some time after it was written, here after seconds instead of an hour, and some puts come later.
UNTOUCHED_S, SLOW_S, SLOW_PUTS = 15.0, 20.0, 0.002
Act = Callable[[Catalog, str, random.Random, str | None], Any]


def prepare(catalog: Catalog) -> None:
    """Open the accounts."""

    def open_accounts(tx: Transaction) -> None:
        for number in range(ACCOUNTS):
            tx.put(f"account/{number:02d}", START)

    catalog.transact(open_accounts, id="prepare")


@dataclass(frozen=True)
class Way:
    """How the workers live: threads of each, which share a handle and so their commits; a share of their storage calls
    that fail, in every way in which that storage can; and cleanings of the log, beside which some puts come late."""

    threads: int = 1
    fault_rate: float = 0.0
    cleans: bool = False

    def around(self, storage: Any) -> Any:
        """The storage as a worker has it."""
        is_near = storage.capabilities.local_paths
        faults = FAULTS if is_near else (*FAULTS, Fault.LATE)
        seeded = Seeded(int.from_bytes(os.urandom(8)), self.fault_rate, faults)
        faulty = FaultyStorage(storage, seeded, late_by=3) if self.fault_rate else storage
        return FaultyStorage(faulty, Sometimes(SLOW_PUTS), delay_s=SLOW_S) if self.cleans else faulty


@dataclass(frozen=True)
class Sometimes:
    """A long delay before a share of the puts of records."""

    rate: float

    def __call__(self, call: Call) -> Fault | None:
        is_record = call.operation == "put_if_absent" and call.path.startswith("catalog/log/")
        return Fault.DELAY if is_record and random.random() < self.rate else None


def work(folder: Path, number: int) -> None:
    """Do again what was begun by a worker of this number that died, then transfer, count, list and look, for ever."""
    way = Way(**json.loads((folder / "way").read_text()))
    catalog = Catalog(way.around(pickle.loads((folder / "storage").read_bytes())))
    left = [name for name, _, ended, _, _ in read_diaries(folder, number) if ended is None and has_id(name)]
    threads = []
    for thread in range(way.threads):
        diary = Diary(folder / f"diary-{number}-{os.getpid()}-{thread}")
        threads.append(threading.Thread(target=work_alone, args=(catalog, diary, left[thread :: way.threads])))
        threads[-1].start()
    for one in threads:  # a program whose main thread has ended has no pools of threads any more
        one.join()


def work_alone(catalog: Catalog, diary: Diary, left: list[str]) -> None:
    chance = random.Random(os.urandom(8))
    try:
        for name in left:
            attempt(catalog, diary, transfer, name, chance, again=True)
        for serial in itertools.count():
            act = chance.choice([transfer, transfer, transfer, enlist, look, look_back])
            attempt(catalog, diary, act, f"{diary.name}.{serial}", chance)
    except BaseException:  # noqa: BLE001  whatever it is
        traceback.print_exc()
        os._exit(1)  # all of the process: whoever started it looks at that


class Diary:
    """What one thread has begun and ended, a line each."""

    def __init__(self, path: Path) -> None:
        self.name = path.name.removeprefix("diary-").replace("-", ".")
        self._file = open(path, "a", buffering=1)  # noqa: SIM115  killed, never closed

    def write(self, what: str, name: str, *saw: Any) -> None:
        self._file.write(json.dumps([what, name, time.monotonic_ns(), *saw]) + "\n")


def has_id(name: str) -> bool:
    """Every second transaction has its name for an id, so that others can do it again."""
    return int(name.rpartition(".")[2]) % 2 == 0


def attempt(catalog: Catalog, diary: Diary, act: Act, name: str, chance: random.Random, *, again: bool = False) -> None:
    """One line before and one after it. What must be done is done again until it is known to be."""
    diary.write("began", name)
    given_id = name if has_id(name) else None
    while True:
        try:
            saw = act(catalog, name, chance, given_id)
        except NotFoundError as error:  # a state, or whether its id was there
            assert "cleaned" in str(error)  # noqa: PT017  it need not be raised
            if not again:
                diary.write("refused", name)
            return
        except (ConflictError, StorageError) as error:
            if error.data.get("outcome") == "unknown":
                again, given_id = True, error.data["id"]
            elif not again:
                diary.write("refused", name)
                return
        else:
            diary.write("done", name, saw)
            return


def transfer(catalog: Catalog, name: str, chance: random.Random, given_id: str | None) -> None:
    """Move one from an account to another, and count it: four keys, read and written."""
    source, target = chance.sample(range(ACCOUNTS), 2)
    counter = chance.randrange(4)

    def move(tx: Transaction) -> None:
        tx.put(f"account/{source:02d}", tx.get(f"account/{source:02d}") - 1)
        tx.put(f"account/{target:02d}", tx.get(f"account/{target:02d}") + 1)
        tx.put(f"counter/{counter}", tx.get(f"counter/{counter}", 0) + 1)
        tx.put(f"last/{name.split('.')[0]}", {"name": name, "at": tx.now_s})

    catalog.transact(move, comment=name, id=given_id)


def enlist(catalog: Catalog, name: str, chance: random.Random, given_id: str | None) -> None:
    """Add a key to a list whose length it has read (no phantoms), without another try (a `with` block)."""
    with catalog.transaction(comment=name, id=given_id) as tx:
        known = [key for key, _ in tx.scan("list/")]
        if len(known) > 20:
            tx.delete(chance.choice(known))
        else:
            tx.put(f"list/{name}", len(known))


def look(catalog: Catalog, name: str, chance: random.Random, given_id: str | None) -> Any:
    """Read everything at one slot."""
    return seen(catalog.snapshot())


def look_back(catalog: Catalog, name: str, chance: random.Random, given_id: str | None) -> Any:
    """Read everything as it was at an earlier slot, or time."""
    head = catalog.refresh()
    at = chance.choice([max(head - chance.randrange(100), 0), time.time() - 3 * chance.random()])
    return [*seen(catalog.snapshot(at)), at]


def seen(snapshot: Snapshot) -> list[Any]:
    return [snapshot.slot, [value for _, value in snapshot.scan("account/")], len([*snapshot.scan("list/")])]


def run(
    storage: Any,
    folder: Path,
    way: Way = Way(),
    *,
    processes: int,
    seconds: float,
    kill_every_s: float,
    at_least: int = 1,
    kills: int = 1,
) -> tuple[int, list[Commit]]:
    """Run workers, kill one at a random instant again and again, and start another; how many were killed, and the
    commits that were cleaned away, and some more.

    A worker is killed when it has begun a transaction, and the time runs from when all have: on a busy machine they
    would die while they import, and nothing would be tested. It goes on until `at_least` so many transfers and entries
    were acknowledged and so many workers were killed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "storage").write_bytes(pickle.dumps(storage))
    (folder / "way").write_text(json.dumps(asdict(way)))
    catalog, archive = Catalog(storage), list[Commit]()
    prepare(catalog)

    def start(number: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, __file__, str(folder), str(number)])

    def require_all_alive() -> None:
        assert [worker.poll() for worker in workers] == [None] * processes, "a worker failed"

    def wait_until_begun(number: int) -> None:
        diary = folder / f"diary-{number}-{workers[number].pid}-0"
        while not (diary.exists() and diary.stat().st_size):
            require_all_alive()
            time.sleep(0.01)

    workers = [start(number) for number in range(processes)]
    killed, chance = 0, random.Random()
    try:
        for number in range(processes):
            wait_until_begun(number)
        end = time.monotonic() + seconds
        while time.monotonic() < end or killed < kills or acknowledged(folder) < at_least:
            number = chance.randrange(processes)
            wait_until_begun(number)
            time.sleep(chance.random() * 2 * kill_every_s)
            require_all_alive()
            workers[number].kill()
            assert workers[number].wait() == -signal.SIGKILL
            killed += 1
            workers[number] = start(number)
            if way.cleans:
                archive += catalog.log(since=archive[-1].slot if archive else -1)
                clean(catalog.history, keep_s=-1e6, keep_slots=0, untouched_s=UNTOUCHED_S)
                # What was committed between the two is below the floor now, and too young to have been removed.
                between = range(archive[-1].slot + 1, catalog.history.floors.newest.slot + 1)
                archive += [commit for slot in between if (commit := catalog.history.log.read(slot)) is not None]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    return killed, archive


def acknowledged(folder: Path) -> int:
    """How many transactions were acknowledged that wrote something."""
    return sum(is_done and saw is None for _, _, _, saw, is_done in read_diaries(folder))


def judge(storage: Any, folder: Path, archive: list[Commit] | None = None) -> dict[str, int]:
    """Replay everything that was committed; AssertionError at the first thing that is wrong."""
    catalog = Catalog(storage)
    commits = [*(archive or ()), *catalog.log(since=archive[-1].slot if archive else -1)]
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
            if saw is None or len(saw) == 3
        ]
    )
    states = {-1: ([], 0, 0.0), **{commit.slot: (*state, commit.time_s) for commit, state in states_of(commits)}}
    for name, (_, _, saw) in done.items():
        if saw is not None:
            accounts, listed, time_s = states[saw[0]]
            assert (saw[1], saw[2]) == (accounts, listed), f"{name} saw what never was"
            if len(saw) > 3:
                assert saw[0] == saw[3] if isinstance(saw[3], int) else time_s <= saw[3], f"{name} saw another moment"
    assert dict(catalog.snapshot().scan()) == final_state(commits)
    return {
        "commits": len(commits),
        "together": sum(len(commit.transactions) > 1 for commit in commits),
        "done": len(done),
        "refused": len(refused),
        "again": sum(has_id(name) and name in slots and len(begun) > 1 for name, begun in begins(folder).items()),
    }


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


def final_state(commits: list[Commit]) -> dict[str, Any]:
    """Every key of the callers after the last slot."""
    state: dict[str, Any] = {}
    for change in itertools.chain.from_iterable(commit.transactions for commit in commits):
        for key in change.deletes:
            state.pop(key, None)
        state.update(change.puts)
    return {key: value for key, value in sorted(state.items()) if not key.startswith("~")}


def begins(folder: Path) -> dict[str, list[int]]:
    """When each transaction was begun, the first time and by those who did it again."""
    found: dict[str, list[int]] = {}
    for what, name, when, *_ in lines_of(folder):
        if what == "began":
            found.setdefault(name, []).append(when)
    return found


def read_diaries(folder: Path, number: int | str = "*") -> Iterator[tuple[str, int, int | None, Any, bool]]:
    """(name, began first, ended, what it saw, was it done) of each transaction."""
    began: dict[str, int] = {}
    ended: dict[str, tuple[int, Any, bool]] = {}
    for what, name, when, *saw in lines_of(folder, number):
        if what == "began":
            began[name] = min(when, began.get(name, when))
        else:
            ended[name] = (when, saw[0] if saw else None, what == "done")
    for name, when in began.items():
        end, saw_, is_done = ended.get(name, (None, None, False))
        yield name, when, end, saw_, is_done


def lines_of(folder: Path, number: int | str = "*") -> Iterator[list[Any]]:
    for path in folder.glob(f"diary-{number}-*"):
        for line in path.read_text().splitlines():
            try:
                yield json.loads(line)
            except ValueError:  # the line during which it was killed
                continue


if __name__ == "__main__":
    work(Path(sys.argv[1]), int(sys.argv[2]))
