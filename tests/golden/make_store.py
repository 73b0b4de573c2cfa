"""Writes a golden store: `python tests/golden/make_store.py FOLDER`. Run once for each version of the format, by hand;
what it wrote is committed and never written again."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import types
from pathlib import Path

# Nothing of the machine that wrote it belongs into it.
socket.gethostname = lambda: "golden"
os.uname = lambda: types.SimpleNamespace(sysname="Linux", nodename="golden", release="", version="", machine="x86_64")  # type: ignore[assignment, return-value]
os.environ |= {"LOGNAME": "golden", "USER": "golden"}
os.environ |= {f"MLFLOWISH_{switch}": "0" for switch in ("CONSOLE", "HARDWARE", "SOURCE", "ENVIRONMENT")}

import golden_steps as steps  # noqa: E402

import mlflowish as mf  # noqa: E402

COMMITS = 70


def main(folder: str) -> None:
    store = mf.Store(folder)
    with store:
        for n in range(30):
            steps.small(n)
        steps.large(300), steps.large(310)
        steps.small.forget(29), steps.large.forget(310)
        mf.gc(store, dry_run=False, grace=0)
        steps.nested(300)
        assert len(list(steps.chunks(2))) == 2
        with contextlib.suppress(ValueError):
            steps.fails(1)
        steps.small(30, label="ü")
        with mf.start_run(name="golden", experiment="golden") as run:
            mf.log_params({"lr": 0.1, "layers": 3})
            for step in range(5):
                mf.log_metric("loss", 1 / (step + 1), step=step)
            mf.set_tag("team", "x")
            mf.log_text("a note", "note.txt")
            steps.small(31)
        for number in range(COMMITS):
            store.transact(lambda tx, n=number: tx.put(f"numbers/{n % 10}", {"n": n}), comment=f"number {number}")
        model = store.objects.put(b"model" * 1000)
        value = {"refs": [[model.name, model.size_bytes]], "stage": "production", "run": run.run_id}
        store.transact(lambda tx: tx.put("shelf/churn/1", value), id="golden")
        store.transact(lambda tx: tx.delete("numbers/9"))
    store.close()
    (Path(folder) / ".gitignore").unlink()
    print(run.run_id)


if __name__ == "__main__":
    main(*sys.argv[1:])
