"""What the fresh process does: import the recorded code, run the calls, and tell what came of each."""

from __future__ import annotations

import pickle
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlflowish.reproduction.arguments import NotPossible
from mlflowish.reproduction.tasks import Task, Workshop, kept_code
from mlflowish.steps.wrapper import Step
from mlflowish.store import Entry, Store, use


def main(folder: str) -> None:
    """Run the job in a folder; the store's location comes through standard input."""
    location, allow_pickle, verify, options = pickle.loads(sys.stdin.buffer.read())
    # Written by the process that started this one, for this one.
    job = pickle.loads(Path(folder, "job.pickle").read_bytes())
    given = pickle.loads(Path(folder, "given.pickle").read_bytes())
    scratch = Store(job["scratch"])
    # Nothing that the recorded code does with steps or runs may reach the store of the user, wherever it points to.
    Step.store = property(lambda step: scratch)  # type: ignore[assignment, method-assign]  # this process has one store
    use(scratch)
    workshop = _FreshWorkshop(Store(location, allow_pickle=allow_pickle, verify=verify, **options), scratch, folder)
    with scratch, Path(job["results"]).open("ab") as results:
        for task in job["tasks"]:
            found = workshop.reproduced(task, _finder(task, Path(folder)), given)
            results.write(pickle.dumps(found))
            results.flush()


class _FreshWorkshop(Workshop):
    """In this process `__main__` is a page: what it lacks is taken from the page of the call that made a result."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._pages: dict[bytes, types.ModuleType] = {}

    def _find_classes(self, entry: Entry) -> None:
        kept = kept_code(self.store, entry.key.hex())
        if kept is None or not kept.page or kept.missing:
            return
        here = sys.modules["__main__"]
        if entry.key not in self._pages:
            try:
                self._pages[entry.key] = _run_page(kept.page, Path(self._folder, f"source_{entry.key.hex()}.py"))
            finally:
                sys.modules["__main__"] = here
        for name, found in vars(self._pages[entry.key]).items():
            vars(here).setdefault(name, found)


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
    return _run_page(task.page, folder / f"page_{task.key}.py")


def _run_page(page: str, path: Path) -> types.ModuleType:
    path.write_text(page, encoding="utf-8", errors="surrogatepass")
    module = types.ModuleType("__main__")
    module.__file__ = str(path)
    sys.modules["__main__"] = module
    exec(compile(path.read_bytes(), str(path), "exec", dont_inherit=True), module.__dict__)
    return module
