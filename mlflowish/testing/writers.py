"""Who writes to a storage under test: by one verb or another, in threads, in forked children, until they are killed."""

from __future__ import annotations

import os
import pickle
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from mlflowish.storage.base import Storage

RACERS = 6
PATIENCE_S = 300.0  # a machine may be busy


def write(storage: Storage, verb: str, path: str, data: Any) -> bool | None:
    """Write by one of the three verbs."""
    if verb == "put":
        storage.put(path, data)
        return None
    if verb == "put_if_absent":
        return storage.put_if_absent(path, data)
    staging = storage.stage()
    staging.write(data)
    return staging.commit(path)


def reopened(storage: Storage) -> Storage:
    """Another handle on the same place."""
    other: Storage = pickle.loads(pickle.dumps(storage))
    return other


def require(promise: bool, what: str) -> None:
    """Skip the test if the storage does not promise what it is about."""
    if not promise:
        pytest.skip(f"this storage does not promise {what}")


def require_append(storage: Storage) -> None:
    """Skip the test if the storage cannot append."""
    require(storage.capabilities.append, "to append")


def fork(act: Callable[[], object]) -> int:
    """Run `act` in a forked child, which ends with 0 if that returned something true."""
    with warnings.catch_warnings():
        # That other threads exist is the point of the test.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        code = 0 if act() else 2
    finally:
        os._exit(code)


def race_threads(storage: Storage, path: str, payload: bytes) -> list[bytes]:
    """What the threads wrote that were told that they won."""
    start, claims = threading.Barrier(RACERS), []

    def run(content: bytes) -> None:
        start.wait()
        if storage.put_if_absent(path, content):
            claims.append(content)

    contents = [nonce_of(racer, 0) + payload for racer in range(RACERS)]
    racers = [threading.Thread(target=run, args=(content,)) for content in contents]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    return claims


def nonce_of(racer: int, number: int) -> bytes:
    """What a racer writes before the payload, so that it is known whose it is."""
    return f"racer {racer} of round {number};".encode()


def race_rounds(storage: Storage, racer: int, rounds: int, payloads: list[bytes], barrier: Any, results: Any) -> None:
    """In a child: race for one path after the other, and put into `results` at once whether it was told that it won.

    What it could not do comes as text, and nobody waits for it any more.
    """
    try:
        for number in range(rounds):
            content = nonce_of(racer, number) + payloads[number % len(payloads)]
            barrier.wait(PATIENCE_S)
            results.put((number, racer, storage.put_if_absent(f"race/{number}", content)))
    except Exception:  # whatever it is: who waits for this racer hears of it, and then it goes on its way
        results.put(f"racer {racer} of round {number}: {traceback.format_exc()}")
        barrier.abort()
        raise


def content_of(path: str) -> bytes:
    """What `write_until_killed` writes to a path."""
    return path.encode() * (200_000 if path.startswith("small") else 800_000)


def write_until_killed(storage: Storage, life: int, started: Any) -> None:
    """In a child: write by every verb, small and large, until somebody ends it."""
    started.set()
    for number in range(10_000):
        storage.put(f"small/put-{number % 3}", content_of(f"small/put-{number % 3}"))
        path = f"small/{life}-{number}"
        storage.put_if_absent(path, content_of(path))
        path = f"large/{life}-{number}"
        staging = storage.stage()
        whole = memoryview(content_of(path))
        for start in range(0, len(whole), 1 << 20):
            staging.write(whole[start : start + (1 << 20)])
        staging.commit(path)


def append_until_killed(storage: Storage, path: str, ready: Any) -> None:
    """In a child: append once, say so, and keep the claim."""
    appender = storage.open_append(path)
    appender.write(b"acknowledged")
    ready.set()
    time.sleep(600)
