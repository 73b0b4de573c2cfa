"""The table of runs: what searches read instead of folding every run from its records. An index, made from the journals
and true to them, or not used. `docs/format-runtable.md` specifies its files.

Read in this order: `columns` (runs as sparse columns), `plain` and `builder` (runs into columns), `part` (columns in a
file), `manifest` (which parts there are, and what they cover), `coverage` (of which runs they say nothing true),
`building` (parts from records), `folded` (runs beside the table), `keeping` (all of it, as of now), then `matching`,
`ordering` and `chosen` for a search, `finding` for names and ids. Needs numpy; `few`, for stores of fewer runs, does
not.
"""

from __future__ import annotations

from importlib.util import find_spec

from mlflowish.store import Store
from mlflowish.tracking.records import RUNS

# So many runs are folded, at about 0.1 ms each, rather than put into the table.
FOLDED_RUNS = 1_000


def pays(store: Store) -> bool:
    """Are there so many runs that the table is worth its while? Without numpy there is none."""
    return not are_few(store) and find_spec("numpy") is not None


def are_few(store: Store) -> bool:
    """Are there so few runs that all of them may be kept in memory?"""
    return store.journals(RUNS).record_count() < FOLDED_RUNS
