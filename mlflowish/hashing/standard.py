"""Types of the standard library that are more, or less, than pickle would write: dates, paths, enums, patterns."""

from __future__ import annotations

import copyreg
import datetime as dt
import enum
import functools
import sys
import weakref
from collections.abc import Set
from typing import Any

from mlflowish.hashing import builtin
from mlflowish.hashing.names import standard_name
from mlflowish.hashing.plain import plain_digest
from mlflowish.hashing.tree import Expand, Walk
from mlflowish.hashing.writer import Done, Node, head, leaf, silent


def _date(value: dt.date, walk: Walk) -> Done:
    return leaf("date", value.year, value.month, value.day)


def _time_fields(value: Any) -> tuple[int, ...]:
    return value.hour, value.minute, value.second, value.microsecond, value.fold


def _datetime(value: dt.datetime, walk: Walk) -> Node | Done:
    fields = (value.year, value.month, value.day, *_time_fields(value))
    return _with_zone("datetime", fields, value)


def _time(value: dt.time, walk: Walk) -> Node | Done:
    return _with_zone("time", _time_fields(value), value)


def _with_zone(tag: str, fields: tuple[int, ...], value: Any) -> Node | Done:
    if value.tzinfo is None:
        return leaf(tag, fields)
    # The offset too: the same zone may get other rules with new zone data.
    zone = (value.tzname(), _microseconds(value.utcoffset()))
    return Node(head(tag, fields, zone), (value.tzinfo,), lambda i: ".tzinfo")


def _microseconds(delta: dt.timedelta | None) -> int | None:
    return None if delta is None else (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def _timedelta(value: dt.timedelta, walk: Walk) -> Done:
    return leaf("timedelta", value.days, value.seconds, value.microseconds)


def _timezone(value: dt.timezone, walk: Walk) -> Done:
    return leaf("timezone", _microseconds(value.utcoffset(None)), value.tzname(None))


def _zoneinfo(value: Any, walk: Walk) -> Done:
    if value.key is None:
        walk.refuse(value, "a time zone that was read from a file has no key")
    return leaf("ZoneInfo", value.key)


def _decimal(value: Any, walk: Walk) -> Done:
    sign, digits, exponent = value.as_tuple()
    return leaf("Decimal", sign, digits, exponent)


def _fraction(value: Any, walk: Walk) -> Node:
    return Node(head("Fraction"), (value.numerator, value.denominator), silent)


def _uuid(value: Any, walk: Walk) -> Done:
    return leaf("UUID", value.bytes, value.is_safe.value)


def _path(value: Any, walk: Walk) -> Done:
    return leaf("Path", value.as_posix())  # the same relative path on every system


def _pure_path(value: Any, walk: Walk) -> Done:
    return leaf(type(value).__name__, str(value))


def _pattern(value: Any, walk: Walk) -> Done:
    return leaf("re.Pattern", value.pattern, value.flags)


def _ip(value: Any, walk: Walk) -> Done:
    return leaf(type(value).__name__, str(value))


def _buffer(value: Any, walk: Walk) -> Node:
    state = value.__getstate__()
    return Node(head(type(value).__name__), state, silent)


def _weak(value: Any, walk: Walk) -> Node:
    walk.refuse(value, "a weak reference may lose what it refers to at any moment")


def _running(value: Any, walk: Walk) -> Node:
    walk.refuse(value, "it stands for something that is running or open, which no content describes")


_EXACT: dict[str, Expand] = {
    "datetime:date": _date,
    "datetime:datetime": _datetime,
    "datetime:time": _time,
    "datetime:timedelta": _timedelta,
    "datetime:timezone": _timezone,
    "zoneinfo:ZoneInfo": _zoneinfo,
    "decimal:Decimal": _decimal,
    "fractions:Fraction": _fraction,
    "uuid:UUID": _uuid,
    "pathlib:PosixPath": _path,
    "pathlib:WindowsPath": _path,
    "pathlib:PurePosixPath": _pure_path,
    "pathlib:PureWindowsPath": _pure_path,
    "re:Pattern": _pattern,
    "ipaddress:IPv4Address": _ip,
    "ipaddress:IPv6Address": _ip,
    "ipaddress:IPv4Network": _ip,
    "ipaddress:IPv6Network": _ip,
    "ipaddress:IPv4Interface": _ip,
    "ipaddress:IPv6Interface": _ip,
    "_io:BytesIO": _buffer,
    "_io:StringIO": _buffer,
    "weakref:WeakSet": _weak,
    "_weakrefset:WeakSet": _weak,
    "weakref:WeakValueDictionary": _weak,
    "weakref:WeakKeyDictionary": _weak,
}
# Modules whose objects are alive rather than values; looked up, never imported.
_ALIVE = {
    "threading": ("Thread", "local"),
    "socket": ("socket",),
    "subprocess": ("Popen",),
    "multiprocessing.process": ("BaseProcess",),
    "concurrent.futures": ("Executor", "Future"),
    "asyncio": ("Future", "AbstractEventLoop", "Lock", "Event", "Condition", "Semaphore", "Barrier", "Queue"),
    "sqlite3": ("Connection", "Cursor"),
    "tempfile": ("TemporaryDirectory",),
    "_io": ("_IOBase",),
}


def expander_for(cls: type) -> Expand | None:
    """The expander of a class of the standard library, or of a subclass where the base decides."""
    name = standard_name(cls)
    if name in _EXACT:
        return _EXACT[name]
    if issubclass(cls, enum.Enum):
        return _enum
    if issubclass(cls, weakref.ReferenceType | weakref.ProxyType | weakref.CallableProxyType):
        return _weak
    if issubclass(cls, _alive()):
        return _running
    if issubclass(cls, functools.partial):
        return _partial
    if issubclass(cls, set | frozenset):
        return _set_subclass
    return None


def _alive() -> tuple[type, ...]:
    return tuple(
        getattr(sys.modules[module], name)
        for module, names in _ALIVE.items()
        if module in sys.modules
        for name in names
        if hasattr(sys.modules[module], name)
    )


def _enum(value: Any, walk: Walk) -> Node:
    # Members are told apart by name, combinations of flags by value. A value may be anything, say a bare object().
    content = value._value_ if plain_digest(value._value_) is not None else None
    name = "" if isinstance(value, enum.Flag) else value._name_
    return Node(head("enum", *walk.identity(type(value)), name), (content,), silent)


def _partial(value: Any, walk: Walk) -> Node:
    from mlflowish.hashing.instances import attributes_part

    parts = (value.func, value.args, value.keywords, attributes_part(vars(value)))
    return Node(head("partial", *walk.identity(type(value))), parts, (".func", ".args", ".keywords", "").__getitem__)


def _slots(value: Any) -> dict[str, Any]:
    names = [name for cls in type(value).__mro__ for name in copyreg._slotnames(cls)]  # type: ignore[attr-defined]
    return {name: getattr(value, name) for name in names if hasattr(value, name)}


def _set_subclass(value: Any, walk: Walk) -> Node:
    from mlflowish.hashing.instances import attributes_part

    members: Set[Any] = frozenset(value)
    content = builtin.set_node(head("members", len(members)), members)
    state = attributes_part(getattr(value, "__dict__", {}) | _slots(value))
    return Node(head("set subclass", *walk.identity(type(value))), (content, state), silent)
