"""What a process prints after lines of it were read."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor


def rest_of(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Its output from here to its end, and its complaints. `communicate` asks the pipe, and so loses whatever came
    together with the line that was read before."""
    assert process.stdout is not None
    assert process.stderr is not None
    with process, ThreadPoolExecutor(1) as pool:
        complaints = pool.submit(process.stderr.read)
        out = process.stdout.read()
        return out, complaints.result()
