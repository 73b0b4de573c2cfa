"""The way up and the way down through many calls, beside reading all of them. Nothing fails because of a time."""

from __future__ import annotations

import os
import time

import pytest

import mlflowish as mf
from mlflowish.lineage.calls import Calls
from mlflowish.store import Entry, Meta

WIDE = 100  # calls of one layer; each takes the results of two of the layer before


def fill(store, calls):
    for number in range(calls):
        layer, place = divmod(number, WIDE)
        before = [(layer - 1) * WIDE + other for other in (place, (place * 7 + 3) % WIDE)] if layer else []
        meta = Meta(
            f"bench.step{layer % 10}",
            "ab" * 16,
            (("a", f"{number:032x}", "ndarray float64 (10,)"), ("n", "cd" * 16, "3")),
            f"{calls + number:032x}",
            "ndarray float64 (10,)",
            0.5,
            sources=tuple(("a", "", key(source).hex()) for source in before),
        )
        store.add_uses(key(number), meta)
        entry = Entry(key(number), os.urandom(16), 1e9 + number, "plain", bytes(100), packed_meta=meta.packed())
        store.add_entry(entry, step=meta.step)
    store.compact()


def key(number):
    return number.to_bytes(16, "big")


def timed(function):
    start = time.perf_counter()
    result = function()
    return result, time.perf_counter() - start


@pytest.mark.timeout(1200)
def test_a_lineage_query_is_a_few_look_ups(tmp_path, figures, full):
    calls = 100_000 if full else 2_000
    store = mf.Store(tmp_path / "store")
    fill(store, calls)
    store.close()
    mf.lineage.of(key(0).hex(), store=store, depth=0).downstream(depth=1)  # what it needs is loaded, the store is open
    group = f"lineage over {calls:,} calls"
    up, seconds = timed(lambda: mf.lineage.of(key(calls // 2).hex(), store=store, depth=5))
    figures.add(f"{group}: {len(up)} calls upstream", "mlflowish", seconds)
    last = mf.lineage.of(key(calls - 5 * WIDE).hex(), store=store, depth=0)
    down, seconds = timed(last.downstream)
    figures.add(f"{group}: {len(down)} calls downstream", "mlflowish", seconds)
    assert not up.truncated
    assert not down.truncated
    assert min(len(up), len(down)) > 5
    index, seconds = timed(lambda: Calls(store).index())
    figures.add(f"{group}: {len(down)} calls downstream", "reading every call", seconds)
    assert len(index.by_key) == calls
    store.close()
