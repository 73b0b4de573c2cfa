"""The step behind `node[key]`: a part of a result as a result of its own, so that it has a digest and is cached.

Large parts are objects that both results share, so it costs a small entry.
"""

from __future__ import annotations

from typing import Any

from mlflowish.steps import step


@step(name="mlflowish.item")
def item(value: Any, key: Any) -> Any:
    """`value[key]`."""
    return value[key]
