"""Runs cases, each in a process of its own: forked from an interpreter that has imported nothing of any case.

    python worker.py fingerprint|step JOBS.json RESULTS.json

A job is {"id", "folder", "files", "call", "store"}; a result has the digest, the repr of the plain result, and what
went wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import inspect
import json
import os
import pkgutil
import re
import shutil
import sys
import sysconfig
import traceback
import warnings
from itertools import groupby
from pathlib import Path
from typing import Any

# Loaded once, before the forks: each case then costs milliseconds.
_LOADED_BEFORE = ("typing", "decimal", "importlib.metadata")


def main() -> None:
    mode, jobs_file, results_file = sys.argv[1:]
    jobs = json.loads(Path(jobs_file).read_text())
    for name in _LOADED_BEFORE:
        importlib.import_module(name)
    package = "mlflowish.steps" if mode == "step" else "mlflowish.hashing"
    _load_package(importlib.import_module("mlflowish.hashing"))
    _load_package(importlib.import_module(package))
    results = {}
    # What needs no library first: forks of a small process are the fastest.
    for needs, group in groupby(sorted(jobs, key=lambda job: str(job["needs"])), key=lambda job: str(job["needs"])):
        alike = list(group)
        _warm_up(needs, alike[0], mode)
        for job in alike:
            results[job["id"]] = _in_fork(job, mode)
    Path(results_file).write_text(json.dumps(results))


def _warm_up(needs: str, job: dict[str, Any], mode: str) -> None:
    """Load what a job of this kind loads on its way, of Python and libraries, which each fork would load again."""
    from mlflowish.hashing.packages import version_of

    if needs:
        importlib.import_module(needs)
        version_of(needs)
    sysconfig.get_paths()
    rehearsal = {**job, "store": f"{job['store']}-rehearsal{os.getpid()}"}
    for name in _in_fork(rehearsal, mode).get("loaded", ()):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.freeze()


def _load_package(package: Any) -> None:
    for module in pkgutil.iter_modules(package.__path__):
        with contextlib.suppress(ImportError):
            importlib.import_module(f"{package.__name__}.{module.name}")


def _in_fork(job: dict[str, Any], mode: str) -> dict[str, Any]:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            before = set(sys.modules)
            found = _run(job, mode)
            found["loaded"] = sorted(name for name in sys.modules.keys() - before if not _is_of(job, name))
        except BaseException:  # noqa: BLE001  whatever happened is the result
            found = {"error": traceback.format_exc()}
        with os.fdopen(writer, "w") as out:
            out.write(json.dumps(found))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answers:
        text = answers.read()
    os.waitpid(child, 0)
    return json.loads(text) if text else {"error": "the process died"}


def _is_of(job: dict[str, Any], name: str) -> bool:
    """Whether a module is one of the case's own files, which are not there for the next one."""
    file = getattr(sys.modules[name], "__file__", None)
    return file is not None and file.startswith((job["folder"], job["files"]))


def _run(job: dict[str, Any], mode: str) -> dict[str, Any]:
    warnings.simplefilter("ignore")
    if job["files"] != job["folder"]:
        shutil.rmtree(job["folder"], ignore_errors=True)
        shutil.copytree(job["files"], job["folder"])
    sys.path.insert(0, job["folder"])
    if os.path.isdir(os.path.join(job["folder"], "site-packages")):
        sys.path.insert(1, os.path.join(job["folder"], "site-packages"))
    os.chdir(job["folder"])
    sys.dont_write_bytecode = True
    import app  # the case's own module

    name, arguments = re.fullmatch(r"([\w.]+)\((.*)\)", job["call"], re.S).groups()  # type: ignore[union-attr]
    function: Any = app
    for part in name.split("."):
        function = getattr(function, part)
    captured = eval(f"_capture({arguments})", {**vars(app), "_capture": lambda *a, **k: (a, k)})
    args, kwargs = captured
    return _fingerprint(function, args, kwargs) if mode == "fingerprint" else _step(function, args, kwargs, job)


def _fingerprint(function: Any, args: Any, kwargs: Any) -> dict[str, Any]:
    from mlflowish.hashing.digests import digest
    from mlflowish.hashing.fingerprint import fingerprint

    first = fingerprint(function)
    values = digest((args, kwargs)).hex()
    held = first.holds()
    result = _plain(function, args, kwargs)
    after = first if first.holds() else fingerprint(function)
    for part in first.parts:
        part.describe()
    return {
        "digest": first.digest.hex() + values,
        "after": after.digest.hex() + values,
        "held": held,
        "result": result,
        "notes": list(first.notes),
        "uncacheable": first.uncacheable,
        "parts": [f"{part.kind} {part.label} {part.digest.hex()[:8]}" for part in first.parts],
    }


def _step(function: Any, args: Any, kwargs: Any, job: dict[str, Any]) -> dict[str, Any]:
    import mlflowish as mf

    mf.use(job["store"])
    try:
        call = mf.step(function).call(*args, **kwargs)
        if inspect.isawaitable(call):
            call = asyncio.run(_awaited(call))
    except Exception as error:  # noqa: BLE001  an exception is a result like any other here
        return {"hit": False, "raised": True, "result": repr(error), "uncacheable": None}
    return {"hit": call.hit, "result": repr(call.value), "uncacheable": call.uncached_reason}


async def _awaited(call: Any) -> Any:
    return await call


def _plain(function: Any, args: Any, kwargs: Any) -> str:
    try:
        value = function(*args, **kwargs)
        if inspect.iscoroutine(value):
            value = asyncio.run(value)
        if inspect.isgenerator(value):
            value = list(value)
    except Exception as error:  # noqa: BLE001  an exception is a result like any other here
        return f"raises {type(error).__name__}: {error}"
    return repr(value)


if __name__ == "__main__":
    main()
