"""A storage that is as quick as memory, and is treated as if it were far away."""

from __future__ import annotations

from mlflowish.storage import Capabilities, MemoryStorage


class FarStorage(MemoryStorage):
    """Memory that says of itself what a bucket says: a read costs a round trip, a failed write may arrive later."""

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(append=False)
