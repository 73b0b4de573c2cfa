"""Modules that a model was stored with, where they are not here: imported from its own source, if stored code may run.

What can be imported here is imported from here; a warning says if it is not what the model was stored with.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import linecache
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from mlflowish.errors import CapabilityError, ModelWarning
from mlflowish.hashing.packages import realm_of_module
from mlflowish.models.files import FileReader
from mlflowish.models.manifest import MAIN, Manifest

_lock = threading.RLock()


@contextmanager
def imported_code(manifest: Manifest, files: FileReader) -> Iterator[None]:
    """Within the block, modules that are not here can be imported from the model's own source, if that may run.

    Modules stay imported, so another model with other code under the same name is refused in this process.
    """
    names = [name for name in manifest.code if name != MAIN]
    if not names or not files.allow_pickle:
        yield
        return
    with _lock:
        finder = _Finder({name: (manifest.code[name], files) for name in names if not _is_here(name, manifest, files)})
        # Behind all others: what is here goes first.
        sys.meta_path.append(finder)
        try:
            yield
        finally:
            if not finder.gave:
                sys.meta_path.remove(finder)  # else what it gave may import more, later


def _is_here(name: str, manifest: Manifest, files: FileReader) -> bool:
    """Is the module here, as it was or with a warning? CapabilityError if another model brought another one."""
    loaded = sys.modules.get(name)
    spec = getattr(loaded, "__spec__", None) if loaded is not None else _spec_here(name)
    if spec is None:
        return loaded is not None
    stored = manifest.code[name]
    if isinstance(spec.loader, _Loader):
        if spec.loader.source != bytes(files.read(stored)):
            raise CapabilityError(
                f"This model brings a module {name} of its own, and another model brought another one into this "
                "process. Load it in a process of its own.",
                module=name,
            )
        return True
    if spec.origin is not None and spec.origin.endswith(".py") and _differs(spec.origin, files, stored):
        warnings.warn(
            f"The module {name} is not what this model was stored with, and is used as it is here. If the model does "
            "not do what it did, check out the code that it was stored with.",
            ModelWarning,
            stacklevel=6,
        )
    return True


def _spec_here(name: str) -> importlib.machinery.ModuleSpec | None:
    if realm_of_module(name) != "project":
        return None
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None


def _differs(path: str, files: FileReader, stored: str) -> bool:
    try:
        return Path(path).read_bytes() != bytes(files.read(stored))
    except OSError:
        return True


class _Loader(importlib.abc.Loader):
    """Runs a module of a snapshot."""

    def __init__(self, name: str, source: bytes) -> None:
        self.source = source
        self._name = name

    def exec_module(self, module: ModuleType) -> None:
        place = f"<{self._name} of a stored model>"
        linecache.cache[place] = (len(self.source), None, self.source.decode("utf-8").splitlines(True), place)
        exec(compile(self.source, place, "exec"), module.__dict__)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds modules in a snapshot."""

    def __init__(self, places: dict[str, tuple[str, FileReader]]) -> None:
        self._places = places
        self.gave = False

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        place = self._places.get(name)
        if place is None:
            return None
        stored, files = place
        self.gave = True
        is_package = any(other.startswith(f"{name}.") for other in self._places)
        return importlib.util.spec_from_loader(
            name, _Loader(name, bytes(files.read_code(stored))), is_package=is_package
        )
