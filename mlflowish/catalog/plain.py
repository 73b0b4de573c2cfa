"""Keys and values of the catalog: what may be one, and the one text that each has."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from mlflowish.errors import InvalidInputError

RESERVED = "~"  # keys that begin so are the catalog's own
_MOST_KEY_CHARACTERS = 512
_MOST_DEPTH = 64
MOST_VALUE_CHARACTERS = 16 << 20
# Control characters, halves of surrogate pairs, line separators, and the last code point, which bounds a scan from
# above.
_REFUSED_CHARACTERS = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\U0010ffff]")
LAST_CHARACTER = "\U0010ffff"
_SMALLEST_INT, _LARGEST_INT = -(1 << 63), (1 << 64) - 1  # what readers in other languages have a type for


class CommitTime(float):
    """The time of a commit that is not made yet: where it stands in a value, the recorded time takes its place."""

    __slots__ = ()


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


def plain_copy(value: Any, where: str = "the value") -> Any:
    """A copy of plain data that shares nothing with it; InvalidInputError that names the place of what is not plain."""
    return _copied(value, where, 0)


def _copied(value: Any, where: str, depth: int) -> Any:
    kind = type(value)
    if value is None or kind is bool or kind is str or kind is CommitTime:
        return value
    if depth > _MOST_DEPTH:
        raise InvalidInputError(f"{where} is nested deeper than {_MOST_DEPTH} levels", path=where)
    if isinstance(value, int):
        if not _SMALLEST_INT <= value <= _LARGEST_INT:
            raise InvalidInputError(f"{where} is an integer beyond 64 bits; store it as text", path=where)
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            message = f"{where} is {value!r}, which JSON has no number for; leave it out, or store it as text"
            raise InvalidInputError(message, path=where)
        return float(value)
    if isinstance(value, str):
        return str.__str__(value)
    if kind is list:
        return [_copied(item, f"{where}[{index}]", depth + 1) for index, item in enumerate(value)]
    if kind is dict:
        for name in value:
            if not isinstance(name, str):
                message = f"{where} has the key {name!r:.100} of type {type(name).__name__}; keys are text"
                raise InvalidInputError(message, path=where)
        return {str.__str__(name): _copied(item, f"{where}[{name!r:.50}]", depth + 1) for name, item in value.items()}
    raise InvalidInputError(
        f"{where} is of type {kind.__module__}.{kind.__qualname__}. The catalog holds plain data: dict, list, str, "
        "int, float, bool and None; larger or other things are objects, and their names go here",
        path=where,
    )


def stamped(value: Any, time_s: float) -> Any:
    """Plain data with every `CommitTime` in it replaced by the time of the commit."""
    kind = type(value)
    if kind is CommitTime:
        return time_s
    if kind is dict:
        return {name: stamped(item, time_s) for name, item in value.items()}
    if kind is list:
        return [stamped(item, time_s) for item in value]
    return value


_encoder = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def encode(value: Any) -> str:
    """The canonical JSON of plain data: sorted names, no spaces, ASCII only."""
    return _encoder.encode(value)


def decode(text: str | bytes) -> Any:
    """Plain data from its JSON; ValueError if it is none."""
    return json.loads(text)
