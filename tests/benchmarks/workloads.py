"""What the benchmarks of steps run: ordinary functions in a module, as users write them; and the peers of steps."""

from __future__ import annotations

import itertools
import os
import pathlib

SCALE = 3
counter = itertools.count()


def scaled(x):
    return SCALE * x


def small(a, b):
    """Two scalars in, a small dict out, with a helper and a global in reach, as most functions have."""
    return {"sum": scaled(a) + b, "product": a * b, "label": "small"}


def size_of(value):
    return len(value)


def ramp(megabytes, start):
    import numpy as np

    return np.arange(start, start + megabytes * 125_000, dtype=np.float64)


def compiled(folder):
    """An environment in which modules are compiled once, as an installed package is."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(pathlib.Path(folder).with_name("bytecode"))}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment


def cached_by(peer, folder, function):
    """`function`, cached by the peer of that name, in a folder."""
    if peer == "joblib":
        import joblib

        return joblib.Memory(folder / "joblib", verbose=0).cache(function)
    if peer == "diskcache":
        import diskcache

        return diskcache.Cache(str(folder / "diskcache"), size_limit=1 << 40).memoize()(function)
    import mlflowish as mf

    return mf.step(store=mf.Store(folder / "mlflowish"))(function)
