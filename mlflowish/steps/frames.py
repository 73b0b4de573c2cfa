"""Which step is running in this thread or task: so that calls inside it know their parent, and it knows its
children."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass(slots=True)
class Frame:
    """A step while its function runs; `children` are the keys of the step calls that it made, in order."""

    step: str
    key: str | None
    children: list[str] = field(default_factory=list)


current_frame: ContextVar[Frame | None] = ContextVar("mlflowish_frame", default=None)
