"""What the codec `plain` may write and, above all, call when it reads: a closed table of harmless constructors.

Two kinds of names can stand in a stream: types in C whose attributes nobody can set, and the `Maker`s below, which
wrap constructors written in Python (a stream could otherwise patch `Fraction` or `Path` themselves through pickle's
BUILD). Both lists belong to the stored format: names are added, never changed or removed.
"""

from __future__ import annotations

import collections
import datetime
import sys
from collections.abc import Callable
from typing import Any, NoReturn

Reduced = tuple[Any, ...]
Reducer = Callable[[Any], Any]


class NotPlain(Exception):
    """The value holds something whose type is not in the table."""


class Maker:
    """A constructor by the name under which streams know it.

    Immutable, so that no stream can change what the next one calls.
    """

    __slots__ = ("_make", "_name")
    _make: Callable[..., Any]
    _name: str

    def __init__(self, name: str, make: Callable[..., Any]) -> None:
        object.__setattr__(self, "_name", name)
        object.__setattr__(self, "_make", make)

    def __call__(self, *args: Any) -> Any:
        return self._make(*args)

    def __reduce__(self) -> str:
        return self._name

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(name)

    __delattr__ = __setattr__  # type: ignore[assignment]  # both refuse


def _fraction(numerator: int, denominator: int) -> Any:
    from fractions import Fraction

    return Fraction(numerator, denominator)


def _decimal(text: str) -> Any:
    from decimal import Decimal

    return Decimal(text)


def _uuid(number: int) -> Any:
    from uuid import UUID

    return UUID(int=number)


def _path(kind: str, text: str) -> Any:
    import pathlib

    if kind not in _PATH_KINDS:
        raise ValueError(f"unknown kind of path {kind!r}")
    return getattr(pathlib, kind)(text)


def _zone(key: str) -> Any:
    from zoneinfo import ZoneInfo

    return ZoneInfo(key)


def _counter(counts: dict[Any, int]) -> Any:
    counter: collections.Counter[Any] = collections.Counter()
    dict.update(counter, counts)
    return counter


def _numpy_scalar(dtype: str, data: bytes) -> Any:
    import numpy as np

    return np.frombuffer(data, dtype=_scalar_dtype(dtype), count=1)[0]


def _numpy_text(text: str | bytes) -> Any:
    import numpy as np

    return np.str_(text) if isinstance(text, str) else np.bytes_(text)


def _numpy_dtype(dtype: str) -> Any:
    return _scalar_dtype(dtype)


def _scalar_dtype(text: str) -> Any:
    import numpy as np

    dtype = np.dtype(text) if isinstance(text, str) else None
    if dtype is None or dtype.kind not in _SCALAR_KINDS:
        raise ValueError(f"not the dtype of a scalar: {text!r}")
    return dtype


def _numpy_objects(shape: tuple[int, ...], order: str, items: list[Any]) -> Any:
    import math

    import numpy as np

    if math.prod(shape) != len(items) or order not in ("C", "F"):
        raise ValueError(f"{len(items)} items for an array of shape {shape}, order {order!r}")
    flat = np.empty(len(items), dtype=object)
    for place, item in enumerate(items):
        # Assigning a list to a slice would take a member that is a sequence for another dimension.
        flat[place] = item
    return flat.reshape(shape, order="F" if order == "F" else "C")


def _pandas_time(kind: str, value: int, unit: str, zone: Any, fold: int) -> Any:
    import numpy as np
    import pandas as pd

    if kind == "Timedelta":
        return pd.Timedelta(np.array(value, f"m8[{unit}]")[()])
    stamp = pd.Timestamp(np.array(value, f"M8[{unit}]")[()])
    stamp = stamp if zone is None else stamp.tz_localize("UTC").tz_convert(zone)
    return stamp if stamp.fold == fold else stamp.replace(fold=fold)


def _pandas_missing(name: str) -> Any:
    import pandas as pd

    return {"NaT": pd.NaT, "NA": pd.NA}[name]


fraction = Maker("fraction", _fraction)
decimal = Maker("decimal", _decimal)
uuid = Maker("uuid", _uuid)
path = Maker("path", _path)
zone = Maker("zone", _zone)
counter = Maker("counter", _counter)
numpy_scalar = Maker("numpy_scalar", _numpy_scalar)
numpy_text = Maker("numpy_text", _numpy_text)
numpy_dtype = Maker("numpy_dtype", _numpy_dtype)
numpy_objects = Maker("numpy_objects", _numpy_objects)
pandas_time = Maker("pandas_time", _pandas_time)
pandas_missing = Maker("pandas_missing", _pandas_missing)

_PATH_KINDS = frozenset({"PurePosixPath", "PureWindowsPath", "PosixPath", "WindowsPath"})
_SCALAR_KINDS = frozenset("biufcmMSUV")

_C_TYPES: tuple[Any, ...] = (
    *(bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset, range, slice),
    *(datetime.date, datetime.time, datetime.datetime, datetime.timedelta, datetime.timezone),
    *(collections.OrderedDict, collections.defaultdict, collections.deque),
)

GLOBALS: dict[tuple[str, str], Any] = {
    ("builtins", "Ellipsis"): ...,
    ("builtins", "NotImplemented"): NotImplemented,
    **{(kind.__module__, kind.__qualname__): kind for kind in _C_TYPES},
    **{(__name__, name): maker for name, maker in list(globals().items()) if isinstance(maker, Maker)},
}
"""Everything that a stream of codec `plain` can name."""


