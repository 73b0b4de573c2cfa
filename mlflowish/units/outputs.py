"""Two units that write one output: the second overwrites what the first has returned."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Any

from mlflowish.store import Dir, File

_SLACK_S = 2.0  # of the clock of the filesystem


@dataclass(frozen=True, slots=True)
class Clash:
    """Two results, by their places, that are both the file or folder at `path`."""

    path: str
    first: int
    second: int


def clashes_in(
    results: Sequence[Any], calls: Sequence[tuple[Any, ...]], ran: Set[int], same: Set[int], started_s: float
) -> list[Clash]:
    """The outputs that two results share and that cannot be what both of them wrote.

    `calls`: the arguments of each; a file that was given to a call is no output of it. `ran`: the places of those that
    ran since `started_s`; the others were read back, `same` those of calls that are equal to an earlier one. One path
    with different contents is a clash. With equal contents it is one if one of both ran and the file was written
    meanwhile: what it has stored may be what the other wrote, or what was put back for it.
    """
    seen: dict[str, tuple[int, File | Dir]] = {}
    found = []
    for place, result in enumerate(results):
        if place in same:
            continue
        outputs = list(_files_in(result))
        given = {_place_of(file) for file in _files_in(calls[place])} if outputs else set()
        for output in outputs:
            where = _place_of(output)
            if where in given:
                continue
            first, other = seen.setdefault(where, (place, output))
            if first != place and _differ(other, output, ran=not ran.isdisjoint({first, place}), started_s=started_s):
                found.append(Clash(output.path, first, place))
    return found


def _files_in(value: Any) -> Iterator[File | Dir]:
    if isinstance(value, (File, Dir)):
        yield value
    elif type(value) in (list, tuple):
        for item in value:
            yield from _files_in(item)
    elif type(value) is dict:
        for item in value.values():
            yield from _files_in(item)


def _place_of(output: File | Dir) -> str:
    return output.path if "://" in output.path else os.path.realpath(output.path)


def _differ(one: File | Dir, other: File | Dir, *, ran: bool, started_s: float) -> bool:
    if one.recorded != other.recorded:
        return True
    return ran and _written_s(one) >= started_s - _SLACK_S


def _written_s(output: File | Dir) -> float:
    """When it was, or may have been, written last: the time of a folder tells nothing of the files in it."""
    if isinstance(output, Dir) or not output.is_local:
        return float("inf")
    try:
        return os.stat(output.path).st_mtime
    except OSError:
        return float("inf")
