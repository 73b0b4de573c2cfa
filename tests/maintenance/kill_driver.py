"""Runs a collection or a repair again and again in forked children, each killed at another storage call.

`python kill_driver.py SCENARIO FOLDER EVERY`: kills at every EVERYth call, before and after it; ends with an error at
the first store in which something good is gone, or which the next run does not bring in order.
"""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

from damages import DAMAGES
from run_worlds import check_gone, check_staying, fill_runs, ids_of_going, retain_runs
from worlds import LARGE, check_values, fill, kept, ramp, shared, small

import mlflowish as mf
from mlflowish.testing.faults import At, Fault, FaultyStorage

# Each child would import them again, which takes ten times as long as the work that is killed.
for name in ("cloudpickle", "pyarrow.compute", "mlflowish.maintenance", "mlflowish.tracking.table.building"):
    importlib.import_module(name)
KEPT = {"gc": 7, "repair": 8}  # results that are there before, and stay


def prepare(root: Path, scenario: str) -> None:
    with mf.Store(root) as store:
        fill_runs(store) if scenario == "retain" else fill(store)
        if scenario == "gc":
            ramp.forget(LARGE), ramp.forget(LARGE + 3), small.forget(4)
            shared.forget("a", LARGE)
    store.close()
    if scenario == "repair":
        wanted = ("object flipped", "journal flipped", "segment frame flipped", "lease that is none", "left over")
        for damage in DAMAGES:
            if damage.name in wanted:
                damage.do(root)


def work(store: mf.Store, scenario: str) -> None:
    if scenario == "retain":
        retain_runs(store)
    elif scenario == "gc":
        mf.gc(store, dry_run=False, grace=0)
    else:
        mf.fsck(store, repair=True)


def killed(root: Path, scenario: str, number: int, fault: Fault) -> None:
    store = mf.Store(root)
    store.storage = store.objects.storage = FaultyStorage(store.storage, At(number, fault))
    work(store, scenario)


def check(root: Path, scenario: str) -> None:
    """What was readable is, before and after the work is done again; then nothing is left to do."""
    if scenario == "retain":
        check_retained(root)
        return
    warnings.simplefilter("ignore", mf.UncachedWarning)
    # A damaged object is noticed when it is loaded, which `kept` does not do.
    assert kept(mf.Store(root)) - KEPT[scenario] in ((0, 1) if scenario == "repair" else (0,)), kept(mf.Store(root))
    store = mf.Store(root)
    work(store, scenario)
    assert kept(store) == KEPT[scenario], kept(store)
    assert mf.du(store).unreached_count == 0 or scenario == "repair"
    codes = {finding.code for finding in mf.fsck(store).findings}
    assert codes <= {"quarantine"} | ({"journal-torn"} if scenario == "gc" else set()), codes
    check_values(store)
    store.close()


def check_retained(root: Path) -> None:
    gone = ids_of_going(mf.Store(root))
    check_staying(mf.Store(root))
    assert {finding.code for finding in mf.fsck(mf.Store(root)).findings if finding.severity == "error"} == set()
    store = mf.Store(root)
    work(store, "retain")
    check_staying(store)
    check_gone(store, gone)
    codes = {finding.code for finding in mf.fsck(store).findings}
    assert codes <= {"journal-torn"}, codes
    store.close()


def in_a_child(action: Callable[[], None]) -> int:
    child = os.fork()
    if not child:
        code = 1
        try:
            action()
            code = 0
        finally:
            if code:
                traceback.print_exc()
            os._exit(code)
    return os.waitpid(child, 0)[1]


def main(scenario: str, folder: str, every: str) -> None:
    # The parent never opens a store: it only forks, and copies what the first child has made.
    template, points = Path(folder) / "template", 0
    assert in_a_child(lambda: prepare(template, scenario)) == 0
    for fault in (Fault.KILL_BEFORE, Fault.KILL_AFTER):
        number, was_killed = 1, True
        while was_killed:
            root = Path(folder) / "store"
            shutil.copytree(template, root, symlinks=True)
            status = in_a_child(lambda r=root, n=number, f=fault: killed(r, scenario, n, f))
            was_killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
            assert was_killed or status == 0, status
            assert in_a_child(lambda r=root: check(r, scenario)) == 0, (scenario, number, fault)
            shutil.rmtree(root)
            number, points = number + int(every), points + 1
    print(f"{points} points")
    assert points > 4


if __name__ == "__main__":
    main(*sys.argv[1:])
