"""Runs one scenario again and again in forked children, each killed at another storage call, and checks what is left.

`python crash_driver.py SCENARIO FOLDER`; exits with an error at the first thing that is gone or wrong.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

from journal_worlds import BucketStorage, key_of, payload_of

from mlflowish.journals import Journals, spool
from mlflowish.storage.base import Storage
from mlflowish.storage.local import LocalStorage
from mlflowish.testing.faults import Call, Fault, FaultyStorage

Acknowledge = Callable[[int], None]


class DieAt:
    """One fault at the `at`-th call of all storages that share this plan."""

    def __init__(self, at: int, fault: Fault) -> None:
        self._at, self._fault = at, fault
        self._seen: list[Call] = []

    def __call__(self, call: Call) -> Fault | None:
        if not any(call is seen for seen in self._seen):
            self._seen.append(call)
        return self._fault if self._seen[-1] is call and len(self._seen) == self._at else None


class FolderBucket(BucketStorage):
    """A bucket that outlives a process: a folder without its local abilities."""


def append(storage: Storage, acknowledge: Acknowledge, first: int) -> None:
    journals = Journals(storage, "calls")
    for number in range(first, first + 5):
        journals.append(key_of(number), payload_of(number))
        acknowledge(number)
    journals.close()


def roll(storage: Storage, acknowledge: Acknowledge, first: int) -> None:
    journals = Journals(storage, "calls", roll_bytes=400)
    for number in range(first, first + 16):
        journals.append(key_of(number), payload_of(number))
        acknowledge(number)


def compact(storage: Storage, acknowledge: Acknowledge, first: int) -> None:
    for start in range(first, first + 9, 3):
        append_some(storage, acknowledge, start)
    Journals(storage, "calls").compact()
    append_some(storage, acknowledge, first + 9)
    Journals(storage, "calls").compact()


def fold(storage: Storage, acknowledge: Acknowledge, first: int) -> None:
    for start in range(first, first + 6, 3):
        append_some(storage, acknowledge, start)
    Journals(storage, "calls").compact(lambda key, payloads: payloads)


def ship(storage: Storage, acknowledge: Acknowledge, first: int) -> None:
    journals = Journals(storage, "calls", ship_every_s=60.0)
    for batch in range(3):
        for number in range(first + batch * 3, first + batch * 3 + 3):
            journals.append(key_of(number), payload_of(number))
            acknowledge(number)
        journals.flush()
    journals.compact()


def append_some(storage: Storage, acknowledge: Acknowledge, start: int) -> None:
    journals = Journals(storage, "calls")
    for number in range(start, start + 3):
        journals.append(key_of(number), payload_of(number))
        acknowledge(number)
    journals.close()


SCENARIOS = {"append": append, "roll": roll, "compact": compact, "fold": fold, "ship": ship}


def storage_at(root: Path, scenario: str) -> Storage:
    local = LocalStorage(str(root), fsync="never")  # nobody pulls the plug here
    return FolderBucket(local) if scenario == "ship" else local


def run_killed(root: Path, scenario: str, at: int, *, is_after: bool) -> bool:
    """Run in a child that dies at call `at`; False if it lived to the end."""
    child = os.fork()
    if not child:
        log = os.open(root.with_suffix(".acknowledged"), os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        plan = DieAt(at, Fault.KILL_AFTER if is_after else Fault.KILL_BEFORE)
        spool.LocalStorage = lambda folder: FaultyStorage(LocalStorage(folder, fsync="never"), plan)
        storage = FaultyStorage(storage_at(root, scenario), plan)
        SCENARIOS[scenario](storage, lambda number: os.write(log, b"%d\n" % number), 0)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert status == 0 or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL), status
    return status != 0


def check(root: Path, scenario: str) -> None:
    """Everything acknowledged is there, nothing else but what was under way, before and after further work."""
    acknowledged = root.with_suffix(".acknowledged")
    numbers = set(map(int, acknowledged.read_text().split())) if acknowledged.exists() else set()
    further: list[int] = []
    for round_ in range(2):
        journals = Journals(storage_at(root, scenario), "calls", refresh_s=0.0, ship_every_s=60.0)
        if scenario == "ship":
            journals.flush()
        found = dict(journals.scan())
        missing = {number for number in numbers if found.get(key_of(number)) != payload_of(number)}
        assert not missing, f"gone: {missing}"
        possible = {key_of(number): payload_of(number) for number in range(1_000 + 100)}
        assert all(possible.get(key) == payload for key, payload in found.items())
        assert len(found) <= len(numbers) + 1
        assert all(journals.get(key_of(number)) == (payload_of(number),) for number in numbers)
        if not round_:
            SCENARIOS[scenario](storage_at(root, scenario), further.append, 1_000)
            numbers |= set(further)
        journals.close()


def main(scenario: str, folder: str) -> None:
    # The parent never starts a thread or opens the store before it forks: it only checks between two children.
    os.environ["MLFLOWISH_CACHE_DIR"] = str(Path(folder) / "cache")
    points = 0
    for is_after in (False, True):
        at = 1
        while True:
            root = Path(tempfile.mkdtemp(dir=folder))
            if not run_killed(root, scenario, at, is_after=is_after):
                break
            in_a_child(lambda root=root: check(root, scenario))
            at, points = at + 1, points + 1
    print(f"{points} points")
    assert points > 10


def in_a_child(action: Callable[[], None]) -> None:
    child = os.fork()
    if not child:
        code = 1
        try:
            action()
            code = 0
        finally:
            if code:
                traceback.print_exc()
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0


if __name__ == "__main__":
    main(*sys.argv[1:])
