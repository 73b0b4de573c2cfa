"""Processes that tests start: what they print after lines of it were read, and that none outlives its test."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

_started: list[Mortal] = []


class Mortal(subprocess.Popen[Any]):
    """A process that ends with the test that started it, however that ends, and so does what it has started itself.

    It leads a session of its own, whose members are found when it is dead.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options, start_new_session=True)
        _started.append(self)

    def __exit__(self, kind: Any, *failure: Any) -> None:
        if kind is not None:  # who waits for its end here may wait for what the test did not come to tell it
            self.end()
        super().__exit__(kind, *failure)

    def end(self) -> None:
        """Kill it, and what is left of what it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        for stream in (self.stdin, self.stdout, self.stderr):
            with contextlib.suppress(OSError):  # what it was never told
                if stream is not None:
                    stream.close()
        self.wait()


def end_started() -> None:
    """Kill what has been started since the last time and still lives. For the end of each test."""
    while _started:
        _started.pop().end()


def end_fork(holds: Callable[[], bool]) -> NoReturn:
    """End a forked child of the tests: 0 if it holds. Whatever it raises would go on as a second run of all of them."""
    code = 1
    try:
        code = 0 if holds() else 2
    except BaseException:  # noqa: BLE001  told here, and by the code
        traceback.print_exc()
        sys.__stderr__.flush()
    finally:
        os._exit(code)


def rest_of(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Its output from here to its end, and its complaints. `communicate` asks the pipe, and so loses whatever came
    together with the line that was read before."""
    assert process.stdout is not None
    assert process.stderr is not None
    with process, ThreadPoolExecutor(1) as pool:
        complaints = pool.submit(process.stderr.read)
        out = process.stdout.read()
        return out, complaints.result()
