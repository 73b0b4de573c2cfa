"""Real processes, stopped in the middle of a read, a commit or a cleaning, that go on after the log was cleaned."""

from __future__ import annotations

import json
import os
import pickle
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sleeping_worker

from mlflowish.catalog import Catalog, checkpoints, cleaning, floors, history
from mlflowish.storage import LocalStorage, open_storage

Process = subprocess.Popen[str]
HERE = Path(__file__).parent
LOG, FLOORS, CHECKPOINTS, SEGMENTS = (f"catalog/{name}" for name in ("log", "floors", "checkpoints", "segments"))


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (checkpoints, history, cleaning):
        monkeypatch.setattr(module, "EVERY", sleeping_worker.EVERY)
    monkeypatch.setattr(floors, "_TRUSTED_S", sleeping_worker.MINUTE_S)


@pytest.fixture(params=["local", pytest.param("moto_url", marks=pytest.mark.nightly)])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "local":
        return LocalStorage(tmp_path / "store", fsync="never")
    url, options = request.getfixturevalue(request.param)
    return open_storage(f"{url}/sleeping", **options)


@contextmanager
def worker(storage: Any, folder: Path) -> Iterator[Process]:
    (folder / "storage").write_bytes(pickle.dumps(storage))
    command = [sys.executable, str(HERE / "sleeping_worker.py"), str(folder / "storage")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def tell(process: Process, act: str, stop_at: tuple[str, str] | None = None) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps([act, stop_at]) + "\n")
    process.stdin.flush()


def answer(process: Process) -> Any:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def is_stopped(process: Process) -> bool:
    """Wait until it has stopped itself, or has answered without."""
    assert process.stdout is not None
    while not select.select([process.stdout], [], [], 0.01)[0]:
        pid, status = os.waitpid(process.pid, os.WUNTRACED | os.WNOHANG)
        if pid:
            assert os.WIFSTOPPED(status), "the worker failed"
            return True
    return False


def fill(catalog: Catalog, count: int) -> None:
    for _ in range(count):
        catalog.transact(lambda tx: tx.put(f"k/{(tx.slot + 1) % 7}", tx.slot + 1))


SLEEPS = [
    ("read", ("get", LOG)),
    ("read", ("get", FLOORS)),
    ("read", ("get", CHECKPOINTS)),
    ("read", ("get", SEGMENTS)),
    ("commit", ("get", LOG)),
    ("commit", ("put_if_absent", LOG)),
    ("commit", ("get", FLOORS)),
    ("clean", ("get", SEGMENTS)),
    ("clean", ("put_if_absent", FLOORS)),
    ("clean", ("delete", LOG)),
    ("clean", ("delete", CHECKPOINTS)),
    ("clean", ("delete", SEGMENTS)),
]


def test_a_process_that_was_stopped_anywhere_goes_on_right_after_a_cleaning(storage: Any, tmp_path: Path) -> None:
    catalog = Catalog(storage)
    fill(catalog, 6)
    acknowledged, unknown, slept = 0, 0, 0
    with worker(storage, tmp_path) as process:
        for act, stop_at in SLEEPS:
            fill(catalog, 6)
            tell(process, act, stop_at)
            if is_stopped(process):
                slept += 1
                fill(catalog, 9)
                time.sleep(sleeping_worker.MINUTE_S * 1.1)  # what the stopped one saw is older than it may trust
                cleaning.clean(catalog.history, keep_s=-1.0, keep_slots=0, untouched_s=0.0)
                os.kill(process.pid, signal.SIGCONT)
            found = answer(process)
            if act == "read":
                assert found == dict(catalog.snapshot().scan()), stop_at
            elif act == "commit":
                assert type(found) is int or found[2] == "unknown", (stop_at, found)
                acknowledged, unknown = acknowledged + (type(found) is int), unknown + (type(found) is not int)
            else:
                assert type(found) is int, (stop_at, found)
            fresh = Catalog(storage).snapshot()
            assert dict(fresh.scan()) == dict(catalog.snapshot().scan()), (act, stop_at)
            assert acknowledged <= fresh.get("mine", 0) <= acknowledged + unknown
    assert slept > 6
    assert acknowledged > 0
