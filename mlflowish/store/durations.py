"""How long steps took before: what an estimate of the time to come is made from."""

from __future__ import annotations

import time
from collections.abc import Collection
from itertools import islice

from mlflowish.errors import IntegrityError
from mlflowish.store import entries as records
from mlflowish.store.store import Store

_KEPT = 200  # durations of a step: more would not make a guess better
_SLICE = 200
_PAUSE_S = 0.002


def past_durations(store: Store, steps: Collection[str], *, within_s: float = 0.3) -> dict[str, list[float]]:
    """Durations in seconds of past calls of these steps that were computed, from what this process knows of the store.

    Looks for so long at most and asks no server: a sample, for guesses. Made for a thread in the background: it gives
    way to the others again and again.
    """
    wanted = {records.step_tag(name): name for name in steps}
    found: dict[str, list[float]] = {}
    end = time.monotonic() + within_s
    known = store.journals("calls").known()
    while wanted and time.monotonic() < end and (some := list(islice(known, _SLICE))):
        for key, payload in some:
            name = wanted.get(payload[1:9])
            if name is None or payload[:1] != records.ENTRY:
                continue
            try:
                durations = found.setdefault(name, [])
                durations.append(records.unpack_entry(key, payload).meta.duration_s)
            except IntegrityError:  # whoever needs this entry says so
                continue
            if len(durations) >= _KEPT:
                del wanted[payload[1:9]]
        time.sleep(_PAUSE_S)
    return {name: durations for name, durations in found.items() if durations}
