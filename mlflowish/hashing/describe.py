"""What a person is shown about one thing that a fingerprint depends on: short, and never a secret."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_LIMIT = 500
_SECRET = re.compile(r"key|token|passw|pwd|secret|credential", re.IGNORECASE)
_SECRET_IN_CODE = re.compile(
    r"""(?P<name>\w*(?:key|token|passw|pwd|secret|credential)\w*["']?\s*[=:]\s*)(?P<quote>["'])(?:\\.|(?!(?P=quote)).)*(?P=quote)""",
    re.IGNORECASE,
)
_URL_PASSWORD = re.compile(r"(?<=://)[^/\s:@'\"]+:[^/\s@'\"]+(?=@)")
_HIDDEN = "<hidden>"
_ITEMS = 20


def value_text(label: str, value: Any) -> str:
    """A short text for a value; `<hidden>` where the name says that it is a secret."""
    if is_secret(label.rpartition(".")[2]):
        return _HIDDEN
    return _URL_PASSWORD.sub(_HIDDEN, _short(_text(value, depth=3)))


def source_text(text: str) -> str:
    """The source of a unit, with the strings that it assigns to secret names left out."""
    hidden = _SECRET_IN_CODE.sub(lambda found: f"{found['name']}{found['quote']}{_HIDDEN}{found['quote']}", text)
    return _URL_PASSWORD.sub(_HIDDEN, hidden)


def is_secret(name: str) -> bool:
    """Whether a value of that name must not be shown."""
    return _SECRET.search(name) is not None


def _text(value: Any, *, depth: int) -> str:
    if isinstance(value, (str, bytes)):
        return repr(value[:_LIMIT])
    if type(value) in {int, float, complex, bool, type(None)}:
        # An int of a million digits cannot be shown, and takes long to try.
        return (
            f"<int of {value.bit_length()} bits>"
            if isinstance(value, int) and value.bit_length() > 999
            else repr(value)
        )
    if depth == 0:
        return "..."
    if isinstance(value, Mapping) and getattr(type(value), "__module__", "") in {"builtins", "collections"}:
        return _mapping_text(value, depth=depth)
    if type(value) in {list, tuple, set, frozenset}:
        shown = [_text(item, depth=depth - 1) for item in list(value)[:_ITEMS]]
        more = [f"... {len(value):,} items"] if len(value) > _ITEMS else []
        return f"{type(value).__name__}({', '.join(shown + more)})"
    return _object_text(value, depth=depth)


def _mapping_text(value: Mapping[Any, Any], *, depth: int) -> str:
    shown = []
    for key, item in list(value.items())[:_ITEMS]:
        hidden = isinstance(key, str) and is_secret(key)
        shown.append(f"{_text(key, depth=1)}: {_HIDDEN if hidden else _text(item, depth=depth - 1)}")
    more = [f"... {len(value):,} items"] if len(value) > _ITEMS else []
    return "{" + ", ".join(shown + more) + "}"


def _object_text(value: Any, *, depth: int) -> str:
    cls = type(value)
    shape = getattr(value, "shape", None)
    if shape is not None and str(getattr(cls, "__module__", "")).partition(".")[0] not in {"__main__", "builtins"}:
        return f"<{cls.__qualname__} shape={shape} dtype={getattr(value, 'dtype', None)}>"
    state = getattr(value, "__dict__", None)
    if isinstance(state, dict) and not callable(value):
        # Not the object's own repr, which may show what must not be shown.
        inside = _mapping_text(state, depth=depth)
        return f"{cls.__qualname__}{inside}"
    name = getattr(value, "__qualname__", None)
    return f"<{cls.__qualname__} {name}>" if isinstance(name, str) else f"<{cls.__qualname__}>"


def _short(text: str) -> str:
    return text if len(text) <= _LIMIT else text[: _LIMIT - 3] + "..."
