"""A process that stops itself (SIGSTOP) in the middle of what it is told to do on a catalog: one line of JSON each.

`python sleeping_worker.py STORAGE` with a pickled storage; it answers with what it saw. A minute is short here.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
from pathlib import Path

from mlflowish.catalog import Catalog, checkpoints, cleaning, floors, history
from mlflowish.errors import MlflowishError
from mlflowish.testing.faults import Call, Fault, FaultyStorage

MINUTE_S = 0.3
EVERY = 4  # slots of a checkpoint, instead of 64


def shorten() -> None:
    """Short groups of slots, short minutes: of this process, whichever that is."""
    for module in (checkpoints, history, cleaning):
        module.EVERY = EVERY  # type: ignore[attr-defined]  # imported there, not exported
    floors._TRUSTED_S = MINUTE_S


class Stop:
    """A plan: stop before a call of this sort."""

    def __init__(self) -> None:
        self.at: list[str] | None = None

    def __call__(self, call: Call) -> Fault | None:
        if self.at is not None and call.operation == self.at[0] and call.path.startswith(self.at[1]):
            self.at = None
            os.kill(os.getpid(), signal.SIGSTOP)
        return None


def main(path: Path) -> None:
    shorten()
    stop = Stop()
    catalog = Catalog(FaultyStorage(pickle.loads(path.read_bytes()), stop))
    for line in sys.stdin:
        act, stop.at = json.loads(line)
        try:
            if act == "read":
                answer = dict(catalog.snapshot().scan())
            elif act == "clean":
                answer = cleaning.clean(catalog.history, keep_s=-1.0, keep_slots=0, untouched_s=0.0).floor
            else:
                answer = catalog.transact(lambda tx: tx.put("mine", tx.get("mine", 0) + 1) or tx.get("mine"))
        except MlflowishError as error:
            answer = [type(error).__name__, error.message, error.data.get("outcome")]
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
