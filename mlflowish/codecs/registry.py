"""Which codec stores which type: ours, and those that rooms above and users register.

Types of libraries are known by name, so that nothing is imported before a value of theirs turns up.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mlflowish.codecs.base import Codec
from mlflowish.codecs.refusals import not_here
from mlflowish.errors import AlreadyExistsError, InvalidInputError

Predicate = Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class Rule:
    """`codec` stores the values of a type for which `when` holds."""

    codec: Codec
    when: Predicate | None = None

    def applies(self, value: Any) -> bool:
        """Is `value` one of these?"""
        return self.when is None or self.when(value)


_BUILTIN_CODECS = {
    "plain": "mlflowish.codecs.plain:PlainCodec",
    "tree": "mlflowish.codecs.tree:TreeCodec",
    "bytes": "mlflowish.codecs.raw:BytesCodec",
    "numpy": "mlflowish.codecs.npy:NumpyCodec",
    "pandas": "mlflowish.codecs.frames:PandasCodec",
    "polars": "mlflowish.codecs.polars_frames:PolarsCodec",
    "arrow": "mlflowish.codecs.arrow:ArrowCodec",
    "sparse": "mlflowish.codecs.sparse:SparseCodec",
    "torch": "mlflowish.codecs.tensors:TensorCodec",
    "items": "mlflowish.codecs.items:ItemsCodec",
    "pickle": "mlflowish.codecs.pickled:PickleCodec",
}

_PANDAS_TYPES = {
    "DataFrame": "frame",
    "Series": "series",
    "Index": "indexes.base",
    "RangeIndex": "indexes.range",
    "MultiIndex": "indexes.multi",
    "DatetimeIndex": "indexes.datetimes",
    "TimedeltaIndex": "indexes.timedeltas",
    "PeriodIndex": "indexes.period",
    "IntervalIndex": "indexes.interval",
    "CategoricalIndex": "indexes.category",
}

_BUILTIN_TYPES = {
    "numpy.ndarray": "numpy",
    "numpy.memmap": "numpy",
    **{
        f"{module}.{kind}": "pandas"
        for kind, home in _PANDAS_TYPES.items()
        # Before version 3 its classes named the modules that they are written in.
        for module in ("pandas", f"pandas.core.{home}")
    },
    "polars.dataframe.frame.DataFrame": "polars",
    "polars.series.series.Series": "polars",
    "torch.Tensor": "torch",
    "torch.nn.parameter.Parameter": "torch",
    **{
        f"scipy.sparse._{form}.{form}_{flavour}": "sparse"
        for form in ("csr", "csc", "bsr", "coo", "dia")
        for flavour in ("matrix", "array")
    },
    **dict.fromkeys([f"pyarrow.lib.{kind}" for kind in ("Table", "RecordBatch", "ChunkedArray", "Schema")], "arrow"),
    "mlflowish.codecs.items.Items": "items",
}

_PLAIN_TYPES = (type(None), bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset, type)

_later_codecs: dict[str, str] = {}
_later_types: dict[str, str] = {}
_codecs: dict[str, Codec] = {}
_rules: dict[type, Rule | None] = dict.fromkeys(_PLAIN_TYPES)
_rules_by_name: dict[str, Rule] = {}
_predicates: list[Rule] = []


def register(codec: Codec, *types: type | str, when: Predicate | None = None) -> None:
    """Let `codec` store values of exactly these types for which `when` holds.

    A type is a class, or "module.Class" for one that is not imported yet.

    Without types, `when(value)` alone decides, for values of types that no codec is registered for; it is asked
    often and must be fast. The codec's name is written into every entry, so it is for ever: a process that reads
    those entries must have registered it too.

    AlreadyExistsError if another codec has the name; registering the same class again (a notebook cell run twice)
    replaces it.
    """
    _check_registration(codec, types, when)
    rule = Rule(codec, when)
    _codecs[codec.name] = codec
    for kind in types:
        if isinstance(kind, str):
            _rules_by_name[kind] = rule
        else:
            _rules[kind] = rule
    if not types:
        _predicates[:] = [known for known in _predicates if known.codec.name != codec.name] + [rule]


def register_lazily(name: str, codec: str, kind: str) -> None:
    """The same for a codec `module:Class` of ours in a room above, imported when a value of that type, or an entry that
    names it, turns up."""
    _later_codecs[name] = codec
    _later_types[kind] = name


def _check_registration(codec: Codec, types: tuple[type | str, ...], when: Predicate | None) -> None:
    name = codec.name
    other = _codecs.get(name)
    if (
        name in _BUILTIN_CODECS
        or name in _later_codecs
        or (other is not None and type(other).__qualname__ != type(codec).__qualname__)
    ):
        raise AlreadyExistsError(
            f"Registering codec '{name}' failed: the name is taken. Give the codec another name.", name=name
        )
    if not types and when is None:
        raise InvalidInputError(f"Registering codec '{name}': name the types it stores, or give when=", name=name)
    if plain := [kind for kind in types if kind in _PLAIN_TYPES]:
        raise InvalidInputError(
            f"Registering codec '{name}' for {plain[0].__name__} failed: builtin values are stored as they are. "
            "Return an instance of a class of your own and register that.",
            name=name,
        )


def known() -> list[str]:
    """The names of all codecs, sorted."""
    return sorted(_BUILTIN_CODECS.keys() | _later_codecs.keys() | _codecs.keys())


def codec_named(name: str) -> Codec:
    """The codec that an entry names; CapabilityError if this process has none of that name."""
    try:
        return _codecs[name]
    except KeyError:
        return _load_builtin(name)


def _load_builtin(name: str) -> Codec:
    where = _BUILTIN_CODECS.get(name) or _later_codecs.get(name)
    if where is None:
        raise not_here(name, f"no codec of that name is registered (there are {', '.join(known())})")
    module, _, attribute = where.partition(":")
    codec: Codec = getattr(importlib.import_module(module), attribute)()
    _codecs[name] = codec
    return codec


def codec_for(value: Any) -> Codec | None:
    """The codec that stores `value` as a leaf of its own, by its exact type, else by predicate.

    None for plain values and the unknown.
    """
    kind = type(value)
    try:
        rule = _rules[kind]
    except KeyError:
        rule = _rule_by_name(kind)
    if rule is not None:
        return rule.codec if rule.applies(value) else None
    if not _predicates or kind in _PLAIN_TYPES:
        return None
    return next((rule.codec for rule in _predicates if rule.applies(value)), None)


def _rule_by_name(kind: type) -> Rule | None:
    name = f"{kind.__module__}.{kind.__qualname__}"
    rule = _rules_by_name.get(name)
    if rule is None and (builtin := _builtin_codec(name)) is not None:
        rule = Rule(codec_named(builtin))
    if rule is None or getattr(sys.modules.get(kind.__module__), kind.__qualname__, None) is not kind:
        return None
    # Only what is found is remembered: classes of a notebook come and go.
    _rules[kind] = rule
    return rule


def _builtin_codec(name: str) -> str | None:
    if name.startswith("pyarrow.lib.") and name.endswith("Array"):
        # Arrow has a class for each type of array.
        return "arrow"
    return _BUILTIN_TYPES.get(name) or _later_types.get(name)
