"""`@step`: the one decorator that most users ever need."""

from __future__ import annotations

import datetime
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, overload

from mlflowish.errors import InvalidInputError, nearest
from mlflowish.steps.bound import BoundStep, ClassMethodStep
from mlflowish.steps.options import Options, checked
from mlflowish.steps.wrapper import P, R, Step

_NOT_GIVEN: Any = object()


@overload
def step(function: Callable[P, R], /) -> Step[P, R]: ...


@overload
def step(
    *,
    name: str | None = None,
    version: str | int | None = None,
    ignore: str | Sequence[str] = (),
    depends: Any = (),
    env: str | Sequence[str] = (),
    packages: str | Mapping[str, str] = "reached",
    cache: bool = True,
    max_age: float | datetime.timedelta | None = None,
    retries: int = 0,
    timeout: float | datetime.timedelta | None = None,
    strict: bool = False,
    seed: bool = False,
    lock: bool | float = False,
    format: str | None = None,
    store: Any = None,
    cpus: float | None = None,
    memory: int | str | None = None,
    gpus: int = 0,
    limits: str | Sequence[str] = (),
) -> Callable[[Callable[P, R]], Step[P, R]]: ...


def step(
    function: Any = _NOT_GIVEN,
    /,
    *,
    name: str | None = None,
    version: str | int | None = None,
    ignore: str | Sequence[str] = (),
    depends: Any = (),
    env: str | Sequence[str] = (),
    packages: str | Mapping[str, str] = "reached",
    cache: bool = True,
    max_age: float | datetime.timedelta | None = None,
    retries: int = 0,
    timeout: float | datetime.timedelta | None = None,
    strict: bool = False,
    seed: bool = False,
    lock: bool | float = False,
    format: str | None = None,  # noqa: A002  the promised name of the option
    store: Any = None,
    cpus: float | None = None,
    memory: int | str | None = None,
    gpus: int = 0,
    limits: str | Sequence[str] = (),
) -> Any:
    """Make a function a step: each call is computed once, and read back whenever code and arguments mean the same.

    The key is made of the code that the function can reach (helpers, globals, classes, closures, versions of
    packages) and of the content of its arguments.
    Comments, layout, names of locals, names and places of functions do not count.

    Options, all keyword-only:

    - `name`: what the step is called in records (default: module and function name).
    - `version`: any string or number that is part of the key: change it to compute again.
    - `ignore`: arguments that are not part of the key. `depends`: further functions, modules, files or values that
      are. `env`: environment
      variables whose values are.
    - `packages`: "reached" (versions of the third-party packages that the code touches), "ignore", or {"torch":
      "minor"}.
    - `cache=False`: always run, still recorded. `max_age`: seconds (or timedelta) after which a result is computed
      again.
    - `retries`: further attempts after an exception. `timeout`: seconds after which StepTimeoutError is raised.
    - `strict=True`: what would run uncached raises UncacheableError instead.
    - `seed=True`: `random`, numpy and torch are seeded from the key. `lock=True`: of many processes with the same
      call one computes, the others wait (a number: length
      of the lease in seconds).
    - `format`: the codec of the result. `store`: where results go, instead of the active store.
    - `cpus`, `memory` (bytes, or "4 GB"), `gpus`: what a submitted call takes while it runs. `limits`: names of which
      it takes one each ("database"); `mf.executor(limits={"database": 2})` says how many there are (1).

    Works on functions, methods, coroutine functions, generators (drained; what is returned can be read again and again,
    and by `next()`) and callable objects, in modules, scripts and notebooks. InvalidInputError for what
    cannot be a step and for options that contradict.

    >>> import mlflowish as mf
    >>> @mf.step
    ... def area(width, height=1.0):
    ...     return width * height
    >>> with mf.Store("memory://doc-step"):
    ...     area(3), area.call(3).hit
    (3.0, True)
    """
    options = checked(
        name=name,
        version=version,
        ignore=ignore,
        depends=depends,
        env=env,
        packages=packages,
        cache=cache,
        max_age=max_age,
        retries=retries,
        timeout=timeout,
        strict=strict,
        seed=seed,
        lock=lock,
        format=format,
        store=store,
        cpus=cpus,
        memory=memory,
        gpus=gpus,
        limits=limits,
    )
    if function is _NOT_GIVEN:
        return lambda decorated: _make(decorated, options)
    return _make(function, options)


def _make(function: Any, options: Options) -> Any:
    if isinstance(function, classmethod):
        return ClassMethodStep(_make(function.__func__, options))
    if isinstance(function, staticmethod):
        return staticmethod(_make(function.__func__, options))
    if isinstance(function, (Step, BoundStep)):
        raise InvalidInputError(
            f"{function.name} is a step already; give its options in one @step(...)", found=function.name
        )
    if isinstance(function, type) or not callable(function):
        raise InvalidInputError(
            f"@step takes a function, method or callable object, found {_kind(function)}. {_advice(function)}",
            found=function,
        )
    try:
        parameters = inspect.signature(function).parameters
    except (ValueError, TypeError) as error:
        raise InvalidInputError(
            f"@step cannot take {function!r}, which does not tell its parameters ({error}). "
            "Wrap it in a function of your own: def mine(x): return ...",
            found=function,
        ) from error
    for name in options.ignore:
        if name not in parameters:
            known = ", ".join(nearest(name, parameters)) or "none"
            raise InvalidInputError(
                f"step(ignore=...): there is no parameter '{name}'; there are: {known}", option="ignore"
            )
    return _kind_of_step(function)(function, options)


def _kind_of_step(function: Any) -> type[Step[..., Any]]:
    is_generator = inspect.isasyncgenfunction(function)
    called = function if inspect.isroutine(function) else getattr(function, "__call__", function)  # noqa: B004  instances: their class's __call__
    if not (is_generator or inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called)):
        return Step
    from mlflowish.steps.asynchronous import AsyncGeneratorStep, AsyncStep  # asyncio is heavy, and rarely needed

    return AsyncGeneratorStep if is_generator else AsyncStep


def _kind(found: Any) -> str:
    return f"the class {found.__name__}" if isinstance(found, type) else f"{type(found).__name__} {str(found)[:80]!r}"


def _advice(found: Any) -> str:
    if isinstance(found, type):
        return "Decorate its methods, or write a function that makes one and returns what you need of it."
    if isinstance(found, (property, functools.cached_property)):
        return f"Write @{type(found).__name__} above @mf.step."
    if isinstance(found, str):
        return f"Options are named: @mf.step(name={found!r})."
    return "Write a function that does the work."
