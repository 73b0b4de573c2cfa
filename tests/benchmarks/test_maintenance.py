"""Checking and collecting a whole store, beside diskcache's own check and eviction. Nothing fails because of a time."""

from __future__ import annotations

import os
import time

import pytest

import mlflowish as mf
from mlflowish.store import Entry, Meta

SIZE = 2_000
_META = Meta("bench.step", "ab" * 16, (("x", "cd" * 16, "3"),), "ef" * 16, "bytes of length 2000", 0.5).packed()


def fill(store, entries, objects):
    """`entries` results of one step; every tenth or so has an object of its own."""
    with store:
        store.create()
        for number in range(entries):
            refs = (store.objects.put(number.to_bytes(8, "big") + bytes(SIZE)),) if number < objects else ()
            key, head = os.urandom(16), b"" if refs else bytes(200)
            entry = Entry(key, os.urandom(16), time.time() - 7200, "plain", head, refs, packed_meta=_META)
            store.add_entry(entry, step="bench.step")
        store.compact()


def timed(function):
    start = time.perf_counter()
    result = function()
    return result, time.perf_counter() - start


@pytest.mark.timeout(1200)
def test_check_and_collect(tmp_path, figures, full):
    entries, objects = (100_000, 10_000) if full else (1_000, 100)
    store = mf.Store(tmp_path / "store", fsync="never")
    fill(store, entries, objects)
    group = f"{entries:,} entries, {objects:,} objects"
    report, seconds = timed(lambda: mf.fsck(store))
    assert report.findings == ()
    figures.add(f"check: {group}", "mlflowish", seconds)
    figures.add(f"quick check: {group}", "mlflowish", timed(lambda: mf.fsck(store, quick=True))[1])
    figures.add(f"du: {group}", "mlflowish", timed(lambda: mf.du(store))[1])
    figures.add(f"nothing to collect: {group}", "mlflowish", timed(lambda: mf.gc(store, dry_run=False, grace=0))[1])
    policy = {"keep_last": entries // 2, "grace": 0}
    report, seconds = timed(lambda: mf.gc(store, dry_run=False, **policy))
    assert report.evicted.count == entries - entries // 2
    figures.add(f"let half go: {group}", "mlflowish", seconds)
    assert mf.fsck(store).findings == ()
    store.close()
    _diskcache(tmp_path, figures, group, entries, objects)


def _diskcache(tmp_path, figures, group, entries, objects):
    import diskcache

    cache = diskcache.Cache(str(tmp_path / "diskcache"), size_limit=1 << 40, disk_min_file_size=SIZE, cull_limit=0)
    with cache.transact():
        for number in range(entries):
            value = number.to_bytes(8, "big") + bytes(SIZE if number < objects else 200)
            cache.set(os.urandom(16), value, tag=number % 2)
    figures.add(f"check: {group}", "diskcache (reads no value)", timed(cache.check)[1])
    figures.add(f"let half go: {group}", "diskcache (by tag)", timed(lambda: cache.evict(0))[1])
    cache.close()
