"""The one warning of this room."""

from __future__ import annotations


class ModelWarning(UserWarning):
    """A model was stored or loaded, but not quite as it should be; the text says what differs and what to do."""
