"""Random numbers that belong to the call: the global generators, seeded from the key, and put back afterwards."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def seeded(key: bytes) -> Iterator[None]:
    """Seed `random`, numpy's and torch's global generators from `key` for the length of the block.

    numpy is seeded whenever it is installed (the step may import it later), torch when it is loaded. Generators are
    global to the process: two
    seeded steps on two threads at once disturb each other.
    """
    import random

    seed = int.from_bytes(key[:8], "little")
    before = random.getstate()
    numpy, numpy_state = _numpy()
    torch: Any = sys.modules.get("torch")
    torch_state = torch.get_rng_state() if torch is not None else None
    random.seed(seed)
    if numpy is not None:
        numpy.random.seed(seed & 0xFFFFFFFF)
    if torch is not None:
        torch.manual_seed(seed >> 1)
    try:
        yield
    finally:
        random.setstate(before)
        if numpy is not None:
            numpy.random.set_state(numpy_state)
        if torch is not None:
            torch.set_rng_state(torch_state)


def _numpy() -> tuple[Any, Any]:
    try:
        import numpy as np
    except ImportError:
        return None, None
    return np, np.random.get_state()
