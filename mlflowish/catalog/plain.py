"""Keys and values of the catalog: what may be one, and the one text that each has."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from mlflowish.errors import IntegrityError, InvalidInputError

RESERVED = "~"  # keys that begin so are the catalog's own
_MOST_KEY_CHARACTERS = 512
_MOST_DEPTH = 64
MOST_VALUE_CHARACTERS = 16 << 20
_MOST_ESCAPE = 12  # characters that one of a text takes in JSON: two escapes of a pair
_MOST_NUMBER = 32  # that a number, a constant, or what stands around a value takes
# Control characters, halves of surrogate pairs, line separators, and the last code point, which bounds a scan from
# above.
_REFUSED_CHARACTERS = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\U0010ffff]")
LAST_CHARACTER = "\U0010ffff"
_SMALLEST_INT, _LARGEST_INT = -(1 << 63), (1 << 64) - 1  # what readers in other languages have a type for


class CommitTime(float):
    """The time of a commit that is not made yet: where it stands in a value, the recorded time takes its place."""

    __slots__ = ()


class _Now:
    """What stands in a copied value for a `CommitTime`: nothing that JSON knows, so its encoder asks what it is."""

    __slots__ = ()


_NOW = _Now()


def require_key(key: Any) -> str:
    """The key itself; InvalidInputError unless it is text of non-empty parts joined by `/`, without control
    characters."""
    if not isinstance(key, str):
        raise InvalidInputError(f"A key of the catalog is text, found {type(key).__name__}: {key!r:.100}", key=key)
    wrong = _wrong_in(key)
    if not key:
        wrong = "is empty"
    elif not wrong and (key[0] == "/" or key[-1] == "/" or "//" in key):
        wrong = "has an empty part"
    if wrong:
        raise InvalidInputError(
            f"The key {key!r:.600} {wrong}. Wanted: parts joined by '/', at most {_MOST_KEY_CHARACTERS} characters, "
            f"none of them a control character, not beginning with {RESERVED!r}",
            key=key,
        )
    return key


def require_scan_prefix(prefix: Any) -> str:
    """The prefix itself: the beginning of keys, '' for all; InvalidInputError if no key can begin so."""
    if not isinstance(prefix, str):
        message = f"A prefix of keys is text, found {type(prefix).__name__}: {prefix!r:.100}"
        raise InvalidInputError(message, prefix=prefix)
    wrong = _wrong_in(prefix)
    if not wrong and (prefix[:1] == "/" or "//" in prefix):
        wrong = "has an empty part"
    if wrong:
        raise InvalidInputError(f"No key begins with {prefix!r:.600}: it {wrong}", prefix=prefix)
    return prefix


def _wrong_in(text: str) -> str:
    if found := _REFUSED_CHARACTERS.search(text):
        return f"has the character {found.group()!r}"
    if len(text) > _MOST_KEY_CHARACTERS:
        return f"is {len(text)} characters long"
    if text[:1] == RESERVED:
        return f"begins with {RESERVED!r}, which is the catalog's own"
    return ""


class _Refused(Exception):
    """What is wrong with a value, and on the way out of it, where: inside this module only."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what
        self.place = ""


def plain_copy(value: Any, where: str = "the value") -> Any:
    """A copy of plain data that shares nothing with it; InvalidInputError that names the place of what is not plain."""
    return sized_copy(value, where)[0]


def sized_copy(value: Any, where: str = "the value") -> tuple[Any, int]:
    """The same, and a number of characters that its JSON does not exceed."""
    most = [_MOST_NUMBER]
    try:
        return _copied(value, 0, most), most[0]
    except _Refused as refused:
        place = where + refused.place
        raise InvalidInputError(f"{place} {refused.what}", path=place) from None


# What needs no look inside it: most of what there is, so the copies below ask here before they call anybody.
_CONSTANTS = frozenset({type(None), bool})


