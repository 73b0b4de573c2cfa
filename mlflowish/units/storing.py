"""Units in the store, as the result of a step: those that are the same whenever they are listed, and no others."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from mlflowish.codecs.base import Encoded, PartReader
from mlflowish.codecs.refusals import damaged
from mlflowish.errors import UncacheableError
from mlflowish.units.inner import decoded, encoded
from mlflowish.units.sequence import Units
from mlflowish.units.unit import Listing, Unit


class UnitsCodec:
    """Units of what was in memory: their names, values, keys and sizes."""

    name = "units"
    executes_code = False

    def encode(self, value: Units, *, inline_limit: int) -> Encoded:
        if not value.is_fixed:
            raise UncacheableError(
                f"it holds the units {value!r}, which are listed anew each time that a step goes over them, and a "
                "stored listing would hide what is new. List in the body of the pipeline, step.map(mf.files(...)), or "
                "say @mf.step(cache=False): this step then runs each time, and what goes over its units is cached",
                path="result",
            )
        rows = [(unit.name, unit.values, dict(unit.keys), unit.size_bytes) for unit in value.listed().units]
        return encoded(self.name, rows, inline_limit=inline_limit)

    def decode(self, head: bytes, parts: Sequence[PartReader], *, allow_pickle: bool) -> Units:
        rows = decoded(self.name, head, parts, allow_pickle=allow_pickle)
        try:
            units = [Unit(name, tuple(values), keys, size_bytes) for name, values, keys, size_bytes in rows]
        except (TypeError, ValueError):
            raise damaged(self.name, "it holds something else than units") from None
        return fixed(units)


def fixed(units: Sequence[Unit]) -> Units:
    """Units that are these, whenever they are listed."""
    return Units(partial(Listing, units), "units of a step", is_fixed=True)
