"""Which files the results of a run hold: two calls that write the same one would each undo the other's work."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mlflowish.errors import InvalidInputError
from mlflowish.pipelines.specs import Spec
from mlflowish.steps.reference import Reference
from mlflowish.store import Dir, File, Store


@dataclass(frozen=True, slots=True)
class _Written:
    """A file or folder in the result of a spec; `ran`: it was computed in this run, not read back."""

    number: int
    reference: Reference
    output: File | Dir
    ran: bool


class WrittenFiles:
    """Paths of files and folders in results, and which call made them."""

    def __init__(self, specs: Sequence[Spec], store: Store) -> None:
        self._specs = specs
        self._store = store
        self._made_by: dict[str, _Written] = {}

    def note(self, number: int, reference: Reference, value: Any, *, ran: bool) -> None:
        """InvalidInputError when another call gave the same path, with another content, or perhaps at the same time.

        A call that was given the file, and returns it, is another matter: the content has to be the same. What the two
        have stored in this run is forgotten: either may hold what the other wrote.
        """
        for path, output in outputs_in(value):
            written = _Written(number, reference, output, ran)
            other = self._made_by.setdefault(path, written)
            if other.reference.key != reference.key and self._clash(other, written):
                self._forget(written, other)
                one, two = self._specs[number], self._specs[other.number]
                raise InvalidInputError(
                    f"{one.label} ({one.place}) and {two.label} ({two.place}) both write {path}: whichever is last "
                    "would be found there. Give each a path of its own.",
                    path=path,
                    file=one.file,
                    line=one.line,
                )

    def _forget(self, *written: _Written) -> None:
        for each in written:
            if each.ran:
                name = self._specs[each.number].step.name
                self._store.forget(each.reference.key, [each.reference.entry_id], step=name)

    def _clash(self, one: _Written, other: _Written) -> bool:
        if one.output.recorded != other.output.recorded:
            return True
        return one.ran and other.ran and not self._needs(other.number, one.number)

    def _needs(self, number: int, sought: int) -> bool:
        """Does a spec depend on another, near or far?"""
        reached, waiting = {number}, [number]
        while waiting:
            for dep in self._specs[waiting.pop()].deps:
                if dep == sought:
                    return True
                if dep > sought and dep not in reached:  # what one depends on comes before it
                    reached.add(dep)
                    waiting.append(dep)
        return False


def outputs_in(value: Any) -> Iterator[tuple[str, File | Dir]]:
    """Files and folders in a result, also inside lists, tuples and dicts, with their real paths."""
    if isinstance(value, (File, Dir)):
        is_here = isinstance(value, Dir) or value.is_local
        yield os.path.realpath(value.path) if is_here else value.path, value
    elif type(value) in (list, tuple, dict):
        for member in value.values() if type(value) is dict else value:
            yield from outputs_in(member)
