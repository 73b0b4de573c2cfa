"""The source of the project's modules that a model reaches: kept with it, and used where they cannot be imported."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from mlflowish.models.files import FileReader, FileWriter
from mlflowish.models.manifest import Manifest
from mlflowish.models.reach import Reach


def store_code(reach: Reach, files: FileWriter, code: Iterable[Any] | bool | None) -> dict[str, str]:
    """Store the source of what `reach` found; the path of each module's file by its name."""
    return {}


@contextmanager
def imported_code(manifest: Manifest, files: FileReader) -> Iterator[None]:
    """Within the block, modules that are not here are imported from the model's own source, if that may run."""
    yield
