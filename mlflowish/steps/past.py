"""Past calls of a step: listing them, and dropping their results."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

from mlflowish.errors import UncacheableError
from mlflowish.store import Entry, Table

if TYPE_CHECKING:
    from mlflowish.steps.wrapper import Step

_COLUMNS = ("time", "status", "duration_s", "arguments", "output", "key", "reason", "parent", "host", "run_id")


def history(step: Step[..., Any]) -> Table:
    """Past calls of a step that ran, oldest first."""
    calls = sorted(step.store.calls(step.name), key=lambda call: (call.created_s, call.id))
    rows = []
    for call in calls:
        meta = call.meta
        when = datetime.datetime.fromtimestamp(call.created_s, tz=datetime.UTC).isoformat(timespec="milliseconds")
        arguments = ", ".join(f"{name}={description}" for name, _, description in meta.arguments)
        rows.append(
            (
                when,
                meta.status,
                meta.duration_s,
                arguments,
                meta.output_description,
                call.key.hex(),
                meta.reason,
                meta.parent,
                meta.host,
                meta.run_id,
            )
        )
    return Table(_COLUMNS, rows)


def forget(step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """Drop the entries of one call, or all of the step's when there are no arguments."""
    store = step.store
    if not args and not kwargs:
        by_key: dict[bytes, list[bytes]] = {}
        for call in store.calls(step.name):
            if isinstance(call, Entry):
                by_key.setdefault(call.key, []).append(call.id)
        store.forget_all(by_key, step=step.name)
        return sum(map(len, by_key.values()))
    identity = step.identify(args, kwargs)
    if identity.key is None:
        raise UncacheableError(f"{step.name}: this call has no key to forget: {identity.reason}", path=identity.reason)
    ids = [entry.id for entry in store.entries(identity.key)]
    store.forget(identity.key, ids, step=step.name)
    return len(ids)
