"""A step as a method: with the instance, or the class, as its first argument."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

from mlflowish.errors import InvalidInputError

if TYPE_CHECKING:
    from mlflowish.steps.wrapper import Step

_WITH_ARGUMENTS = frozenset({"call", "is_cached", "explain", "submit", "look_up"})


class BoundStep:
    """A step as the method of an instance: everything that a `Step` has, with the instance as first argument."""

    __slots__ = ("__self__", "__weakref__", "__wrapped__")

    def __init__(self, step: Step[..., Any], instance: Any) -> None:
        self.__wrapped__ = step
        self.__self__ = instance

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return self.__wrapped__(self.__self__, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        step = object.__getattribute__(self, "__wrapped__")
        found = getattr(step, name)
        if name in _WITH_ARGUMENTS:
            return functools.partial(found, self.__self__)
        if name == "forget":
            # Without arguments it means all of the step's, not those of this instance.
            return lambda *args, **kwargs: found(self.__self__, *args, **kwargs)
        if name == "map":
            return lambda *iterables, **common: step.map_bound((self.__self__,), iterables, common)
        return found

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BoundStep):
            return NotImplemented
        return self.__self__ is other.__self__ and self.__wrapped__ is other.__wrapped__

    def __hash__(self) -> int:
        return hash((id(self.__self__), self.__wrapped__))

    def __reduce__(self) -> Any:
        return type(self), (self.__wrapped__, self.__self__)

    def call_by_reference(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """`Step.call_by_reference`, with the instance in front of the arguments."""
        return self.__wrapped__.call_by_reference((self.__self__, *args), kwargs)

    @property
    def __doc__(self) -> str | None:  # type: ignore[override]  # the function's, as a bound method has it
        return self.__wrapped__.__doc__

    @property
    def __signature__(self) -> inspect.Signature:
        signature = inspect.signature(self.__wrapped__)
        return signature.replace(parameters=list(signature.parameters.values())[1:])

    def __repr__(self) -> str:
        return f"<bound {self.__wrapped__!r} of {type(self.__self__).__name__}>"


class ClassMethodStep(classmethod):  # type: ignore[type-arg]  # generic in typeshed, not worth naming here
    """A step above `@classmethod`: bound to the class, with `call`, `is_cached` and all else that a step has.

    A plain `classmethod` binds only the call itself; Python 3.13 no longer asks what it wraps how to bind.
    """

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self.__func__.__get__(type(instance) if owner is None else owner)


def check_class_is_there(step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """InvalidInputError when the step of a class method is asked without its class.

    `@classmethod` above `@step` binds the class to the call alone (from Python 3.13 on): `Model.make.call(1)` would
    take 1 for the class.
    """
    first = step.identifier.binding.names[:1]
    if first != ("cls",) or not _is_in_a_class(step.fn):
        return
    given = args[0] if args else kwargs.get("cls")
    if not isinstance(given, type):
        raise InvalidInputError(
            f"{step.name} is asked for a call without its class: @classmethod above @step does not pass it on. "
            "Write @mf.step above @classmethod.",
            step=step.name,
        )


def _is_in_a_class(function: Any) -> bool:
    place = str(getattr(function, "__qualname__", "")).rpartition(".")[0]
    return bool(place) and not place.endswith("<locals>")
