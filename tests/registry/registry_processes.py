"""Real processes that work on one registry at the same time: they wait for each other, then begin."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from subprocess import PIPE
from typing import Any

from processes_heard import Mortal, rest_of

HERE = Path(__file__).parent
HEAD = """
import json, os, sys
import mlflowish as mf
import registry_workers
location, options, arguments = json.loads(sys.argv[1])
store = mf.use(location, **options)
print("ready", flush=True)
sys.stdin.readline()
"""


class Worker:
    """A process that runs one function of registry_workers.py when it is told to `go`; its lines are its results."""

    def __init__(self, place: tuple[str, dict[str, Any]], function: str, *arguments: Any, **env: str) -> None:
        code = f"{HEAD}\nregistry_workers.{function}(store, *arguments)"
        environment = {**os.environ, "PYTHONPATH": str(HERE), "MLFLOWISH_USER": "worker", **env}
        self.process = Mortal(
            [sys.executable, "-c", code, json.dumps([*place, arguments])],
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            text=True,
            env=environment,
        )

    def wait_until_ready(self) -> None:
        line = self.process.stdout.readline()
        assert line == "ready\n", self.process.communicate()[1]

    def go(self) -> None:
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def line(self) -> Any:
        """The next thing that it prints."""
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        return json.loads(line)

    def lines(self, timeout_s: float = 600.0) -> list[Any]:
        """What it printed, parsed; it must have ended well."""
        out, complaints = self.process.communicate(timeout=timeout_s)
        assert self.process.returncode == 0, complaints[-6000:]
        return [json.loads(line) for line in out.splitlines()]

    def kill(self) -> list[Any]:
        """kill -9; what it had printed, whole lines only."""
        self.process.kill()
        out, complaints = rest_of(self.process)
        assert "Traceback" not in complaints, complaints[-6000:]
        return [json.loads(line) for line in out.splitlines(keepends=True) if line.endswith("\n")]


def together(workers: list[Worker]) -> list[list[Any]]:
    """Let all begin at once; what each printed."""
    for worker in workers:
        worker.wait_until_ready()
    for worker in workers:
        worker.go()
    return [worker.lines() for worker in workers]
