"""What addresses such as `models:/churn/3` mean, for rooms that stand below the one that knows.

Filled at the top of the package, which knows all rooms; nothing is imported before an address is asked about.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

resolvers: dict[str, Callable[[str, Any], Any]] = {}
"""By how an address begins: what gives the thing that an address names, in a store."""


def named(text: str, store: Any) -> Any:
    """What an address names in a store; None if it is no address."""
    return resolvers[_scheme(text)](text, store) if is_address(text) else None


def is_address(text: str) -> bool:
    """Does it begin as an address does?"""
    return _scheme(text) in resolvers


def _scheme(text: str) -> str:
    return text.partition("/")[0] + "/"
