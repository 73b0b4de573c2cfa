"""Switches of what is captured: `$MLFLOWISH_CONSOLE=0`, or `console = false` in `[tool.mlflowish]`; on by default."""

from __future__ import annotations

import functools
import os

from mlflowish import settings
from mlflowish.errors import MlflowishError

EXPERIMENT_VARIABLE = "MLFLOWISH_EXPERIMENT"
RUN_VARIABLE = "MLFLOWISH_RUN_ID"
DEFAULT_EXPERIMENT = "Default"
_OFF = frozenset({"0", "false", "off", "no"})


def is_on(switch: str) -> bool:
    """Is this captured: `console`, `hardware`, `source` or `environment`?"""
    given = os.environ.get(f"MLFLOWISH_{switch.upper()}")
    if given is not None:
        return given.strip().lower() not in _OFF
    return _configured(os.getcwd()).get(switch, True) is not False


@functools.lru_cache(maxsize=8)
def _configured(_folder: str) -> dict[str, object]:
    try:
        return settings.tool_table()
    except MlflowishError:  # whoever opens the store is told; watching must not stop the program
        return {}
