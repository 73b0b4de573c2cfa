"""The golden table: three runs in a segment, and the table of them. Run as a script, it writes both anew.

Whoever has to do that changes the format: it takes a new version, and the old files stay readable.
"""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import mlflowish as mf
from mlflowish.journals.compaction import merge
from mlflowish.tracking.records import RUNS, Batch, Event, Last, pack_batch
from mlflowish.tracking.table import keeping

GOLDEN = Path(__file__).parent / "golden" / "table-1"
T = 1_700_000_000_000_000
FAR = {"host": "elsewhere", "machine": "m", "boot": "b", "namespace": "n", "pid": 1, "started": "1"}


def records() -> list[tuple[bytes, bytes]]:
    """A finished run with a value of every sort, a deleted one that is open, and what is no run yet."""
    finished = (
        Event("session", T, {"session": b"s" * 8, "process": FAR}),
        Event("start", T, {"name": "one", "experiment": "e", "user": "u", "parent": "cd" * 16}),
        Event("params", T + 1, {"values": {"lr": "0.1", "ünï": "\ud800"}}),
        Event("tags", T + 2, {"values": {"team": "x", "mlflow.runName": "renamed"}}),
        Event("input", T + 3, {"name": "d", "digest": "1", "context": None}),
        Event("input", T + 4, {"name": "f", "digest": "2", "context": "training"}),
        Event("end", T + 5_000_000, {"session": b"s" * 8, "status": "FINISHED", "reason": ""}),
    )
    opened = (
        Event("session", T, {"session": b"t" * 8, "process": FAR}),
        Event("start", T + 9, {"name": "two", "experiment": "a", "user": ""}),
        Event("life", T + 10, {"deleted": True}),
    )
    lasts = {"loss": Last(1, T, math.nan), "acc": Last(2, T, -math.inf), "system/cpu": Last(0, T, 0.5)}
    batches = [
        (b"\x01" + bytes(15), Batch(b"w" * 16, 0, finished, lasts)),
        (b"\x02" + bytes(15), Batch(b"w" * 16, 1, opened, {"loss": Last(0, T, 0.25)})),
        (b"\x02" + bytes(15), Batch(b"w" * 16, 2, (), {"loss": Last(1, T, 0.125)})),
        (b"\x03" + bytes(15), Batch(b"w" * 16, 3, (Event("tags", T, {"values": {"a": "b"}}),))),
    ]
    return [(key, pack_batch(batch)) for key, batch in batches]


def write(folder: Path) -> None:
    """The segment and the table."""
    store = mf.Store(folder)
    store.create()
    merge(store.storage, RUNS, [iter(sorted(key + payload for key, payload in records()))], names=["golden"])
    keeping.FOLDED_RUNS = 1
    keeping.keeper_of(store).shown(store)
    store.close()


if __name__ == "__main__":
    shutil.rmtree(GOLDEN, ignore_errors=True)
    write(GOLDEN)
    (GOLDEN / ".gitignore").unlink()
    shutil.rmtree(GOLDEN / "tmp", ignore_errors=True)
