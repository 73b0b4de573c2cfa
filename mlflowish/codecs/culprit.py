"""Which member of a value refuses to be pickled? Found by trying the members, only after the whole has failed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_MOST_TRIES = 2_000


def culprit(value: Any, error: Exception, *, root: str = "result") -> tuple[str, str]:
    """(path such as `result[3].conn`, why that member cannot be pickled).

    `error` is what pickling the whole raised.
    """
    path, reason = root, error
    tried: set[int] = set()
    while (found := _refusing_member(value, tried)) is not None:
        step, value, reason = found
        path += step
    return path, f"{type(value).__module__}.{type(value).__qualname__}: {str(reason)[:200]}"


def _refusing_member(value: Any, tried: set[int]) -> tuple[str, Any, Exception] | None:
    for step, member in _members(value):
        if id(member) in tried:
            # A cycle, or a member that was fine the first time.
            continue
        if len(tried) > _MOST_TRIES:
            return None
        tried.add(id(member))
        if (refusal := _refusal(member)) is not None:
            return step, member, refusal
    return None


def _members(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, member in list(value.items()):
            yield f"[{_key(key)}]", member
    elif isinstance(value, (list, tuple)):
        for place, member in enumerate(value):
            yield f"[{place}]", member
    elif isinstance(value, (set, frozenset)):
        for member in value:
            yield "{...}", member
    for name, member in _attributes(value):
        yield f".{name}", member


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, type) or type(value).__module__ in ("builtins", "_io"):
        return
    yield from list(getattr(value, "__dict__", {}).items())
    for kind in type(value).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(value, name):
                yield name, getattr(value, name)


def _key(key: Any) -> str:
    return repr(key)[:80] if type(key) in (str, int, float, bool, bytes, type(None)) else f"<{type(key).__qualname__}>"


class _Nowhere:
    """Takes what a pickler writes and keeps nothing, so that a search through gigabytes needs no memory."""

    def write(self, data: bytes) -> int:
        return len(data)


def _refusal(member: Any) -> Exception | None:
    from mlflowish.codecs.pickling import try_dump

    try:
        try_dump(member, _Nowhere())
    except Exception as error:  # noqa: BLE001  members refuse in ways of their own
        return error
    return None
