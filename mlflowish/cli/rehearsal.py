"""One run of the pipeline of a file, watched: what was read back, what was computed, how long it took, and why.

A rehearsal runs in a process of its own (`python -m mlflowish.cli.rehearsal`, the request on standard input), so that
nothing can be remembered but what the store holds; in this process only for `memory://`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflowish.cli.explain import load_module
from mlflowish.cli.options import Location
from mlflowish.errors import MlflowishError, StateError

if TYPE_CHECKING:
    from mlflowish.pipelines import Change, Ending, NodeInfo, Pipeline
    from mlflowish.pipelines.plan import PlannedNode

_PARTS = "mlflowish.item"  # a part of a result as a result of its own: nothing that the file wrote as a call


@dataclass(frozen=True, slots=True)
class WatchedCall:
    """One call: `computed_in_seconds` when its result was made, now or before; `why` it was computed now."""

    step: str
    hit: bool
    computed_in_seconds: float
    key: str | None
    why: str = ""
    differences: tuple[dict[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """One run: its calls in the order of the body, how long it all took, what it scored, and the keys of everything
    that it stored or read. `is_whole_hit`: nothing was looked at but the pipeline as a whole."""

    calls: tuple[WatchedCall, ...]
    seconds: float
    accuracy: float
    is_whole_hit: bool
    keys: tuple[str, ...]
    process: int = field(default_factory=os.getpid)

    @property
    def seconds_saved(self) -> float:
        """How much longer it would have taken to compute what was read back."""
        again = sum(call.computed_in_seconds for call in self.calls if not call.hit)
        kept = sum(call.computed_in_seconds for call in self.calls if call.hit)
        return max(kept - max(self.seconds - again, 0.0), 0.0)

    def document(self) -> dict[str, Any]:
        """For programs."""
        return {**asdict(self), "calls": [asdict(call) for call in self.calls]}


def rehearse(file: Path, location: Location) -> Rehearsal:
    """Run the pipeline of the file in a new process."""
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
    return Rehearsal(**{**found, "calls": calls, "keys": tuple(found["keys"])})


def rehearse_here(file: Path, location: Location) -> Rehearsal:
    """The same in this process."""
    module = load_module(str(file))
    pipeline = module.recognise
    with location.open():
        watch = _Watch(pipeline)
        started = time.perf_counter()
        run = pipeline.run(observers=[watch], progress=False)
        took = time.perf_counter() - started - watch.looking_s
        keys = {node.key for node in pipeline.plan().nodes} | set(run.calls.column("key"))
    return Rehearsal(
        tuple(watch.calls()), took, run.result["accuracy"], run.is_whole_hit, tuple(sorted(filter(None, keys)))
    )


class _Watch:
    """An observer: asks for the reason of each call that has to run, just before it does, when all that goes into it
    is there."""

    def __init__(self, pipeline: Pipeline[..., Any]) -> None:
        self._pipeline = pipeline
        self._calls: dict[int, WatchedCall] = {}
        self.looking_s = 0.0

    def begin(self, pipeline: str, nodes: Sequence[NodeInfo]) -> None:
        """Of a pipeline that is passed at once the nodes are not known: the plan has them."""
        if not nodes:
            for node in self._planned():
                self._calls[node.index] = WatchedCall(node.label, True, node.duration_s or 0.0, node.key)

    def change(self, change: Change) -> None:
        """One node goes on."""
        node = change.node
        if node.step == _PARTS:
            return
        if change.state == "running":
            self._calls[node.index] = _explained(next(n for n in self._planned() if n.index == node.index))
        elif change.state in ("cached", "done"):
            known = self._calls.get(node.index) or WatchedCall(node.label, True, 0.0, None)
            self._calls[node.index] = WatchedCall(
                known.step, known.hit, change.duration_s or 0.0, known.key, known.why, known.differences
            )

    def end(self, ending: Ending) -> None:
        """It is over."""

    def calls(self) -> list[WatchedCall]:
        """In the order of the body."""
        return [call for _, call in sorted(self._calls.items())]

    def _planned(self) -> list[PlannedNode]:
        started = time.perf_counter()
        nodes = [node for node in self._pipeline.plan().nodes if node.step != _PARTS]
        self.looking_s += time.perf_counter() - started
        return nodes


def _explained(node: PlannedNode) -> WatchedCall:
    found = node.explanation
    differences = tuple(
        {"kind": d.kind, "name": d.name, "old": d.old, "new": d.new, "diff": d.diff}
        for d in (found.differences if found is not None else ())
    )
    return WatchedCall(node.label, False, 0.0, node.key, node.why, differences)


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
