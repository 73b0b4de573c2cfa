"""Who takes note of calls instead of having them made: set while the body of a pipeline is traced.

A floor between the two: pipelines set it, steps ask. A context variable, so that threads and tasks each see their own.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from mlflowish.steps.wrapper import Step


class Recorder(Protocol):
    """Takes calls of steps down; what it returns stands for their results."""

    def call(self, step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """`step(*args, **kwargs)`, or `submit`."""

    def map(
        self,
        step: Step[..., Any],
        first: tuple[Any, ...],
        iterables: tuple[Any, ...],
        common: dict[str, Any],
        *,
        batch: int,
    ) -> Any:
        """`step.map(*iterables, **common)`, with `first` in front of the arguments of every call; `batch` of them are
        submitted together."""

    def question(self, step: Step[..., Any], name: str) -> None:
        """`step.call`, `explain` and the like, which need values."""


recorder: ContextVar[Recorder | None] = ContextVar("mlflowish_recorder", default=None)
