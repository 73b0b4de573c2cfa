"""What may be logged: names as MLflow takes them, numbers from whatever holds one, texts of bounded length."""

from __future__ import annotations

import math
import posixpath
import re
from typing import Any, SupportsFloat

from mlflowish.errors import InvalidInputError

MAX_NAME, MAX_PARAM, MAX_TAG = 250, 65_536, 1_000_000
_NAME = re.compile(r"[/\w.\- :]+\Z")
_INT64 = 1 << 63


def require_name(name: Any, what: str) -> str:
    """The name of a metric, param or tag."""
    if isinstance(name, str) and 0 < len(name) <= MAX_NAME and _NAME.match(name) and _is_plain(name):
        return name
    raise InvalidInputError(
        f"The name of a {what} has 1 to {MAX_NAME} letters, digits, '_', '-', '.', ':', spaces and '/', and no '..', "
        f"no '/' at its ends; found {name!r}",
        found=name,
    )


def require_number(value: Any, name: str) -> float:
    """A metric's value as a float: numbers, bools, numpy and torch scalars, arrays of one element. NaN and infinities
    stay."""
    if isinstance(value, (str, bytes, bytearray, complex)) or value is None or not _is_single(value):
        raise _no_number(value, name)
    try:
        return float(value.item() if getattr(value, "shape", ()) else value)
    except (TypeError, ValueError, OverflowError, RuntimeError, AttributeError) as error:
        raise _no_number(value, name) from error


def require_step(step: Any) -> int:
    """A step as an integer of 64 bits; None is 0."""
    if step is None:
        return 0
    try:
        number = int(step)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInputError(f"A step is an integer, found {step!r}", found=step) from error
    if not -_INT64 <= number < _INT64 or number != step:
        raise InvalidInputError(f"A step is an integer of 64 bits, found {step!r}", found=step)
    return number


def require_time_us(timestamp: Any) -> int:
    """Milliseconds since 1970, as MLflow counts them, in microseconds."""
    try:
        found = int(float(timestamp) * 1000)
    except (TypeError, ValueError, OverflowError) as error:
        raise _no_time(timestamp) from error
    if not -_INT64 <= found < _INT64:
        raise _no_time(timestamp)
    return found


def param_text(name: str, value: Any) -> str:
    """A param as it is stored: the text of its value."""
    return _bounded(str(value), f"param {name!r}", MAX_PARAM)


def tag_text(name: str, value: Any) -> str:
    """A tag as it is stored."""
    return _bounded(str(value), f"tag {name!r}", MAX_TAG)


def _bounded(text: str, what: str, limit: int) -> str:
    if len(text) > limit:
        raise InvalidInputError(
            f"The value of {what} has {len(text):,} characters, more than {limit:,}. Log it as a file: "
            "mf.log_text(text, 'name.txt')",
            size=len(text),
        )
    return text


def _is_plain(name: str) -> bool:
    return posixpath.normpath(name) == name and not name.startswith("/") and ".." not in name.split("/")


def _is_single(value: Any) -> bool:
    shape = getattr(value, "shape", ())
    try:
        return math.prod(shape) == 1
    except TypeError:
        return isinstance(value, SupportsFloat)


def _no_time(timestamp: Any) -> InvalidInputError:
    return InvalidInputError(f"A timestamp is milliseconds since 1970, found {timestamp!r}", found=timestamp)


def _no_number(value: Any, name: str) -> InvalidInputError:
    shown = repr(value)
    shown = shown if len(shown) <= 80 else shown[:77] + "..."
    return InvalidInputError(
        f"The metric {name!r} needs one number, found {shown} ({type(value).__name__})", metric=name, kind=type(value)
    )
