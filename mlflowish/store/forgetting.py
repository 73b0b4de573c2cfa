"""Of which steps results were forgotten: what was concluded from many results at once is checked against this.

One record for each time, kind `forgotten`: the epoch of a step changes whenever any of its results is removed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from blake3 import blake3

from mlflowish.store.entries import step_tag

if TYPE_CHECKING:
    from mlflowish.store.store import Store

KIND = "forgotten"


def note(store: Store, tag: bytes) -> None:
    """Results of the step with that tag are about to be removed, or have been. Before they are: who sees them gone sees
    this. And after it: what was concluded in between, from what was still there, is of an epoch that has passed."""
    store.journals(KIND).append(tag.ljust(16, b"\0"), os.urandom(16))


def epoch(store: Store, step: str) -> bytes:
    """Changes whenever results of the step are removed."""
    noted = store.journals(KIND).get(step_tag(step).ljust(16, b"\0"))
    return bytes(blake3(b"".join(sorted(set(noted)))).digest(length=16)) if noted else b""
