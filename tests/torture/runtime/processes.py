"""Real processes for the runtime torture, with the steps of this folder importable and a hash seed of choice."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from subprocess import PIPE

from processes_heard import Mortal

HERE = Path(__file__).parent


def start(code, *arguments, seed=0, cwd=None, env=None, interpreter=()):
    """A running process of `code`, with `sys.argv[1:]` as given."""
    search = os.pathsep.join(filter(None, [(env or {}).get("PYTHONPATH"), str(HERE), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONDONTWRITEBYTECODE": "1", **(env or {})}
    environment["PYTHONPATH"] = search
    return Mortal(
        [sys.executable, *interpreter, "-c", code, *map(str, arguments)],
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        text=True,
        cwd=cwd,
        env=environment,
    )


def finish(process, *, timeout_s=240):
    """The JSON that the process printed last; its complaints are the failure."""
    out, complaints = process.communicate(timeout=timeout_s)
    assert process.returncode == 0, f"exit {process.returncode}\n{out[-2000:]}\n{complaints[-6000:]}"
    lines = out.strip().splitlines()
    return json.loads(lines[-1]) if lines else None


def run(code, *arguments, **options):
    """What a process of `code` prints, when it has ended well."""
    return finish(start(code, *arguments, **options))


def lines_of(log):
    """The computations that were noted in a log, in order."""
    path = Path(log)
    return path.read_text().splitlines() if path.exists() else []
