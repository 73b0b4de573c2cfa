"""May many writers share a filesystem that nobody has measured? A few races decide, and doubt decides against it."""

from __future__ import annotations

import inspect
import os
import threading
from typing import Any

_TRIES = 8
_RACERS = 6
# Classes whose `mode="create"` looks first and writes then, or ignores the mode; a race would not always show it.
_LOOK_FIRST = frozenset(
    {
        "AbstractFileSystem", "AsyncFileSystem", "MemoryFileSystem", "LocalFileSystem", "SFTPFileSystem",
        "SSHFileSystem", "FTPFileSystem", "SMBFileSystem", "HadoopFileSystem", "WebHDFS", "DirFileSystem",
        "CachingFileSystem",
    }
)  # fmt: skip


def creates_exclusively(fs: Any, root: str) -> bool:
    """Does `pipe_file(mode="create")` have one winner, keep what is there, and show at once what was written?

    Writes some dozen small objects below `<root>/selftest-...` and removes them. fsspec's own default looks first and
    writes then, and so do some others: they are told by their class, because a race does not always show it.
    """
    if not _has_create_of_its_own(fs):
        return False
    folder = f"{root}/selftest-{os.urandom(8).hex()}"
    try:
        fs.makedirs(folder, exist_ok=True)
        return all(_one_race(fs, f"{folder}/{number}", number) for number in range(_TRIES))
    except Exception:  # noqa: BLE001  whatever an unknown filesystem raises here, it has not passed
        return False
    finally:
        _remove(fs, folder)


def _has_create_of_its_own(fs: Any) -> bool:
    from fsspec.asyn import AsyncFileSystem

    name = "_pipe_file" if isinstance(fs, AsyncFileSystem) else "pipe_file"
    maker = next(kind for kind in type(fs).__mro__ if name in vars(kind))
    # One that swallows `mode` among its **kwargs would let everybody win.
    return maker.__name__ not in _LOOK_FIRST and "mode" in inspect.signature(vars(maker)[name]).parameters


def _one_race(fs: Any, full: str, number: int) -> bool:
    payloads = [
        b"" if number == 0 and racer == 0 else f"{racer}-{os.urandom(8).hex()}".encode() for racer in range(_RACERS)
    ]
    winners: list[bytes] = []
    start = threading.Barrier(_RACERS)

    def race(payload: bytes) -> None:
        start.wait()
        try:
            fs.pipe_file(full, payload, mode="create")
        except Exception:  # noqa: BLE001  a loser, in the words of an unknown filesystem
            return
        winners.append(payload)

    racers = [threading.Thread(target=race, args=(payload,), daemon=True) for payload in payloads]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    return len(winners) == 1 and bytes(fs.cat_file(full)) == winners[0] and _keeps(fs, full, winners[0])


def _keeps(fs: Any, full: str, content: bytes) -> bool:
    """A late writer is refused, a replacement is read back at once."""
    try:
        fs.pipe_file(full, b"late", mode="create")
    except Exception:  # noqa: BLE001  as it should
        pass
    else:
        return False
    if bytes(fs.cat_file(full)) != content:
        return False
    fs.pipe_file(full, b"replaced")
    return bytes(fs.cat_file(full)) == b"replaced"


def _remove(fs: Any, folder: str) -> None:
    try:
        fs.rm(folder, recursive=True)
    except Exception:  # noqa: BLE001  leftovers of a self-test harm nobody
        pass
