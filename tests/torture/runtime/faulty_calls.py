"""Calls against a storage that fails at a chosen storage call, or kills the process there. Run as a process."""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import sys
import traceback
import warnings
from pathlib import Path

import runtime_steps as steps

import mlflowish as mf
from mlflowish.storage import ObjectStore
from mlflowish.testing.faults import At, Fault, FaultyStorage, NoFaults

EARLIER = (("inline", 0), ("array", 0), ("pickled", 0))
# What is tested is the death of processes, which the kernel's cache survives: no need to wait for disks each time.
os.fsync = os.fdatasync = lambda fd: None
expected = functools.cache(steps.expected)


def faulty_store(root, plan):
    """A store whose every storage call goes by the plan."""
    store = mf.Store(root)
    store.storage = FaultyStorage(store.storage, plan)
    store.objects = ObjectStore(store.storage, verify="sealed")
    return store


def seeded(root, folder):
    """A store with results in segments, in a finished journal, and a forgotten one; the calls that hit in it."""
    with mf.Store(root) as store:
        for kind, x in EARLIER:
            steps.computed(kind, x, folder)
        steps.computed("inline", -1, folder)
        store.compact()
        for number in range(1, 4):
            store.close()
            steps.computed("inline", number * 10, folder)
            steps.computed("tree", number * 10, folder)
        steps.inline.forget(-1)
    store.close()
    return [*EARLIER, *(("inline", number * 10) for number in range(1, 4)), *(("tree", n * 10) for n in range(1, 4))]


def in_child(work):
    """What a forked child wrote, and the signal that ended it (0: it came to its end)."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        code = 1
        try:
            work(lambda text: os.write(writer, text.encode()))
            code = 0
        except BaseException:  # noqa: BLE001  whatever it is goes to the parent, as the exit code and on its screen
            traceback.print_exc()
        os._exit(code)
    os.close(writer)
    with os.fdopen(reader) as answers:
        told = answers.read()
    status = os.waitpid(child, 0)[1]
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise RuntimeError("the child raised: see above")
    return told, os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def kills(base, kind, name):
    """Kill a miss, and the compaction after it, at each of its storage calls; what was wrong afterwards."""
    folder = Path(base)
    hits = seeded(folder / "pristine", folder)
    wrong, number, died = [], 0, signal.SIGKILL
    while died:
        number += 1
        root = folder / "store"
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(folder / "pristine", root)
        work = (compaction if kind == "compaction" else miss)(root, folder, kind, At(number, Fault(name)))
        told, died = in_child(work)
        acknowledged = [(kind, 1)] if "right" in told else []
        wrong += [f"at call {number}: {what}" for what in check(root, folder, [*hits, *acknowledged], kind)]
    return {"wrong": wrong, "calls": number}


def miss(root, folder, kind, plan):
    def work(tell):
        with faulty_store(root, plan) as store:
            if steps.shown(steps.computed(kind, 1, folder).value) == expected(kind, 1, folder):
                tell("right")
            store.compact()

    return work


def compaction(root, folder, kind, plan):
    def work(tell):
        with faulty_store(root, plan) as store:
            store.compact()

    return work


def check(root, folder, hits, kind):
    """What is wrong with a store that somebody died in: what was acknowledged hits, what was under way is right."""
    with mf.Store(root) as store:
        for round_name in ("reopened", "compacted"):
            for known, x in hits:
                call = steps.computed(known, x, folder)
                if not call.hit or steps.shown(call.value) != expected(known, x, folder):
                    yield f"{round_name}: {known}({x}) is {'wrong' if call.hit else 'gone'}"
            if steps.inline.is_cached(-1):
                yield f"{round_name}: what was forgotten is back"
            if kind != "compaction":
                if steps.shown(steps.computed(kind, 1, folder).value) != expected(kind, 1, folder):
                    yield f"{round_name}: {kind}(1) is wrong"
                if not steps.computed(kind, 1, folder).hit:
                    yield f"{round_name}: {kind}(1) is not stored"
            store.compact()
            store.close()


def faults(base, kind, name):
    """One fault at each storage call of a miss and of the hits after it; what was wrong with values or later calls."""
    folder, wrong, number = Path(base), [], 0
    root = folder / "store"
    total = 1
    while number <= total:
        number += 1
        shutil.rmtree(root, ignore_errors=True)
        with mf.Store(root):
            steps.inline(0)
        with faulty_store(root, At(number, Fault(name))) as store, warnings.catch_warnings():
            warnings.simplefilter("ignore", mf.UncachedWarning)
            for attempt in ("first", "second", "third"):
                try:
                    if steps.shown(steps.computed(kind, 1, folder).value) != expected(kind, 1, folder):
                        wrong.append(f"{number} {attempt}: wrong value")
                    if steps.inline(0) != steps.inline.fn(0):
                        wrong.append(f"{number} {attempt}: wrong earlier value")
                except mf.MlflowishError as error:
                    wrong.append(f"{number} {attempt}: raised {error}")
            total = max(total, len(store.storage.calls))
            where = str(store.storage.calls[number - 1]) if number <= len(store.storage.calls) else "none"
            store.storage.plan = NoFaults()
            store.close()
        with mf.Store(root) as store:
            if not steps.inline.call(0).hit:
                wrong.append(f"{where}: an earlier result is gone")
            if (
                steps.shown(steps.computed(kind, 1, folder).value) != expected(kind, 1, folder)
                or not steps.computed(kind, 1, folder).hit
            ):
                wrong.append(f"{where}: the result is wrong or cannot be stored later")
            store.compact()
            if not steps.inline.call(0).hit or not steps.computed(kind, 1, folder).hit:
                wrong.append(f"{where}: a result is gone after compaction")
        store.close()
    return {"wrong": wrong, "calls": total}


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    print(json.dumps(globals()[what](*arguments)))
