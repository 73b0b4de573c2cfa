"""Many threads for one large value, where processors are idle: a hasher that keeps its threads from value to value.

Starting threads takes as long as hashing a quarter of a megabyte, and waking threads that sleep can take longer on an
idle machine, whose processors sleep too: a megabyte took 1.0 ms with two threads and 0.6 with one. On a busy machine a
thread that has to wait for a processor makes all others wait, so a single one is faster there, and on average by far.
The number of threads has no influence on a digest.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from blake3 import blake3

# From here on two threads are faster than one by more than waking them costs, if both have a processor to themselves.
WORTH_THREADS_BYTES = 16 << 20
# Waking the threads for less costs more than to copy it to what comes next.
_WORTH_WAKING_BYTES = 32 << 10
# Where there are many processors half of them are the second face of another; and beyond eight, memory is the limit.
_FEW_THREADS, _MOST_THREADS = 4, 8

# Holds the one hasher with threads while nobody uses it (None before it is made). A second thread that has something to
# hash finds the list empty, and does it alone.
_idle: list[Any] = [None]


def hashed(start: bytes, buffers: Iterable[Any], *, length: int) -> bytes:
    """BLAKE3 of `start` and the buffers, of which there are at least `WORTH_THREADS_BYTES`."""
    threads = _useful_threads()
    if threads > 1 and _running_tasks() <= _processors() - threads // 2:
        return hashed_together(start, buffers, length=length, threads=threads)
    return _hashed(blake3(start), buffers, length)


def hashed_together(start: bytes, buffers: Iterable[Any], *, length: int, threads: int) -> bytes:
    """The same by many threads, unless another thread of this process employs them already."""
    try:
        hasher = _idle.pop()
    except IndexError:
        return _hashed(blake3(start), buffers, length)
    if hasher is None:
        # The number is given, never "auto": those threads belong to a pool that a forked child shares without having
        # them, and it would wait for them for ever.
        hasher = blake3(max_threads=threads)
    try:
        return _hashed(hasher, _gathered(start, buffers), length)
    finally:
        hasher.reset()
        if not _idle:
            _idle.append(hasher)


def _hashed(hasher: Any, buffers: Iterable[Any], length: int) -> bytes:
    for buffer in buffers:
        hasher.update(buffer)
    digest: bytes = hasher.digest(length)
    return digest


def _gathered(start: bytes, buffers: Iterable[Any]) -> Iterator[Any]:
    """The same bytes, what is small put together."""
    waiting = start
    for buffer in buffers:
        is_small = memoryview(buffer).nbytes < _WORTH_WAKING_BYTES
        if is_small:
            waiting += bytes(buffer)
        if waiting and (not is_small or len(waiting) >= _WORTH_WAKING_BYTES):
            yield waiting
            waiting = b""
        if not is_small:
            yield buffer
    if waiting:
        yield waiting


@functools.cache
def _useful_threads() -> int:
    ours = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else _processors()
    return min(ours, max(_FEW_THREADS, min(ours // 2, _MOST_THREADS)))


@functools.cache
def _processors() -> int:
    return os.cpu_count() or 1


def _running_tasks() -> float:
    """How many threads of the machine are running or want to, this one included: now, or lately where only that is
    known."""
    if sys.platform == "linux":
        try:
            # Kept open, as opening takes longer than reading. Whatever the number names by now, it is a hint, no more.
            return int(os.pread(_linux_load(), 64, 0).split()[3].partition(b"/")[0])
        except (OSError, ValueError, IndexError):  # no /proc, or another file by that number
            _linux_load.cache_clear()
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 1


@functools.cache
def _linux_load() -> int:
    return os.open("/proc/loadavg", os.O_RDONLY | os.O_CLOEXEC)


def _dismiss() -> None:
    """End the threads before a fork: a child would have the hasher without them."""
    _idle[:] = [None]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_dismiss, after_in_child=_dismiss)
