"""The parameters of a pipeline: bound as Python binds them, and checked against their hints before anything runs."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mlflowish.errors import InvalidInputError, nearest
from mlflowish.pipelines.nodes import Node

_MEMBERS_CHECKED = 1_000


class Parameters:
    """What a pipeline takes."""

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self._function = function
        self._name = name
        self.signature = inspect.signature(function)
        self._hints: dict[str, Any] | None = None

    def check(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, place: str = "") -> dict[str, Any]:
        """The values by name, defaults included. InvalidInputError for what is missing, too much or of another type;
        nodes stand for any type."""
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            known = self.signature.parameters
            odd = next((name for name in kwargs if name not in known), None)
            near = f" Did you mean {nearest(odd, known, limit=1)[0]!r}?" if odd is not None and known else ""
            raise InvalidInputError(
                f"{self._name}{self.signature}: {error}{f' ({place})' if place else ''}.{near}", pipeline=self._name
            ) from error
        bound.apply_defaults()
        for name, value in bound.arguments.items():
            self._check_one(name, value, place)
        return dict(bound.arguments)

    def _check_one(self, name: str, value: Any, place: str) -> None:
        hint = self.hints.get(name, Any)
        kind = self.signature.parameters[name].kind
        values: Iterable[Any] = (value,)
        if kind is inspect.Parameter.VAR_POSITIONAL:
            values = value
        elif kind is inspect.Parameter.VAR_KEYWORD:
            values = value.values()
        for each in values:
            if not fits(each, hint):
                raise InvalidInputError(
                    f"{self._name}: the parameter '{name}' is {_text(hint)}, found {type(each).__name__} {each!r:.80}"
                    f"{f' ({place})' if place else ''}.",
                    pipeline=self._name,
                    parameter=name,
                    found=each,
                )

    @property
    def hints(self) -> dict[str, Any]:
        """The hints that can be understood, by parameter."""
        if self._hints is None:
            try:
                self._hints = typing.get_type_hints(self._function)
            except Exception:  # noqa: BLE001  hints are the user's code, and may name what is not there at run time
                self._hints = {}
        return self._hints


def fits(value: Any, hint: Any) -> bool:
    """Is the value of that type? True where a hint says nothing that can be checked."""
    if type(value) is Node or hint is Any or isinstance(hint, (str, typing.TypeVar)):
        return True
    if hint is None or hint is type(None):
        return value is None
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, option) for option in arguments)
    if origin is typing.Literal:
        return any(type(value) is type(option) and value == option for option in arguments)
    if origin is typing.Annotated:
        return fits(value, arguments[0])
    if origin is not None:
        return not isinstance(origin, type) or (_is(value, origin) and _members_fit(value, origin, arguments))
    return not isinstance(hint, type) or _is(value, hint)


def _is(value: Any, kind: type) -> bool:
    if isinstance(value, bool) and kind in (int, float, complex):
        return False  # nobody means True by a number
    if kind is float:
        return isinstance(value, (float, int))
    if kind is complex:
        return isinstance(value, (complex, float, int))
    try:
        return isinstance(value, kind)
    except TypeError:  # a protocol that cannot be asked
        return True


def _members_fit(value: Any, origin: type, arguments: tuple[Any, ...]) -> bool:
    if not arguments or type(value) not in (list, tuple, set, frozenset, dict) or len(value) > _MEMBERS_CHECKED:
        return True
    if type(value) is dict:
        return len(arguments) != 2 or all(fits(k, arguments[0]) and fits(v, arguments[1]) for k, v in value.items())
    if origin is tuple and Ellipsis not in arguments:
        return len(value) == len(arguments) and all(map(fits, value, arguments))
    return all(fits(each, arguments[0]) for each in value)


def _text(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint).replace("typing.", "")
