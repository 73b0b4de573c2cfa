"""One run of a pipeline file with its steps watched: what was read back, what was computed, how long it took, and why.

A rehearsal runs in a process of its own (`python -m mlflowish.cli.rehearsal`, the request on standard input), so that
nothing can be remembered but what the store holds; in this process only for `memory://`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from mlflowish.cli.explain import load_module
from mlflowish.cli.options import Location
from mlflowish.errors import MlflowishError, StateError
from mlflowish.steps import Step


@dataclass(frozen=True, slots=True)
class WatchedCall:
    """One call: `seconds` it took now, `computed_in_seconds` when its result was made, `why` it was computed."""

    step: str
    hit: bool
    seconds: float
    computed_in_seconds: float
    key: str | None
    why: str
    differences: tuple[dict[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """One run: its calls in order, and what the pipeline scored."""

    calls: tuple[WatchedCall, ...]
    accuracy: float
    process: int = field(default_factory=os.getpid)

    @property
    def seconds(self) -> float:
        """All its calls together."""
        return sum(call.seconds for call in self.calls)

    def document(self) -> dict[str, Any]:
        """For programs."""
        return {**asdict(self), "calls": [asdict(call) for call in self.calls], "seconds": self.seconds}


def rehearse(file: Path, location: Location) -> Rehearsal:
    """Run the file's `main` in a new process."""
    request = {"file": str(file), "url": location.url, "options": location.options}
    report = file.with_suffix(".report.json")
    command = [sys.executable, "-m", "mlflowish.cli.rehearsal", str(report)]
    # Output of the pipeline itself is no part of ours: both of its streams go to standard error.
    done = subprocess.run(
        command, input=json.dumps(request), text=True, cwd=file.parent, stdout=sys.stderr.fileno(), check=False
    )
    found = json.loads(report.read_text(encoding="utf-8")) if report.exists() else {}
    if "error" in found:
        raise _remote_error(found["error"])
    if done.returncode != 0 or not found:
        raise StateError(f"The run of {file.name} ended with exit code {done.returncode}; its own output says why")
    calls = tuple(WatchedCall(**{**call, "differences": tuple(call["differences"])}) for call in found["calls"])
    return Rehearsal(calls, found["accuracy"], found["process"])


def rehearse_here(file: Path, location: Location) -> Rehearsal:
    """The same in this process."""
    module = load_module(str(file))
    watch = _Watch()
    with location.open():
        watch.over(module)
        result = module.main()
    return Rehearsal(tuple(watch.calls), result["accuracy"])


class _Watch:
    """Stands between a module and its steps: each call is explained, made, timed and noted."""

    def __init__(self) -> None:
        self.calls: list[WatchedCall] = []

    def over(self, module: ModuleType) -> None:
        """Watch every step that the module names."""
        for name, value in list(vars(module).items()):
            if isinstance(value, Step):
                setattr(module, name, self._watched(name, value))

    def _watched(self, name: str, step: Step[..., Any]) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            explanation = step.explain(*args, **kwargs)
            started = time.perf_counter()
            made = step.call(*args, **kwargs)
            took = time.perf_counter() - started
            differences = tuple(
                {"kind": d.kind, "name": d.name, "old": d.old, "new": d.new, "diff": d.diff}
                for d in (() if made.hit else explanation.differences)
            )
            why = "" if made.hit else made.uncached_reason or explanation.reason
            self.calls.append(WatchedCall(name, made.hit, took, made.duration_s, made.key, why, differences))
            return made.value

        return call


def _remote_error(described: dict[str, str]) -> MlflowishError:
    error = MlflowishError(described["message"])
    error.code = described["code"]
    return error


def _serve(report: Path) -> None:
    request = json.loads(sys.stdin.read())
    # The interpreter's `-m` put the working directory, where the file lies, on the path already.
    location = Location(request["url"], request["options"])
    try:
        document = rehearse_here(Path(request["file"]), location).document()
    except MlflowishError as error:
        document = {"error": {"code": error.code, "message": error.message}}
    report.write_text(json.dumps(document), encoding="utf-8")


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
