"""kill -9 at every storage call, and many processes at once: nothing acknowledged is gone, nothing is wrong."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from pathlib import Path

import pytest
from journal_worlds import BucketStorage, key_of, payload_of
from processes_heard import Mortal

from mlflowish.errors import StorageError
from mlflowish.journals import Journals
from mlflowish.storage.base import Storage
from mlflowish.storage.local import LocalStorage
from mlflowish.storage.memory import MemoryStorage
from mlflowish.testing.faults import At, Fault, FaultyStorage

HERE = Path(__file__).parent


def run(script: str, *arguments: object) -> None:
    command = [sys.executable, str(HERE / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


@pytest.mark.parametrize("scenario", ["append", "roll", "compact", "fold"])
def test_nothing_acknowledged_is_gone_wherever_the_process_dies(tmp_path: Path, scenario: str) -> None:
    run("crash_driver.py", scenario, tmp_path)


def test_nothing_acknowledged_is_gone_wherever_a_shipping_process_dies(tmp_path: Path) -> None:
    run("crash_driver.py", "ship", tmp_path)


ERRORS = [Fault.FAIL_BEFORE, Fault.FAIL_AFTER, Fault.TORN, Fault.FULL, Fault.TWICE, Fault.STALE_LIST]


@pytest.mark.parametrize("is_bucket", [False, True], ids=["local", "bucket"])
@pytest.mark.parametrize("fault", ERRORS, ids=lambda fault: fault.value)
def test_nothing_acknowledged_is_gone_whichever_call_fails(tmp_path: Path, fault: Fault, is_bucket: bool) -> None:
    number = 0
    while True:
        number += 1
        memory = MemoryStorage(f"{tmp_path}/{fault.value}/{number}")
        inner = BucketStorage(memory) if is_bucket else memory
        faulty = FaultyStorage(inner, At(number, fault))
        acknowledged = work_through(faulty, tmp_path / f"spool-{number}")
        healthy = Journals(inner, "calls", spool_dir=tmp_path / f"spool-{number}", ship_every_s=600.0)
        healthy.flush()
        found = dict(healthy.scan())
        assert {key_of(n): payload_of(n) for n in acknowledged}.items() <= found.items(), faulty.calls[number - 1]
        assert all(payload_of(n) == found.get(key_of(n), payload_of(n)) for n in range(100))
        healthy.close()
        if len(faulty.calls) < number:
            break
    assert number > 30


def work_through(storage: Storage, spool_dir: Path) -> list[int]:
    """Append, ship, roll and compact, whatever fails; what was acknowledged."""
    acknowledged = []
    journals = Journals(storage, "calls", spool_dir=spool_dir, roll_bytes=500, refresh_s=0.0, ship_every_s=600.0)
    for number in range(30):
        with contextlib.suppress(StorageError):
            journals.append(key_of(number), payload_of(number))
            acknowledged.append(number)
        if number % 10 == 9:
            for act in (journals.flush, journals.compact, lambda: journals.get(key_of(99))):
                with contextlib.suppress(StorageError):
                    act()
    with contextlib.suppress(StorageError):
        journals.close()
    return acknowledged


WRITER = """
import sys
from journal_worlds import key_of, payload_of
from mlflowish.journals import Journals
from mlflowish.storage.local import LocalStorage
root, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
journals = Journals(LocalStorage(root, fsync="never"), "calls", roll_bytes=8_000)
for number in range(first, first + count):
    journals.append(key_of(number), payload_of(number))
    assert journals.get(key_of(first)) == (payload_of(first),)
    if number % 50 == 0:
        journals.get(key_of(-1 - number))
    if number % 400 == 399:
        journals.close()
"""
COMPACTOR = """
import sys
from mlflowish.journals import Journals
from mlflowish.storage.local import LocalStorage
print("ready", flush=True)
journals = Journals(LocalStorage(sys.argv[1], fsync="never"), "calls")
while True:
    journals.compact()
"""


def start(script: str, *arguments: object) -> Mortal:
    prologue = f"import sys; sys.path.insert(0, {str(HERE)!r})\n"
    command = [sys.executable, "-c", prologue + script, *map(str, arguments)]
    return Mortal(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_eight_writers_beside_two_compactors_lose_nothing(tmp_path: Path) -> None:
    root, count = tmp_path / "store", 1_000
    compactors = [start(COMPACTOR, root) for _ in range(2)]
    writers = [start(WRITER, root, part * count, count) for part in range(8)]
    reader = Journals(LocalStorage(str(root), fsync="never"), "calls")
    seen: set[int] = set()
    while any(writer.poll() is None for writer in writers):
        for part in range(8):  # what was once seen stays, through every compaction
            number = part * count + len(seen) * 37 % count
            if reader.get(key_of(number)):
                seen.add(number)
        assert all(reader.get(key_of(number)) == (payload_of(number),) for number in list(seen)[:200])
        fresh = Journals(LocalStorage(str(root), fsync="never"), "calls")
        assert all(fresh.get(key_of(number)) == (payload_of(number),) for number in list(seen)[:50])
        time.sleep(0.02)
    for writer in writers:
        _, complaint = writer.communicate()
        assert writer.returncode == 0, complaint
    for compactor in compactors:
        assert compactor.poll() is None, compactor.communicate()[1]
        compactor.kill()
        compactor.communicate()
    assert list(Journals(LocalStorage(str(root), fsync="never"), "calls").scan()) == sorted(
        (key_of(number), payload_of(number)) for number in range(8 * count)
    )