def reduce_plain(value: Any) -> Any:
    """How pickle shall write a value of a type that it has no opcode for.

    NotPlain unless the type is in the table.
    """
    kind = type(value)
    reducer = _reducers.get(kind)
    if reducer is None:
        reducer = _reducer_by_name(kind)
    return reducer(value)


def _as_pickle_does(value: Any) -> Any:
    return NotImplemented


def _reduce_type(kind: Any) -> Any:
    if kind in _C_TYPES:
        return NotImplemented
    raise NotPlain(f"the class {kind.__qualname__}")


def _reduce_ordered(value: collections.OrderedDict[Any, Any]) -> Reduced:
    # With its attributes: torch keeps the versions of a state dict there.
    return collections.OrderedDict, (), vars(value) or None, None, iter(value.items())


def _reduce_counter(value: collections.Counter[Any]) -> Reduced:
    if vars(value):
        raise NotPlain("a Counter with attributes")
    return counter, (dict(value),)


def _reduce_zone(value: Any) -> Reduced:
    if value.key is None:
        raise NotPlain("a ZoneInfo without a key")
    return zone, (value.key,)


def _reduce_numpy_scalar(value: Any) -> Reduced:
    dtype = value.dtype
    if dtype.kind not in "biufcmM" or dtype.metadata:
        raise NotPlain(f"a numpy scalar of dtype {dtype}")
    # `longlong` and its like share their dtype string with another type; then only the letter tells.
    exact = sys.modules["numpy"].dtype(dtype.str).type is type(value)
    return numpy_scalar, (dtype.str if exact else dtype.char, value.tobytes())


def _reduce_numpy_text(value: Any) -> Reduced:
    return numpy_text, (str.__str__(value) if isinstance(value, str) else bytes.__getitem__(value, slice(None)),)


def _reduce_numpy_dtype(value: Any) -> Reduced:
    if value.kind not in _SCALAR_KINDS or value.fields or value.subdtype or value.metadata:
        raise NotPlain(f"the dtype {value}")
    return numpy_dtype, (value.str,)


def _reduce_numpy_array(value: Any) -> Reduced:
    if value.dtype.kind != "O" or value.dtype.metadata:
        raise NotPlain("an array")
    order = "F" if value.flags.f_contiguous and not value.flags.c_contiguous else "C"
    return numpy_objects, (value.shape, order, value.ravel(order=order).tolist())


def _reduce_timestamp(value: Any) -> Reduced:
    zone_of = value.tzinfo
    bare = value if zone_of is None else value.tz_convert("UTC").tz_localize(None)
    return pandas_time, ("Timestamp", int(bare.asm8.view("i8")), value.unit, zone_of, value.fold)


def _reduce_timedelta(value: Any) -> Reduced:
    return pandas_time, ("Timedelta", int(value.asm8.view("i8")), value.unit, None, 0)


_reducers: dict[type, Reducer] = {
    type: _reduce_type,
    Maker: _as_pickle_does,
    **dict.fromkeys(
        (type(...), type(NotImplemented), complex, range, slice, collections.defaultdict, collections.deque),
        _as_pickle_does,
    ),
    **dict.fromkeys(
        (datetime.date, datetime.time, datetime.datetime, datetime.timedelta, datetime.timezone), _as_pickle_does
    ),
    collections.OrderedDict: _reduce_ordered,
    collections.Counter: _reduce_counter,
}

_reducers_by_name: dict[str, Reducer] = {
    "fractions.Fraction": lambda value: (fraction, (value.numerator, value.denominator)),
    "decimal.Decimal": lambda value: (decimal, (str(value),)),
    "uuid.UUID": lambda value: (uuid, (value.int,)),
    "zoneinfo.ZoneInfo": _reduce_zone,
    **{
        f"{module}.{kind}": lambda value: (path, (type(value).__name__, str(value)))
        for kind in _PATH_KINDS
        # Python 3.13 keeps the classes in a module of their own.
        for module in ("pathlib", "pathlib._local")
    },
    "numpy.ndarray": _reduce_numpy_array,
    "numpy.str_": _reduce_numpy_text,
    "numpy.bytes_": _reduce_numpy_text,
    "pandas.Timestamp": _reduce_timestamp,
    "pandas._libs.tslibs.timestamps.Timestamp": _reduce_timestamp,
    "pandas.Timedelta": _reduce_timedelta,
    "pandas._libs.tslibs.timedeltas.Timedelta": _reduce_timedelta,
    **dict.fromkeys(
        ("pandas._libs.tslibs.nattype.NaTType", "pandas.api.typing.NaTType"), lambda value: (pandas_missing, ("NaT",))
    ),
    **dict.fromkeys(
        ("pandas._libs.missing.NAType", "pandas.api.typing.NAType"), lambda value: (pandas_missing, ("NA",))
    ),
}


def _reducer_by_name(kind: type) -> Reducer:
    """The reducer of a type of a library that is not imported here.

    Remembered when the type really is the library's.
    """
    name = f"{kind.__module__}.{kind.__qualname__}"
    reducer = _reducers_by_name.get(name)
    if reducer is None and kind.__module__.partition(".")[0] == "numpy":
        reducer = _numpy_reducer(kind)
    if reducer is None or getattr(sys.modules.get(kind.__module__), kind.__qualname__, None) is not kind:
        raise NotPlain(f"a value of type {name}")
    _reducers[kind] = reducer
    return reducer


def _numpy_reducer(kind: type) -> Reducer | None:
    numpy = sys.modules["numpy"]
    if issubclass(kind, numpy.generic):
        return _reduce_numpy_scalar
    return _reduce_numpy_dtype if issubclass(kind, numpy.dtype) else None
