"""One line about a value, for displays: cheap, safe, and silent about what it does not know.

Nothing is imported, and no method of a user's class is called: types of libraries are known by their names, and
their attributes read only then.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

_LENGTH = 200
_TEXT = 60
_BYTES = 24
_MEMBERS = 4
_COLUMNS = 6
_BRACKETS = {"list": ("[", "]"), "tuple": ("(", ")")}
_SCALARS = frozenset({type(None), bool, float, complex, type(...), type(NotImplemented), range, slice})


def describe(value: Any) -> str:
    """At most 200 characters such as `ndarray float64 (1000, 20)`, `DataFrame 100x3.

    A int64, b float64`, `'abc'`, `list of 10,000`.
    """
    try:
        text = _described(value, depth=1)
    except Exception:  # noqa: BLE001  a display must not fail, whatever a broken object of a library raises
        text = _type_name(type(value))
    return text if len(text) <= _LENGTH else text[: _LENGTH - 1] + "…"


def _described(value: Any, *, depth: int) -> str:
    kind = type(value)
    if kind in _SCALARS:
        return _range(value) if kind in (range, slice) else repr(value)
    if kind is int:
        return repr(value) if value.bit_length() < 200 else f"int of {value.bit_length():,} bits"
    if kind in (str, bytes, bytearray):
        return _string(value)
    if kind in (list, tuple, dict, set, frozenset):
        return _container(value, depth=depth)
    if kind is type:
        return f"class {_type_name(value)}"
    known = _KNOWN.get(f"{kind.__module__.partition('.')[0]}.{kind.__name__}")
    if known is not None and _is_of_library(kind):
        return known(value)
    if kind.__module__ == "numpy" and hasattr(sys.modules.get("numpy"), kind.__name__):
        return f"{kind.__name__} {value!s:.60}"
    return _other(value, kind)


def _range(value: range | slice) -> str:
    bounds = (value.start, value.stop, value.step)
    plain = all(type(bound) is int or bound is None for bound in bounds)
    return f"{type(value).__name__}{bounds}" if plain else type(value).__name__


def _string(value: Any) -> str:
    if len(value) <= (_TEXT if type(value) is str else _BYTES):
        return repr(value)
    unit = "characters" if type(value) is str else "bytes"
    shown = repr(value[:_TEXT] if type(value) is str else bytes(value[:_BYTES]))
    return f"{shown}… ({type(value).__name__} of {len(value):,} {unit})"


def _container(value: Any, *, depth: int) -> str:
    name = type(value).__name__
    if not value:
        return f"empty {name}"
    if len(value) > _MEMBERS or not depth:
        return f"{name} of {len(value):,}"
    if name == "dict":
        members = ", ".join(f"{_described(k, depth=0)}: {_described(v, depth=depth - 1)}" for k, v in value.items())
        return f"{{{members}}}"
    members = ", ".join(_described(member, depth=depth - 1) for member in value)
    opening, closing = _BRACKETS.get(name, ("{", "}"))
    comma = "," if name == "tuple" and len(value) == 1 else ""
    return f"{'frozenset ' if name == 'frozenset' else ''}{opening}{members}{comma}{closing}"


def _array(value: Any) -> str:
    return f"{type(value).__name__} {str(value.dtype)[:80]} {tuple(value.shape)}"


def _frame(value: Any) -> str:
    rows, columns = value.shape
    names = list(value.columns[:_COLUMNS])
    dtypes = list(value.dtypes[:_COLUMNS]) if not hasattr(value.dtypes, "iloc") else list(value.dtypes.iloc[:_COLUMNS])
    listed = ", ".join(f"{_name(name)} {str(dtype)[:30]}" for name, dtype in zip(names, dtypes, strict=True))
    more = f", … {columns - _COLUMNS:,} more" if columns > _COLUMNS else ""
    return f"DataFrame {rows:,}x{columns:,}" + (f": {listed}{more}" if columns else "")


def _name(name: Any) -> str:
    if type(name) is str:
        return name[:30]
    return repr(name) if type(name) in (int, float, bool, type(None)) else type(name).__name__


def _series(value: Any) -> str:
    name = f" {_name(value.name)}" if value.name not in (None, "") else ""
    return f"{type(value).__name__}{name} {str(value.dtype)[:40]} ({len(value):,},)"


def _arrow_table(value: Any) -> str:
    listed = ", ".join(
        f"{name[:30]} {str(kind)[:30]}"
        for name, kind in zip(value.schema.names[:_COLUMNS], value.schema.types, strict=False)
    )
    return f"{type(value).__name__} {value.num_rows:,}x{value.num_columns:,}: {listed}"


def _arrow_array(value: Any) -> str:
    return f"arrow {type(value).__name__} {str(value.type)[:60]} ({len(value):,},)"


def _text(value: Any) -> str:
    return f"{type(value).__name__} {str(value)[:100]}"


def _path(value: Any) -> str:
    return f"{type(value).__name__}({str(value)[:120]!r})"


def _sparse(value: Any) -> str:
    return f"{type(value).__name__} {value.dtype} {tuple(value.shape)}, {value.nnz:,} stored"


_KNOWN: dict[str, Callable[[Any], str]] = {
    **dict.fromkeys(("numpy.ndarray", "numpy.memmap", "numpy.matrix", "numpy.recarray", "numpy.MaskedArray"), _array),
    **dict.fromkeys(("torch.Tensor", "torch.Parameter"), _array),
    **dict.fromkeys(("pandas.DataFrame", "polars.DataFrame"), _frame),
    **dict.fromkeys(("pandas.Series", "polars.Series"), _series),
    **dict.fromkeys(
        [f"pandas.{kind}" for kind in ("Index", "RangeIndex", "DatetimeIndex", "CategoricalIndex", "TimedeltaIndex")],
        _series,
    ),
    **dict.fromkeys(("pyarrow.Table", "pyarrow.RecordBatch"), _arrow_table),
    "pyarrow.ChunkedArray": _arrow_array,
    **dict.fromkeys([f"datetime.{kind}" for kind in ("date", "datetime", "time", "timedelta")], _text),
    **dict.fromkeys(
        ("decimal.Decimal", "fractions.Fraction", "uuid.UUID", "pandas.Timestamp", "pandas.Timedelta"), _text
    ),
    **dict.fromkeys(
        [f"pathlib.{kind}" for kind in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")], _path
    ),
    **dict.fromkeys(
        [f"scipy.{kind}_{form}" for kind in ("csr", "csc", "coo", "bsr", "dia") for form in ("matrix", "array")],
        _sparse,
    ),
    "mlflowish.Items": repr,
    "mlflowish.File": repr,
    "mlflowish.Dir": repr,
}


def _is_of_library(kind: type) -> bool:
    """Not a class of the user's that calls its module like a library."""
    return getattr(sys.modules.get(kind.__module__), kind.__name__, None) is kind


def _other(value: Any, kind: type) -> str:
    if kind.__module__ == "types" or kind.__name__ in ("function", "builtin_function_or_method", "method"):
        return f"{kind.__name__} {getattr(value, '__qualname__', '')}".strip()
    if issubclass(kind, (list, tuple, dict, set, frozenset, str, bytes)):
        # The base's own len, since a subclass may have any.
        base = next(base for base in kind.__mro__ if base in (list, tuple, dict, set, frozenset, str, bytes))
        return f"{_type_name(kind)} of {base.__len__(value):,}"
    return _type_name(kind)


def _type_name(kind: type) -> str:
    module = type.__getattribute__(kind, "__module__")
    name = type.__getattribute__(kind, "__qualname__")
    return name if module in ("builtins", "__main__") else f"{module}.{name}"
