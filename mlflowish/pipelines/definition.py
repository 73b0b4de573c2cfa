"""`Pipeline`: a function that calls steps, as a graph: run, planned, drawn."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from mlflowish.errors import InvalidInputError, UncachedWarning
from mlflowish.pipelines.observing import Observer
from mlflowish.pipelines.parameters import Parameters
from mlflowish.pipelines.trace import Trace
from mlflowish.steps.identity import Identifier, Identity, Tokenizer, default_name
from mlflowish.steps.keys import arguments_token
from mlflowish.steps.options import Options
from mlflowish.steps.reference import token_of
from mlflowish.steps.tracing import recorder
from mlflowish.store import Store, as_store

if TYPE_CHECKING:
    import networkx as nx

    from mlflowish.hashing import Fingerprint
    from mlflowish.pipelines.plan import Plan
    from mlflowish.pipelines.running import PipelineRun

P = ParamSpec("P")
R = TypeVar("R")
_POLICIES = ("finish", "stop")


class Pipeline(Generic[P, R]):
    """A function as a pipeline; see `mlflowish.pipeline`. Thread-safe."""

    def __init__(self, function: Callable[P, R], *, name: str | None, on_failure: str, executor: Any) -> None:
        functools.update_wrapper(self, function)
        self.fn = function
        self.name = name or default_name(function)
        self.label = self.name.rpartition(".")[2]
        self.on_failure = on_failure
        self.executor = executor
        self.options = Options()
        self.parameters = Parameters(function, self.label)
        self.identifier = Identifier(function, self.options, step=self.name)
        self.closed_under: Any = None  # what `closed.closed_body` found, and for which code

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        tracing = recorder.get()
        if isinstance(tracing, Trace):
            nested: R = tracing.nested(self, args, kwargs)
            return nested
        from mlflowish.pipelines.running import call

        value: R = call(self, args, kwargs)
        return value

    def run(
        self,
        /,
        *args: Any,
        executor: Any = None,
        on_failure: str | None = None,
        observers: Sequence[Observer] = (),
        progress: bool | str | None = None,
        **kwargs: Any,
    ) -> PipelineRun:
        """Like calling it, but the whole run: `.result`, and everything that a run has; calls of steps belong to it.

        `executor`: what `mf.executor` takes, or what it gives. `on_failure`: "finish" computes everything that does not
        need what failed, "stop" starts nothing more. `observers` are told of every node as it goes.
        `progress`: show how far it is, on standard error or in the notebook, once it takes longer than a second: True,
        False, "terminal", "notebook" or "lines"; None leaves it to the settings.

        StepError, with all `failures` and `run_id`, when something failed: everything finished is kept.

        >>> import mlflowish as mf
        >>> @mf.step
        ... def double(x):
        ...     return 2 * x
        >>> @mf.pipeline
        ... def quadruple(x: int):
        ...     return double(double(x))
        >>> run = quadruple.run(3)
        >>> run.result, run.status, len(run.calls)
        (12, 'FINISHED', 3)
        """
        from mlflowish.pipelines.running import run

        self._check_outside("run")
        return run(
            self,
            args,
            kwargs,
            executor=executor,
            on_failure=policy_of(on_failure, self.on_failure),
            observers=observers,
            progress=progress,
        )

    def plan(self, /, *args: Any, **kwargs: Any) -> Plan:
        """What calling it would do: for each node whether it is stored, has to run, or cannot be known yet, and why.
        Runs nothing.

        >>> import mlflowish as mf
        >>> @mf.step
        ... def double(x):
        ...     return 2 * x
        >>> @mf.pipeline
        ... def quadruple(x: int):
        ...     return double(double(x))
        >>> _ = double(3)
        >>> [(node.label, node.state) for node in quadruple.plan(3).nodes]
        [('double', 'hit'), ('double', 'run')]
        """
        from mlflowish.pipelines.plan import plan

        self._check_outside("plan")
        return plan(self, args, kwargs)

    def graph(self, /, *args: Any, **kwargs: Any) -> nx.DiGraph:
        """Its nodes and what goes into what, as a `networkx.DiGraph`. Runs nothing.

        Nodes are numbers in the order of the body, with `step`, `label`, `state` (hit, run, unknown), `duration_s` (of
        a stored result), `file` and `line`.

        >>> import mlflowish as mf
        >>> @mf.step
        ... def double(x):
        ...     return 2 * x
        >>> @mf.pipeline
        ... def quadruple(x: int):
        ...     return double(double(x))
        >>> list(quadruple.graph(3).edges)
        [(0, 1)]
        """
        return self.plan(*args, **kwargs).graph

    @property
    def store(self) -> Store:
        """Where its results are now: the active store."""
        return as_store(None)

    @property
    def fingerprint(self) -> Fingerprint:
        """What the code is now, that of its steps included."""
        return self.identifier.current()

    def identify(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], token_of: Tokenizer = arguments_token
    ) -> Identity:
        """Its code and its arguments."""
        return self.identifier.identify(args, kwargs, token_of)

    def identify_by_reference(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Identity:
        """The same for arguments that may be references."""
        return self.identify(args, kwargs, functools.partial(token_of, self.store))

    def warn(self, reason: str) -> None:
        """Tell the caller that the value was returned, and what is missing."""
        warnings.warn(f"{self.name}: {reason}", UncachedWarning, stacklevel=4)

    def _check_outside(self, what: str) -> None:
        if recorder.get() is not None:
            raise InvalidInputError(
                f"{self.label}.{what}(...) in the body of a pipeline would run by itself. Call it: {self.label}(...).",
                pipeline=self.name,
            )

    def __reduce__(self) -> Any:
        from mlflowish.steps.travelling import by_name, has_name

        if has_name(self, self.fn):
            return by_name, (self.fn.__module__, self.fn.__qualname__)
        return _restored, (self.fn, self.name, self.on_failure, self.executor)

    def __repr__(self) -> str:
        return f"<pipeline {self.name}{self.parameters.signature}>"


def _restored(function: Any, name: str, on_failure: str, executor: Any) -> Pipeline[..., Any]:
    return Pipeline(function, name=name, on_failure=on_failure, executor=executor)


def policy_of(given: str | None, default: str) -> str:
    """What to do when something fails: as given, else the default."""
    chosen = default if given is None else given
    if chosen not in _POLICIES:
        raise InvalidInputError(f"on_failure is 'finish' or 'stop', found {given!r}", found=given)
    return chosen
