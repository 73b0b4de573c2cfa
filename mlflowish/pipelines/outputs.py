"""Which files the results of a run hold: two calls that write the same one would each undo the other's work."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from mlflowish.errors import InvalidInputError
from mlflowish.pipelines.trace import Spec
from mlflowish.steps.reference import Reference
from mlflowish.store import Dir, File


class WrittenFiles:
    """Paths of files and folders in results, and which call made them."""

    def __init__(self) -> None:
        self._made_by: dict[str, tuple[bytes, Spec]] = {}

    def note(self, spec: Spec, reference: Reference, value: Any) -> None:
        """InvalidInputError when another call gave the same path."""
        for path in paths_in(value):
            key, other = self._made_by.setdefault(path, (reference.key, spec))
            if key != reference.key:
                raise InvalidInputError(
                    f"{spec.label} ({spec.place}) and {other.label} ({other.place}) both write {path}: whichever is "
                    "last would be found there. Give each a path of its own.",
                    path=path,
                    file=spec.file,
                    line=spec.line,
                )


def paths_in(value: Any) -> Iterator[str]:
    """The real paths of local files and folders in a result, also inside lists, tuples and dicts."""
    if isinstance(value, Dir) or (isinstance(value, File) and value.is_local):
        yield os.path.realpath(value.path)
    elif isinstance(value, File):
        yield value.path
    elif type(value) in (list, tuple):
        for member in value:
            yield from paths_in(member)
    elif type(value) is dict:
        for member in value.values():
            yield from paths_in(member)
