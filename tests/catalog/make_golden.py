"""Writes a catalog of every kind of file, the same to the byte each time: `python make_golden.py FOLDER`.

What it made in format 1 is in `golden/`, and stays: every later version must read it.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import sys
import time

from mlflowish.catalog import Catalog, committing, history
from mlflowish.catalog.cleaning import clean
from mlflowish.storage import LocalStorage, ObjectStore


def main(folder: str) -> None:
    serial = itertools.count()
    os.urandom = lambda size: hashlib.shake_128(b"%d" % next(serial)).digest(size)
    clock = itertools.count(1_800_000_000)
    time.time = lambda: float(next(clock))
    for module in (committing, history):  # how often they look at a clock is no matter of the format
        module.clocks = lambda: (0.0, 0.0)
        module.is_recent = lambda then: True
    storage = LocalStorage(folder, fsync="never")
    catalog = Catalog(storage)
    catalog.writer = catalog.history.writer = "golden"
    ref = ObjectStore(storage).put(b"an object")
    catalog.transact(lambda tx: tx.put("m/first", {"refs": [[ref.name, ref.size_bytes]], "at": tx.now_s}))
    for number in range(140):
        catalog.transact(
            lambda tx, n=number: tx.put(f"k/{n % 30:02d}", [n, n / 3, "ä", None, True]), comment=f"{number}"
        )
        if number == 80:
            clean(catalog.history, keep_s=-1e12, keep_slots=0, untouched_s=-1e12)
            clock = itertools.count(1_800_000_254)  # nor is how often a cleaning does
    catalog.transact(lambda tx: tx.put("m/count", len([*tx.scan("k/")])), id="counted")
    catalog.transact(lambda tx: (tx.delete("k/00"), tx.put("long", "x" * 70_000))[1])
    catalog.doom(["0" * 64, f"{'1' * 64}.g1"])


if __name__ == "__main__":
    main(sys.argv[1])