def _copied(value: Any, depth: int, most: list[int]) -> Any:
    kind = type(value)
    if kind in _CONSTANTS:
        return value
    if kind is CommitTime:
        return _NOW
    if isinstance(value, str):
        most[0] += _MOST_ESCAPE * len(value)
        return str.__str__(value)
    if depth > _MOST_DEPTH:
        raise _Refused(f"is nested deeper than {_MOST_DEPTH} levels")
    if kind is dict:
        return _copied_dict(value, depth + 1, most)
    if kind is list:
        return _copied_list(value, depth + 1, most)
    if isinstance(value, int):
        if not _SMALLEST_INT <= value <= _LARGEST_INT:
            raise _Refused("is an integer beyond 64 bits; store it as text")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _Refused(f"is {value!r}, which JSON has no number for; leave it out, or store it as text")
        return float(value)
    raise _Refused(
        f"is of type {kind.__module__}.{kind.__qualname__}. The catalog holds plain data: dict, list, str, "
        "int, float, bool and None; larger or other things are objects, and their names go here"
    )


def _copied_list(value: list[Any], depth: int, most: list[int]) -> list[Any]:
    copy: list[Any] = []
    try:
        for item in value:
            if (kind := type(item)) is str:
                most[0] += _MOST_ESCAPE * len(item)
                copy.append(item)
            elif kind in _CONSTANTS or (kind is int and 0 <= item <= _LARGEST_INT):
                copy.append(item)
            else:
                copy.append(_copied(item, depth, most))
    except _Refused as refused:
        refused.place = f"[{len(copy)}]{refused.place}"
        raise
    most[0] += _MOST_NUMBER * len(copy)
    return copy


def _copied_dict(value: dict[Any, Any], depth: int, most: list[int]) -> dict[str, Any]:
    copy: dict[str, Any] = {}
    characters = 0
    for name, item in value.items():
        if type(name) is not str:
            if not isinstance(name, str):
                raise _Refused(f"has the key {name!r:.100} of type {type(name).__name__}; keys are text")
            name = str.__str__(name)
        characters += len(name)
        kind = type(item)
        if kind is str:
            characters += len(item)
            copy[name] = item
            continue
        if kind in _CONSTANTS or (kind is int and 0 <= item <= _LARGEST_INT):
            copy[name] = item
            continue
        try:
            copy[name] = _copied(item, depth, most)
        except _Refused as refused:
            refused.place = f"[{name!r:.50}]{refused.place}"
            raise
    most[0] += 2 * _MOST_NUMBER * len(copy) + _MOST_ESCAPE * characters
    return copy


def restored(value: Any, time_s: float) -> Any:
    """A copy of a copied value, as whoever reads it finds it: with the time of the commit, and names in order."""
    kind = type(value)
    if kind is _Now:
        return time_s
    if kind is dict:
        return {name: restored(value[name], time_s) for name in sorted(value)}
    if kind is list:
        return [restored(item, time_s) for item in value]
    return value


quoted = json.encoder.encode_basestring_ascii  # what `encode` gives for text, at a tenth of the cost
_encoder = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def encode(value: Any) -> str:
    """The canonical JSON of plain data: sorted names, no spaces, ASCII only."""
    return _encoder.encode(value)


def encoder_at(time_s: float) -> Callable[[Any], str]:
    """`encode` for copied values, with the time of their commit."""
    return json.JSONEncoder(
        sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False, default=lambda _: time_s
    ).encode


def object_of(texts: Mapping[str, str]) -> str:
    """The canonical JSON of an object whose values' JSON is at hand."""
    fields = [f"{quoted(name)}:{texts[name]}" for name in sorted(texts)]
    return f"{{{','.join(fields)}}}"


def decode(text: str | bytes) -> Any:
    """Plain data from its JSON; IntegrityError if it is none."""
    try:
        return _decoder.decode(text if isinstance(text, str) else text.decode())
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"What is stored in the catalog is not the JSON of plain data: {error}") from error


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")


_decoder = json.JSONDecoder(parse_constant=_no_number)
