"""The golden spool file, and the journal records that moving it makes: run as a script, it writes both anew.

Whoever has to do that changes the format: it takes a new version, and the old files stay readable.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

from mlflowish.tracking.spool import (
    CALL,
    EVENT,
    LINE,
    OPEN,
    SERIES,
    Spooled,
    new_header,
    pack_point,
    pack_record,
)

GOLDEN = Path(__file__).parent / "golden"
RUN, OTHER = bytes(range(16)), b"\xff" * 16
T = 1_700_000_000_000_000


def spool_bytes() -> bytes:
    """A spool file with a record of every kind, and two runs."""
    header = new_header(b"w" * 16, 3, b"m" * 16)
    check = header.check_start
    parts = [
        header.packed(),
        pack_record(check, OPEN, (RUN,)),
        pack_record(check, EVENT, (RUN, "start", T, {"name": "golden", "experiment": "e", "user": "u"})),
        pack_record(check, EVENT, (RUN, "params", T + 1, {"values": {"lr": "0.1"}})),
        pack_record(check, EVENT, (RUN, "artifact", T + 2, {"path": "a", "ref": ("ab" * 32, 3), "type": ""})),
        pack_record(check, SERIES, (RUN, 65, 0, "loss")),
        pack_record(check, SERIES, (OTHER, 0, 1, "ünï")),
        pack_point(check, 0, 0, T + 3, 0.5),
        pack_point(check, 1, -1, T + 4, math.nan),
        pack_point(check, 0, 1, T + 5, -math.inf),
        pack_record(check, LINE, (RUN, T + 6, "stdout", "hello\n")),
        pack_record(check, CALL, (RUN, T + 7, "cd" * 16, "lib.f", True, 0.25, None, "computed")),
    ]
    return b"".join(parts)


def records(data: bytes) -> list[dict[str, str]]:
    """What moving it appends."""
    spooled = Spooled("golden")
    spooled.feed(data)
    return [{"kind": kind, "key": key.hex(), "payload": payload.hex()} for kind, key, payload in spooled.records()]


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    (GOLDEN / "spool-1.log").write_bytes(spool_bytes())
    (GOLDEN / "records-1.json").write_text(json.dumps(records(spool_bytes()), indent=1) + "\n")
