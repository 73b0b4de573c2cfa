"""pydantic models: class and values. Which fields were set explicitly is not part of the value."""

from __future__ import annotations

from typing import Any

from mlflowish.hashing.instances import attributes_part
from mlflowish.hashing.tree import Expand, Walk
from mlflowish.hashing.writer import Node, head, silent


def expander_for(cls: type) -> Expand | None:
    """The expander for models."""
    import pydantic

    return _model if issubclass(cls, pydantic.BaseModel) else None


def _model(value: Any, walk: Walk) -> Node:
    parts = [dict(vars(value)), dict(value.__pydantic_extra__ or {}), dict(value.__pydantic_private__ or {})]
    return Node(head("model", *walk.identity(type(value))), [attributes_part(part) for part in parts], silent)
