"""`@pipeline`, and what its bodies call beside steps."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, overload

from mlflowish.errors import InvalidInputError
from mlflowish.pipelines.definition import P, Pipeline, R, policy_of
from mlflowish.pipelines.trace import Trace
from mlflowish.steps import Step
from mlflowish.steps.tracing import recorder


@overload
def pipeline(function: Callable[P, R], /) -> Pipeline[P, R]: ...


@overload
def pipeline(
    *, name: str | None = None, on_failure: str = "finish", executor: Any = None
) -> Callable[[Callable[P, R]], Pipeline[P, R]]: ...


def pipeline(
    function: Any = None, /, *, name: str | None = None, on_failure: str = "finish", executor: Any = None
) -> Any:
    """Make a function that calls steps a pipeline: called, it runs what is stale, in parallel, and gives the value.

    In its body nothing runs yet: calls of steps give nodes, which go into other steps, lists, tuples and dicts. Loops
    and conditions on parameters are ordinary Python; on results they are `step.map(node)` and `mf.when(node, ...)`.
    The result is any structure of nodes. Pipelines may call pipelines. When neither the code nor the arguments have
    changed, all of it is passed in one look-up.

    - `name`: what it is called in records (default: module and function name).
    - `on_failure`: "finish" computes everything that does not need what failed, "stop" starts nothing more.
    - `executor`: where its steps run, instead of the active executor.

    Parameters are checked against their hints before anything runs: InvalidInputError. What fails is raised together at
    the end, as StepError with `.failures`; running it again computes only what is missing.

    >>> import mlflowish as mf
    >>> @mf.step
    ... def load(path):
    ...     return [3, 1, 2]
    >>> @mf.step
    ... def largest(numbers):
    ...     return max(numbers)
    >>> @mf.pipeline
    ... def nightly(path: str):
    ...     numbers = load(path)
    ...     return {"count": mf.step(len)(numbers), "largest": largest(numbers)}
    >>> nightly("a.csv")
    {'count': 3, 'largest': 3}
    """
    policy_of(on_failure, "finish")
    if name is not None and (not isinstance(name, str) or not name or not name.isprintable() or "/" in name):
        raise InvalidInputError(f"pipeline(name=...) takes a printable name without '/', found {name!r}", option="name")
    if function is None:
        return lambda decorated: _make(decorated, name, on_failure, executor)
    return _make(function, name, on_failure, executor)


def _make(function: Any, name: str | None, on_failure: str, executor: Any) -> Pipeline[..., Any]:
    if isinstance(function, (Step, Pipeline)):
        kind = "step" if isinstance(function, Step) else "pipeline"
        raise InvalidInputError(
            f"{function.name} is a {kind} already; @pipeline takes a plain function", found=function
        )
    if not inspect.isfunction(function):
        raise InvalidInputError(f"@pipeline takes a function, found {type(function).__name__}", found=function)
    if (
        inspect.iscoroutinefunction(function)
        or inspect.isgeneratorfunction(function)
        or inspect.isasyncgenfunction(function)
    ):
        raise InvalidInputError(
            f"@pipeline takes a plain function, and {function.__name__} is a coroutine or a generator: its body only "
            "says what depends on what. The steps in it may be async or generators.",
            found=function,
        )
    return Pipeline(function, name=name, on_failure=on_failure, executor=executor)


def when(condition: Any, then: Any, otherwise: Any = None) -> Any:
    """In the body of a pipeline: what `then` gives if the condition turns out true, else what `otherwise` gives.

    Both are functions without arguments, whose steps run only if they are chosen, or plain values. `condition` is a
    node (the result of a step); of a plain value the branch is chosen at once. Gives a node.

    >>> import mlflowish as mf
    >>> @mf.step
    ... def is_large(n):
    ...     return n > 10
    >>> @mf.step
    ... def halved(n):
    ...     return n // 2
    >>> @mf.pipeline
    ... def at_most_ten(n: int):
    ...     return mf.when(is_large(n), lambda: halved(n), n)
    >>> at_most_ten(16), at_most_ten(4)
    (8, 4)
    """
    tracing = recorder.get()
    if not isinstance(tracing, Trace):
        raise InvalidInputError(
            "when(condition, then, otherwise) belongs into the body of a pipeline; elsewhere write if", found=condition
        )
    return tracing.when(condition, then, otherwise)
