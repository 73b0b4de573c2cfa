"""A fresh process that measures one thing and prints it as JSON: `python fresh.py <measure> <folder> [arguments]`."""

from __future__ import annotations

import json
import os
import pathlib
import statistics
import sys
import time


def first_hit(folder, peer, a, b):
    """Seconds from the bare interpreter to the first result, and of the first and of a later call alone."""
    start = time.perf_counter()
    import workloads

    function = workloads.cached_by(peer, folder, workloads.small)
    ready = time.perf_counter()
    value = function(int(a), int(b))
    first = time.perf_counter()
    assert value == workloads.small(int(a), int(b))
    for _ in range(200):
        function(int(a), int(b))
    later = (time.perf_counter() - first) / 200
    return {"total": first - start, "first": first - ready, "later": later}


def opened_and_hit(folder, a, b):
    """Seconds to open a store and read one result from it, imports and the walk through the code done before."""
    import workloads

    import mlflowish as mf

    step = mf.step(workloads.small)
    with mf.Store(f"memory://{os.getpid()}"):
        step(int(a), int(b))
    start = time.perf_counter()
    with mf.Store(folder) as store:
        call = step.call(int(a), int(b))
    seconds = time.perf_counter() - start
    assert call.hit
    assert store.url
    return {"seconds": seconds}


def stored(folder, megabytes):
    """Median seconds to store an array that is there already, and until it is flushed; the same of its raw bytes, in
    turn with it; and how far memory rose at its peak."""
    import workloads

    import mlflowish as mf
    from mlflowish.storage.settling import wait_until_settled

    step = mf.step(store=mf.Store(folder), ignore="array")(given)
    step(0, workloads.ramp(1, 0))
    array = workloads.ramp(int(megabytes), 1)
    rounds = 5 if array.nbytes > 500e6 else 1
    raw_s, flushed_s, seconds, settled_s, added = [], [], [], [], []
    for number in range(rounds):
        written, flushed = _raw_write(folder.parent / "raw.bin", array)
        raw_s.append(written)
        flushed_s.append(flushed)
        array[0] = number  # another object
        before = _reset_peak()
        start = time.perf_counter()
        step(rounds - number, array)
        seconds.append(time.perf_counter() - start)
        wait_until_settled()
        settled_s.append(time.perf_counter() - start)
        added.append(_peak() - before)
    return {
        "seconds": statistics.median(seconds),
        "settled": statistics.median(settled_s),
        "added": max(added),
        "raw": statistics.median(raw_s),
        "flushed": statistics.median(flushed_s),
        "ratio": statistics.median(a / b for a, b in zip(seconds, raw_s, strict=True)),
        "flushed_ratio": statistics.median(a / b for a, b in zip(settled_s, flushed_s, strict=True)),
    }


def loaded(folder, megabytes):
    """Seconds for the first hit on that array, for another, and for touching it all; how far memory rose."""
    import mlflowish as mf

    step = mf.step(store=mf.Store(folder), ignore="array")(given)
    step(0, None)
    before = _reset_peak()
    start = time.perf_counter()
    call = step.call(1, None)
    first = time.perf_counter() - start
    start = time.perf_counter()
    array = step(1, None)
    later = time.perf_counter() - start
    added = _peak() - before
    start = time.perf_counter()
    total = float(array.sum())
    touched = time.perf_counter() - start
    assert call.hit
    assert total > 0
    assert len(array) == int(megabytes) * 125_000
    return {"first": first, "later": later, "added": added, "touched": touched}


def given(number, array):
    """An array that was made before: the step itself costs nothing."""
    return array


def imported(_folder):
    """Seconds of `import mlflowish` and of reaching `mf.step`, and how many modules they bring."""
    before = len(sys.modules)
    start = time.perf_counter()
    import mlflowish as mf

    package = time.perf_counter() - start
    modules = len(sys.modules) - before
    assert mf.step
    step = time.perf_counter() - start
    return {"package": package, "modules": modules, "step": step, "step_modules": len(sys.modules) - before}


def _raw_write(path, array):
    import numpy as np

    data = memoryview(array.view(np.uint8))
    start = time.perf_counter()
    with open(path, "wb", buffering=0) as file:
        for at in range(0, len(data), 4 << 20):
            file.write(data[at : at + (4 << 20)])
        written = time.perf_counter() - start
        os.fsync(file.fileno())
        flushed = time.perf_counter() - start
    path.unlink()
    return written, flushed


def _reset_peak():
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _peak():
    return _status("VmHWM")


def _status(field):
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise LookupError(field)


if __name__ == "__main__":
    measure, place, *arguments = sys.argv[1:]
    print(json.dumps(globals()[measure](pathlib.Path(place), *arguments)))
