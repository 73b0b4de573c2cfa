"""What goes on around a call: the run that is active, and who wants to hear of calls.

Context variables, so that threads and tasks each see their own. Tracking sets them; steps read them: a floor between
the two, so that neither needs the other.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass

active_run_id: ContextVar[str | None] = ContextVar("mlflowish_run_id", default=None)
"""The id of the run that calls made now belong to; None outside a run."""


@dataclass(frozen=True, slots=True)
class CallNote:
    """One call of a step as it ended, for whoever listens.

    `key`: 32 hex digits, None if the call could not be keyed. `hit`: read back instead of computed. `duration_s`: how
    long the function ran when it was computed, now or then. `output`: value digest of the result, 32 hex digits, None
    if it has none. `status`: computed (also of a hit), uncached or failed.
    """

    key: str | None
    step: str
    hit: bool
    duration_s: float
    output: str | None
    status: str = "computed"


on_call: ContextVar[Callable[[CallNote], None] | None] = ContextVar("mlflowish_on_call", default=None)
"""Told of every call of a step that ends, in the caller's thread, before the value is returned. Keep it fast: what it
raises is logged and changes nothing for the caller."""
