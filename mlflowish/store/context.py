"""What goes on around a call: the run that is active, and who wants to hear of calls.

Context variables, so that threads and tasks each see their own. Tracking sets them; steps read them: a floor between
the two, so that neither needs the other.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

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


Around = Callable[[], AbstractContextManager[Any]]
"""Gives the block in which a call runs elsewhere. Picklable."""

_carriers: list[Callable[[], Around | None]] = []


def register_carrier(carrier: Callable[[], Around | None]) -> None:
    """Have something of what goes on around a call go with it to other processes.

    `carrier()` is asked where the call is submitted, and gives what makes the same surroundings where it runs, or None
    if there is nothing to carry.
    """
    _carriers.append(carrier)


def carried() -> tuple[Around, ...]:
    """What goes on around a call that is submitted here and now, for another process."""
    return tuple(around for carrier in _carriers if (around := carrier()) is not None)


shippers: list[Callable[[], None]] = []
"""Each puts where others can see it what calls that came from other processes have logged here."""
