"""Parameters from a command line: texts made the values that a function's hints ask for."""

from __future__ import annotations

import ast
import collections.abc
import datetime
import enum
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from mlflowish.errors import nearest
from mlflowish.store import Dir, File

_TRUE, _FALSE = frozenset({"true", "yes", "on", "1"}), frozenset({"false", "no", "off", "0"})
_NONE = frozenset({"none", "null"})
_MANY: dict[Any, Callable[[list[Any]], Any]] = {
    list: list,
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    collections.abc.Sequence: list,
    collections.abc.Iterable: list,
    collections.abc.Collection: list,
}
_READERS: dict[Any, Callable[[str], Any]] = {
    int: int,
    float: float,
    complex: complex,
    str: str,
    bytes: lambda text: text.encode(),
    Path: Path,
    File: File,
    Dir: Dir,
    datetime.date: datetime.date.fromisoformat,
    datetime.datetime: datetime.datetime.fromisoformat,
}


class _Unfit(ValueError):
    """A text is no value of that type."""


def values_for(function: Callable[..., Any], pairs: Sequence[str], target: str) -> tuple[list[Any], dict[str, Any]]:
    """Arguments for a function from `NAME=VALUE` texts; click.UsageError for a name that it does not have, one that is
    missing, and a value of another type. The same name again makes a list, where a list is wanted."""
    signature = inspect.signature(function)
    hints = _hints(function)
    given: dict[str, list[str]] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise click.UsageError(f"-P {pair!r} is not NAME=VALUE")
        given.setdefault(_known(name.replace("-", "_"), signature, target), []).append(text)
    values = {name: _value(name, texts, hints.get(name, Any), target) for name, texts in given.items()}
    missing = [name for name, each in signature.parameters.items() if _is_needed(each) and name not in values]
    if missing:
        wanted = ", ".join(f"{name} ({shown(hints.get(name, Any))})" for name in missing)
        raise click.UsageError(f"{target} needs {wanted}: -P {missing[0]}=...")
    first = [name for name, each in signature.parameters.items() if each.kind is each.POSITIONAL_ONLY]
    return [values.pop(name) for name in first if name in values], values


def _known(name: str, signature: inspect.Signature, target: str) -> str:
    parameters = {each.name: each for each in signature.parameters.values() if each.kind is not each.VAR_POSITIONAL}
    takes_any = [each.name for each in parameters.values() if each.kind is each.VAR_KEYWORD]
    if (name in parameters and name not in takes_any) or takes_any:
        return name
    there = f"did you mean {nearest(name, parameters, limit=1)[0]}? It has " if parameters else "it has "
    names = ", ".join(parameters) or "none"
    raise click.UsageError(f"{target} has no parameter {name}; {there}{names}.")


def _is_needed(parameter: inspect.Parameter) -> bool:
    return parameter.default is parameter.empty and parameter.kind not in (
        parameter.VAR_POSITIONAL,
        parameter.VAR_KEYWORD,
    )


def _hints(function: Callable[..., Any]) -> Mapping[str, Any]:
    try:
        return typing.get_type_hints(function)
    except Exception:  # noqa: BLE001  hints are the user's code, and may name what is not there at run time
        return {}


def _value(name: str, texts: list[str], hint: Any, target: str) -> Any:
    try:
        if len(texts) > 1:
            many = next((each for each in _options(hint) if _family(each) in _MANY), None)
            if many is None:
                raise _Unfit(f"it was given {len(texts)} times")
            return _MANY[_family(many)]([read(text, _member(many)) for text in texts])
        return read(texts[0], hint)
    except ValueError as error:
        why = f": {error}" if isinstance(error, _Unfit) and str(error) else ""
        given = " ".join(f"{text!r}" for text in texts)
        raise click.UsageError(f"{target}: {name} is {shown(hint)}, found {given}{why}") from None


def read(text: str, hint: Any) -> Any:
    """The value of type `hint` that a text stands for; ValueError if it is none.

    Lists are written `1,2,3` or `[1, 2, 3]`, other containers as Python literals. Without a hint it is a Python
    literal, else text.
    """
    options = _options(hint)
    if len(options) > 1:
        return _read_any(text, options)
    [hint] = options
    family = _family(hint)
    if hint is Any or isinstance(hint, (str, typing.TypeVar)) or hint is object:
        return _literal(text)
    if hint is type(None):
        return _read_none(text)
    if family is typing.Literal:
        return _read_option(text, {str(option): option for option in typing.get_args(hint)})
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _read_option(text, {**{str(each.value): each for each in hint}, **{each.name: each for each in hint}})
    if hint is bool:
        return _read_bool(text)
    if family in _MANY:
        return _MANY[family]([_member_value(each, hint) for each in _parts(text)])
    if family in _READERS:
        return _READERS[family](text)
    return _read_other(text, family)


def shown(hint: Any) -> str:
    """A type, for people."""
    if hint is Any:
        return "any value"
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return f"one of {', '.join(each.name for each in hint)}"
    if typing.get_origin(hint) is typing.Literal:
        return f"one of {', '.join(str(option) for option in typing.get_args(hint))}"
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint).replace("typing.", "")


def _options(hint: Any) -> tuple[Any, ...]:
    """The members of a union; text last, because everything is text."""
    if typing.get_origin(hint) is typing.Annotated:
        hint = typing.get_args(hint)[0]
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return (hint,)
    return tuple(sorted(typing.get_args(hint), key=lambda option: (option is str, option is not type(None))))


def _read_any(text: str, options: tuple[Any, ...]) -> Any:
    for option in options:
        try:
            return read(text, option)
        except ValueError:
            continue
    raise _Unfit


def _family(hint: Any) -> Any:
    return typing.get_origin(hint) or hint


def _member(hint: Any) -> Any:
    arguments = typing.get_args(hint)
    return arguments[0] if arguments else Any


def _member_value(part: Any, hint: Any) -> Any:
    return read(part if isinstance(part, str) else repr(part), _member(hint))


def _parts(text: str) -> list[Any]:
    if text.strip()[:1] in ("[", "(", "{"):
        found = _literal(text)
        if not isinstance(found, (list, tuple, set)):
            raise _Unfit
        return list(found)
    return [part.strip() for part in text.split(",")] if text.strip() else []


def _read_bool(text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise _Unfit("write true or false")


def _read_none(text: str) -> None:
    if text.lower() not in _NONE:
        raise _Unfit


def _read_option(text: str, options: Mapping[str, Any]) -> Any:
    if text not in options:
        raise _Unfit(f"did you mean {nearest(text, options, limit=1)[0]}?")
    return options[text]


def _read_other(text: str, family: Any) -> Any:
    """A container that is written as a literal, or something of a class that is not known here."""
    found = _literal(text)
    if isinstance(family, type) and isinstance(found, family):
        return found
    raise _Unfit("a value of this type cannot be written on a command line" if isinstance(found, str) else "")


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
