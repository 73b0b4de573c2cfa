"""Results of a map over units in the store, as the result of a step: each result as other codecs store it.

Files and folders among the values of the units are named and not kept: they are what the map read, and the user's. Put
back like the files of a result, they would undo what the user did to them since.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlflowish.codecs.base import Encoded, PartReader
from mlflowish.codecs.refusals import damaged
from mlflowish.store import Dir, File
from mlflowish.units.inner import decoded, encoded
from mlflowish.units.results import Results
from mlflowish.units.unit import Unit

_PATHS: dict[type, str] = {File: "file", Dir: "dir"}
_KINDS = {name: kind for kind, name in _PATHS.items()}
_HOLDERS = {"list": list, "tuple": tuple}


class ResultsCodec:
    """The results, and names, values, keys and sizes of the units."""

    name = "results"
    executes_code = False

    def encode(self, value: Results, *, inline_limit: int) -> Encoded:
        units = [(unit.name, _named(unit.values), dict(unit.keys), unit.size_bytes) for unit in value.units]
        return encoded(self.name, (units, list(value)), inline_limit=inline_limit)

    def decode(self, head: bytes, parts: Sequence[PartReader], *, allow_pickle: bool) -> Results:
        found = decoded(self.name, head, parts, allow_pickle=allow_pickle)
        try:
            rows, results = found
            units = [Unit(name, _unnamed(values), keys, size_bytes) for name, values, keys, size_bytes in rows]
        except (TypeError, ValueError, KeyError):
            raise damaged(self.name, "it holds something else than results of units") from None
        if len(units) != len(results):
            raise damaged(self.name, f"it holds {len(results)} results of {len(units)} units")
        return Results(results, units)


def _named(value: Any) -> tuple[str, Any]:
    """The value with the paths of files and folders in their place, also inside lists and tuples."""
    kind = type(value)
    if kind in _PATHS:
        return _PATHS[kind], value.path  # its storage options may be credentials
    if kind in (list, tuple):
        return kind.__name__, [_named(member) for member in value]
    return "value", value


def _unnamed(named: Any) -> Any:
    kind, value = named
    if kind in _KINDS:
        return _KINDS[kind](value)
    return _HOLDERS[kind](map(_unnamed, value)) if kind in _HOLDERS else value
