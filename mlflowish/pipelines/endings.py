"""How a run of a pipeline ended, who is told of it, and the error for what failed."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mlflowish.errors import InvalidInputError, StepError
from mlflowish.pipelines.specs import Spec
from mlflowish.pipelines.trace import Trace
from mlflowish.steps.tracing import recorder

FINISHED, FAILED, KILLED = "FINISHED", "FAILED", "KILLED"
_LISTED = 20


@dataclass(frozen=True, slots=True)
class Failure:
    """One call that failed: which, where the body of the pipeline makes it, and what it raised."""

    label: str
    step: str
    file: str
    line: int
    error: BaseException

    @classmethod
    def of(cls, spec: Spec, error: BaseException) -> Failure:
        """The failure of a spec."""
        return cls(spec.label, spec.step.name if spec.step is not None else spec.label, spec.file, spec.line, error)

    def __str__(self) -> str:
        place = f"{os.path.basename(self.file)}, line {self.line}"
        return f"{self.label} ({place}): {type(self.error).__name__}: {self.error}"


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run of a pipeline ended, for exit handlers and observers. `status`: FINISHED, FAILED or KILLED
    (interrupted). `counts`: nodes by state. `is_whole_hit`: passed in one look-up, nothing ran."""

    pipeline: str
    status: str
    duration_s: float
    run_id: str | None = None
    failures: tuple[Failure, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    is_whole_hit: bool = False


def on_exit(handler: Callable[[Ending], object]) -> None:
    """In the body of a pipeline: let `handler(ending)` be called when it is over, however it ends.

    Handlers run in the order they were given, in the process that runs the pipeline, after everything else, also when a
    step failed, the pipeline was interrupted, or nothing had to run. `ending.status` is FINISHED, FAILED or KILLED;
    `ending.failures` lists what failed. What a handler raises is raised after all have run.

    >>> import mlflowish as mf
    >>> @mf.step
    ... def double(x):
    ...     return 2 * x
    >>> @mf.pipeline
    ... def doubled(x: int):
    ...     mf.on_exit(lambda ending: print(ending.status))
    ...     return double(x)
    >>> doubled(4)
    FINISHED
    8
    """
    tracing = recorder.get()
    if not isinstance(tracing, Trace):
        raise InvalidInputError("on_exit(handler) belongs into the body of a pipeline", found=repr(handler))
    if not callable(handler):
        raise InvalidInputError(f"on_exit takes a function of the ending, found {handler!r}", found=repr(handler))
    tracing.endings.append(handler)


def tell(handlers: Sequence[Callable[[Ending], object]], ending: Ending, error: BaseException | None) -> None:
    """Call every handler; raises what the first failing one raised, unless the pipeline has an error of its own."""
    failed: Exception | None = None
    for handler in handlers:
        try:
            handler(ending)
        except Exception as raised:  # noqa: BLE001  all are called, then it is raised or noted
            if error is not None:
                error.add_note(f"An exit handler of {ending.pipeline} failed too: {type(raised).__name__}: {raised}")
            failed = failed or raised
    if failed is not None and error is None:
        raise failed


def failed_error(pipeline: str, ending: Ending) -> StepError:
    """The error for a pipeline in which something failed: all failures, and what has become of the rest."""
    failures, counts = ending.failures, ending.counts
    lines = [f"  {failure}" for failure in failures[:_LISTED]]
    if len(failures) > _LISTED:
        lines.append(f"  and {len(failures) - _LISTED} more")
    kept = counts.get("done", 0) + counts.get("cached", 0)
    skipped = counts.get("skipped", 0)
    error = StepError(
        f"{pipeline}: {len(failures)} {'call' if len(failures) == 1 else 'calls'} failed"
        f"{f', {skipped} more could not run' if skipped else ''}. "
        f"{kept} {'result is' if kept == 1 else 'results are'} kept: running it again goes on from there.\n"
        + "\n".join(lines),
        pipeline=pipeline,
        step=failures[0].step,
        file=failures[0].file,
        line=failures[0].line,
        failures=failures,
        run_id=ending.run_id,
    )
    error.__cause__ = failures[0].error
    return error
