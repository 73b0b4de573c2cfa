"""The record of one call of a step, for the caller."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a step: its value, and what is known about it.

    `hit`: read back instead of computed. `key`: 32 hex digits, None when the call could not be keyed. `inputs`:
    name -> value digest (empty on a call without a key). `output`: value digest of the result, None if it has none.
    `duration_s`: how long the function ran when it was computed, now or then. `run_id`: the run in which it was
    computed, now or then; None outside a run. `uncached_reason`: why the result is not in the store; None if it is.
    `parent`: the key of the step call inside which this one ran.
    """

    value: Any
    hit: bool
    key: str | None
    step: str
    inputs: dict[str, str] = field(default_factory=dict)
    output: str | None = None
    duration_s: float = 0.0
    run_id: str | None = None
    uncached_reason: str | None = None
    parent: str | None = None

    def __repr__(self) -> str:
        state = (
            "hit" if self.hit else "computed" if self.uncached_reason is None else f"uncached: {self.uncached_reason}"
        )
        key = f" {self.key[:12]}" if self.key else ""
        return f"Call({self.step}{key}, {state}, {self.duration_s:.3g} s)"

    def _repr_html_(self) -> str:
        from mlflowish.store.display import badge, card

        state = (
            badge("hit", "good") if self.hit else badge("computed" if not self.uncached_reason else "uncached", "new")
        )
        rows = [("key", self.key or "none"), ("computed in", f"{self.duration_s:.3g} s")]
        rows += [(f"input {name}", value) for name, value in self.inputs.items()]
        rows.append(("output", self.output or "no digest"))
        if self.uncached_reason:
            rows.append(("uncached", self.uncached_reason))
        return card(self.step, rows, body_html=state)
