"""What the fresh process does: import the recorded code, run the calls, and tell what came of each."""

from __future__ import annotations

import pickle
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlflowish.reproduction.arguments import NotPossible
from mlflowish.reproduction.tasks import Task, Workshop
from mlflowish.steps.wrapper import Step
from mlflowish.store import Store, use


def main(folder: str) -> None:
    """Run the job in a folder; the store's location comes through standard input."""
    location, allow_pickle, verify, options = pickle.loads(sys.stdin.buffer.read())
    # Written by the process that started this one, for this one.
    job = pickle.loads(Path(folder, "job.pickle").read_bytes())
    given = pickle.loads(Path(folder, "given.pickle").read_bytes())
    scratch = Store(job["scratch"])
    # Nothing that the recorded code does with steps or runs may reach the store of the user, wherever it points to.
    Step.store = property(lambda step: scratch)  # type: ignore[assignment, method-assign]
    use(scratch)
    workshop = Workshop(Store(location, allow_pickle=allow_pickle, verify=verify, **options), scratch, folder)
    with scratch, Path(job["results"]).open("ab") as results:
        for task in job["tasks"]:
            found = workshop.reproduced(task, _finder(task, Path(folder)), given)
            results.write(pickle.dumps(found))
            results.flush()


def _finder(task: Task, folder: Path) -> Callable[[], Any]:
    return lambda: _function(task, folder)


def _function(task: Task, folder: Path) -> Any:
    import importlib

    if task.module:
        found: Any = importlib.import_module(task.module)
    else:
        found = _page(task, folder)
    for part in task.name.split("."):
        found = vars(found)[part] if isinstance(found, type) else getattr(found, part, None)
    found = getattr(found, "__func__", found)
    if not callable(found):
        raise NotPossible(f"the recorded code has no function {task.name}")
    return found


def _page(task: Task, folder: Path) -> types.ModuleType:
    """The page of a call, as `__main__`: what was pickled in a script names its classes so."""
    path = folder / f"page_{task.key}.py"
    path.write_text(task.page, encoding="utf-8", errors="surrogatepass")
    module = types.ModuleType("__main__")
    module.__file__ = str(path)
    sys.modules["__main__"] = module
    exec(compile(path.read_bytes(), str(path), "exec", dont_inherit=True), module.__dict__)
    return module
