"""What a traced body is made of: specs, which are units of work, and groups of them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflowish.pipelines.definition import Pipeline

CALL, MAP, ENTER, LEAVE, CHOOSE, JOIN = "call", "map", "enter", "leave", "choose", "join"
"""Kinds of specs: a call; a call for each item of a node; the gate and the end of a nested pipeline; the gate and the
end of a `when`."""


@dataclass(eq=False, slots=True)
class Batch:
    """What the calls of one `map` have in common: so many of them are submitted together."""

    size: int


class Spec:
    """One unit of work as the body wrote it; `deps` are the places of the specs that it waits for, `batch` is that of
    the `map` that it is of, or that it is, `unit` the name of what it is a call for."""

    __slots__ = ("args", "batch", "deps", "file", "group", "kind", "kwargs", "label", "line", "opens", "step", "unit")

    def __init__(
        self, kind: str, label: str, step: Any, args: tuple[Any, ...], kwargs: dict[str, Any], deps: tuple[int, ...]
    ) -> None:
        self.kind = kind
        self.label = label
        self.step = step
        self.args = args
        self.kwargs = kwargs
        self.deps = deps
        self.group = 0
        self.opens: tuple[int, ...] = ()  # the groups whose gate or end it is
        self.batch: Batch | None = None
        self.unit = ""
        self.file = ""
        self.line = 0

    @property
    def place(self) -> str:
        """Where the body says it, for people."""
        return f"{os.path.basename(self.file)}, line {self.line}"


class Group:
    """A nested pipeline or a branch: the specs from `first` up to `last`. The whole trace is group 0."""

    __slots__ = (
        "changes_state",
        "exports",
        "first",
        "gate",
        "is_branch",
        "last",
        "leave",
        "outputs",
        "parent",
        "pipeline",
        "result",
    )

    def __init__(self, pipeline: Pipeline[..., Any] | None, parent: int, gate: int, first: int) -> None:
        self.pipeline = pipeline
        self.is_branch = pipeline is None
        self.parent = parent
        self.gate = gate
        self.leave = -1
        self.first = first
        self.last = first
        self.result: Any = None
        self.outputs: tuple[int, ...] = ()
        self.exports: set[int] = set()
        self.changes_state = False
