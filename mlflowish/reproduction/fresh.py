"""A process of its own for recorded code.

Its modules are written into a temporary folder, which stands first on the path; the folders of the project are not on
it, so that what they hold today has no part in it.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlflowish.errors import InvalidInputError
from mlflowish.hashing.imports import text_of
from mlflowish.hashing.packages import realm_of_file
from mlflowish.reproduction.records import NOT_POSSIBLE, ReproducedCall
from mlflowish.reproduction.tasks import Task, kept_code
from mlflowish.steps.code import HIDDEN, KeptCode, source_text, without_secrets
from mlflowish.store import Store

_START = "import sys; sys.path[:] = {path!r}; from mlflowish.reproduction.child import main; main({folder!r})"
_JOB, _RESULTS, _CODE, _WORK, _SCRATCH = "job.pickle", "results.pickle", "code", "work", "scratch"


@contextmanager
def workplace(folder: str | os.PathLike[str] | None) -> Iterator[Workplace]:
    """A temporary folder for one reproduction; gone at the end of the block."""
    with tempfile.TemporaryDirectory(prefix="mlflowish-", ignore_cleanup_errors=True) as name:
        yield Workplace(Path(name), None if folder is None else Path(folder).resolve())


class Workplace:
    """Folders for the code, for what is computed on the way, and for the code to run in."""

    def __init__(self, root: Path, folder: Path | None) -> None:
        self._root = root
        self._folder = folder if folder is not None else root / _WORK
        (root / _WORK).mkdir()
        if not self._folder.is_dir():
            raise InvalidInputError(f"folder={str(folder)!r} is not a folder", folder=str(folder))
        self._number = 0

    def run(
        self, store: Store, code: KeptCode, tasks: Sequence[Task], given: Mapping[str, Any], timeout_s: float | None
    ) -> Iterator[ReproducedCall]:
        """Run tasks with the same modules in order, in one process; in another one from where that dies."""
        self._number += 1
        place = self._root / str(self._number)
        sources = [kept for task in tasks for kept in _codes_of_sources(store, task)]
        hidden = _write_modules(store, [code, *sources], place / _CODE)
        waiting = [replace(task, hidden=(*hidden, *(["its page"] if HIDDEN in task.page else []))) for task in tasks]
        while waiting:
            job = place / f"job-{len(waiting)}"
            job.mkdir()
            done, ending = self._run_once(store, job, place / _CODE, waiting, given, timeout_s)
            yield from done
            waiting = waiting[len(done) :]
            if waiting:
                yield waiting[0].answer(NOT_POSSIBLE, reason=ending)
                waiting = waiting[1:]

    def _run_once(
        self,
        store: Store,
        job: Path,
        code: Path,
        tasks: Sequence[Task],
        given: Mapping[str, Any],
        timeout_s: float | None,
    ) -> tuple[list[ReproducedCall], str]:
        self._write_job(job, tasks, given)
        path = [str(code), *_library_path()]
        scratch = str(self._root / _SCRATCH)
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _START.format(path=path, folder=str(job))],
            cwd=self._folder,
            env={**os.environ, "MLFLOWISH_STORE": scratch, "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            # What opens the store may be a secret: neither a file nor the command line gets it.
            _, errors = process.communicate(pickle.dumps(_location(store, self._root)), timeout=timeout_s)
            ending = _ending(process.returncode, errors)
        except subprocess.TimeoutExpired:
            ending = f"it was stopped after {timeout_s:g} s, as timeout= says"
        finally:
            _end(process)
        return list(_results(job / _RESULTS)), ending

    def _write_job(self, job: Path, tasks: Sequence[Task], given: Mapping[str, Any]) -> None:
        import cloudpickle

        scratch = str(self._root / _SCRATCH)
        known = {"tasks": list(tasks), "scratch": scratch, "results": str(job / _RESULTS)}
        (job / _JOB).write_bytes(pickle.dumps(known))
        try:
            (job / "given.pickle").write_bytes(cloudpickle.dumps(dict(given)))
        except Exception as error:
            raise InvalidInputError(
                f"An argument cannot be sent to the process in which recorded code runs: {error}. Pass a plain "
                "value, an array or a frame, or run with code='present'."
            ) from error


def _write_modules(store: Store, codes: Sequence[KeptCode], folder: Path) -> tuple[str, ...]:
    """Write the modules that are kept, each as the first has it; gives the names of those with a secret in them that is
    not known here."""
    folder.mkdir(parents=True)
    modules: dict[str, str] = {}
    for code in codes:
        modules = {**code.modules, **modules}
    packages = {name for code in codes for name in code.packages}
    packages |= {parent for name in modules if (parent := name.rpartition(".")[0]) in modules}
    hidden = []
    for name, digest in modules.items():
        text = source_text(store, digest)
        if HIDDEN in text:
            # Where the module of today is the same but for its secrets, they may be used.
            today = _text_of_today(name)
            if today is not None and without_secrets(today) == text:
                text = today
            else:
                hidden.append(name)
        parts = [*name.split("."), "__init__"] if name in packages else name.split(".")
        path = folder.joinpath(*parts).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", errors="surrogatepass", newline="")
    return tuple(hidden)


def _codes_of_sources(store: Store, task: Task) -> Iterator[KeptCode]:
    """The code of the calls whose results are arguments: classes in these are found in its modules."""
    for key in dict.fromkeys(key for _, _, key in task.meta.sources):
        kept = kept_code(store, key)
        if kept is not None:
            yield kept


def _text_of_today(name: str) -> str | None:
    import importlib.util

    module = sys.modules.get(name)
    if module is not None:
        return text_of(module)
    try:
        spec = importlib.util.find_spec(name)
        origin = spec.origin if spec is not None else None
        return Path(origin).read_text(encoding="utf-8") if origin and origin.endswith(".py") else None
    except (ImportError, ValueError, OSError):
        return None


def _library_path() -> list[str]:
    """Where installed packages, the standard library and this package are imported from: not the project."""
    own = str(Path(__file__).resolve().parents[2])
    libraries = [entry for entry in sys.path if entry and _is_library(entry)]
    return [*libraries, *([own] if own not in libraries else [])]


def _is_library(folder: str) -> bool:
    if realm_of_file(os.path.join(folder, "_.py")) != "project":
        return True
    try:
        return any(name.endswith(".dist-info") for name in os.listdir(folder))  # `pip install --target`
    except OSError:
        return folder.endswith(".zip")


def _location(store: Store, root: Path) -> tuple[Any, ...]:
    """How another process opens the store. One in memory is written to the disk for it."""
    location, allow_pickle, verify, options = store.__reduce__()[1]
    if location.startswith("memory:"):
        copy = root / "store"
        if not copy.exists():
            _copy(store, copy)
        return str(copy), allow_pickle, verify, {}
    return (os.path.abspath(location) if "://" not in location else location), allow_pickle, verify, options


def _copy(store: Store, folder: Path) -> None:
    for info in store.storage.list(""):
        path = folder / info.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(store.storage.get(info.path))


def _results(path: Path) -> Iterable[ReproducedCall]:
    """What the process told, up to where it died."""
    if not path.exists():
        return
    with path.open("rb") as stream:
        while True:
            try:
                yield pickle.load(stream)
            except (EOFError, pickle.UnpicklingError):
                return


def _ending(code: int, errors: bytes) -> str:
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    last = errors.decode("utf-8", "replace").strip().splitlines()[-1:]
    return f"the process that ran it ended with {how}{': ' + last[0][:300] if last else ''}"


def _end(process: subprocess.Popen[bytes]) -> None:
    """The process and what it started."""
    if os.name == "posix":
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stderr):
        if stream is not None:
            stream.close()
