"""A process that stores, forgets and reads back results which share their large objects with those of others.

`python busy_writer.py STORE SEED SECONDS MET`: says "ready", waits for a line, goes on for so long, for ten calls at
least, and until there is a file MET; ends with an error at the first wrong value, warning or lost result.
"""

from __future__ import annotations

import os
import random
import sys
import time
import warnings
from typing import Any

import numpy as np

import mlflowish as mf


@mf.step
def flat(mine: str, n: int) -> Any:
    return np.ones(n)


@mf.step
def pair(mine: str, n: int) -> Any:
    return {"a": np.ones(n), "b": np.arange(n, dtype=np.float64), "who": mine}


@mf.step
def pieces(mine: str, n: int) -> Any:
    for k in range(3):
        yield np.full(n, float(k))


def right(name: str, value: Any, n: int) -> bool:
    if name == "flat":
        return bool((value == 1).all()) and value.shape == (n,)
    if name == "pair":
        return bool((value["a"] == 1).all() and (value["b"] == np.arange(n)).all())
    return [(float(item[0]), item.shape) for item in value] == [(0.0, (n,)), (1.0, (n,)), (2.0, (n,))]


def main(url: str, seed: str, seconds: str, met: str) -> None:
    warnings.simplefilter("error")
    print("ready", flush=True)
    sys.stdin.readline()
    chance, end_s, done = random.Random(seed), time.monotonic() + float(seconds), 0
    sizes = [
        33_000 + int(seed) // 2,
        34_000 + int(seed) // 2,
    ]  # shared with one other process, so that they come and go
    steps = {"flat": flat, "pair": pair, "pieces": pieces}
    live: set[tuple[str, int]] = set()
    with mf.Store(url) as store:
        while time.monotonic() < end_s or done < 10 or not os.path.exists(met):
            name, n = chance.choice(list(steps)), chance.choice(sizes)
            step = steps[name]
            if chance.random() < 0.5:
                step.forget(seed, n)
                live.discard((name, n))
                continue
            call = step.call(seed, n)
            assert right(name, call.value, n), (name, n)
            assert call.hit == ((name, n) in live), ("lost" if not call.hit else "back", name, n)
            live.add((name, n))
            done += 1
        for name, n in live:
            call = steps[name].call(seed, n)
            assert call.hit, ("lost at the end", name, n)
            assert right(name, call.value, n)
    store.close()
    print(done)


if __name__ == "__main__":
    main(*sys.argv[1:])
