"""Telling whoever listens (a run) of calls that ended."""

from __future__ import annotations

import logging

from mlflowish.store.context import CallNote, on_call

_log = logging.getLogger("mlflowish.steps")


def tell(note: CallNote) -> None:
    """Tell the listener of this context, if there is one. It watches the program; it never stops it."""
    listener = on_call.get()
    if listener is None:
        return
    try:
        listener(note)
    except Exception:  # noqa: BLE001  whatever the listener does, the computed value is worth more
        _log.exception("%s: a listener could not take note of this call; its value is returned all the same", note.step)
