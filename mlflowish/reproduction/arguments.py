"""The arguments of a recorded call, from where each can be had: the caller, the entry, other calls, a file.

Whatever the way, an argument is used only if its value digest is the recorded one.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from mlflowish.errors import MlflowishError
from mlflowish.hashing import hexdigest
from mlflowish.steps.inputs import Holder, kept
from mlflowish.store import Meta

_MOST_WAYS = 256  # to fill a container with results, or parts of results
ResultOf = Callable[[str], Any]


class NotPossible(Exception):
    """This call cannot be run again; the text says why. Never leaves the room."""


def bound(
    function: Callable[..., Any], meta: Meta, given: Mapping[str, Any], result_of: ResultOf
) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of a recorded call, as the function takes them. `result_of(key)` gives the result of another call.

    NotPossible names the arguments that cannot be had.
    """
    values, missing = values_of(meta, given, result_of)
    parameters = inspect.signature(function).parameters
    for parameter in parameters.values():
        if parameter.name not in values and parameter.name not in missing:
            _complete(parameter, given, values, missing)
    if unknown := [name for name in values if name not in parameters]:
        raise NotPossible(f"the function has no parameter {', '.join(unknown)} any more")
    if missing:
        raise NotPossible(_sentence(missing))
    return _laid_out(list(parameters.values()), values)


def _complete(
    parameter: inspect.Parameter, given: Mapping[str, Any], values: dict[str, Any], missing: dict[str, str]
) -> None:
    """An argument that was left out of the identity (ignore=): there is nothing to compare it with."""
    if parameter.name in given:
        values[parameter.name] = given[parameter.name]
    elif parameter.default is not parameter.empty:
        values[parameter.name] = parameter.default
    elif parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        missing[parameter.name] = "it was left out of the identity, and is not recorded"


def _laid_out(parameters: list[inspect.Parameter], values: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for parameter in parameters:
        if parameter.name not in values:
            continue
        value = values[parameter.name]
        if parameter.kind is parameter.VAR_POSITIONAL:
            positional.extend(value)
        elif parameter.kind is parameter.VAR_KEYWORD:
            named.update(value)
        elif parameter.kind is parameter.KEYWORD_ONLY:
            named[parameter.name] = value
        else:
            positional.append(value)
    return positional, named


def values_of(meta: Meta, given: Mapping[str, Any], result_of: ResultOf) -> tuple[dict[str, Any], dict[str, str]]:
    """The recorded arguments by name, and why the others cannot be had."""
    found: dict[str, Any] = {}
    missing: dict[str, str] = {}
    held = kept(meta)
    for name, digest, description in meta.arguments:
        if name in given:
            found[name] = given[name]
            continue
        try:
            found[name] = _argument(meta, name, digest, description, held, result_of)
        except NotPossible as why:
            missing[name] = str(why)
    return found, missing


def _argument(
    meta: Meta, name: str, digest: str, description: str, held: Mapping[str, Any], result_of: ResultOf
) -> Any:
    keys = [key for argument, place, key in meta.sources if argument == name and not place]
    reasons: list[str] = []
    try:
        for value in _candidates(held, name, keys, result_of):
            if _has_digest(value, digest):
                return value
    except NotPossible as why:
        reasons.append(str(why))
    if name in held and not isinstance(held[name], Holder):
        reasons.append(f"{held[name]!r:.200} is not what it was")
    elif keys and not reasons:
        reasons.append(f"it is not what the call {', '.join(key[:12] for key in keys)} returned, but made of it")
    if description == "(hidden)":
        raise NotPossible("its name sounds like a secret, so it is not recorded")
    told = "; ".join(reasons) or "its value is not recorded"
    raise NotPossible(f"{description or 'a value'}: {told}")


def _candidates(held: Mapping[str, Any], name: str, keys: list[str], result_of: ResultOf) -> Iterator[Any]:
    """Values that an argument may have been, the likeliest first."""
    kept_value = held.get(name)
    if isinstance(kept_value, Holder):
        yield from _filled(kept_value, result_of)
    elif name in held:
        yield kept_value
    if len(keys) == 1:
        whole = result_of(keys[0])
        yield whole
        yield from _members(whole)
        yield from ([whole], (whole,))
    elif keys:
        results = [result_of(key) for key in keys]
        yield from (results, tuple(results))


def _filled(holder: Holder, result_of: ResultOf) -> Iterator[Any]:
    """A container with each way to fill it: with whole results first, then with parts of them."""
    asked: list[str] = []

    def note(key: str) -> Any:
        asked.append(key)
        return None

    holder.filled(note)
    choices = [[result_of(key), *_members(result_of(key))] for key in asked]
    for chosen in itertools.islice(itertools.product(*choices), _MOST_WAYS):
        waiting = iter(chosen)
        yield holder.filled(partial(_next_of, waiting))


def _next_of(waiting: Iterator[Any], _: str) -> Any:
    return next(waiting)


def _members(whole: Any) -> list[Any]:
    if type(whole) is dict:
        return list(whole.values())
    return list(whole) if type(whole) in (list, tuple) else []


def _has_digest(value: Any, digest: str) -> bool:
    try:
        return hexdigest(value) == digest
    except MlflowishError:  # a file that is not there any more
        return False


def _sentence(missing: Mapping[str, str]) -> str:
    told = ", ".join(f"{name} ({why})" for name, why in missing.items())
    one = len(missing) == 1
    passing = ", ".join(f"{name}=..." for name in missing)
    return (
        f"{'this argument' if one else 'these arguments'} cannot be had: {told}. "
        f"Pass {'it' if one else 'them'}: reproduce(..., {passing})"
    )
