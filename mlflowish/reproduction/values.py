"""Values that stand on a page of recorded code: `steps/page.py` writes them."""

from __future__ import annotations

from typing import Any

from mlflowish.codecs import decode


def stored_value(stored: dict[str, Any]) -> Any:
    """The value of a global that was no literal: small, and of a codec that runs no code."""
    return decode(stored["codec"], stored["head"], (), allow_pickle=False)
