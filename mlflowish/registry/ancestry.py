"""What a version was made by: the call of a step that computed it, from where lineage goes on upstream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlflowish.registry import records
from mlflowish.registry.listing import utc
from mlflowish.steps.provenance import producer_of
from mlflowish.store import Entry, Store, Table
from mlflowish.store.context import active_run_id

if TYPE_CHECKING:
    from mlflowish.lineage import Lineage
    from mlflowish.registry.registered import ModelVersion

_COLUMNS = ("step", "key", "time", "duration_s", "arguments", "output", "code", "run_id")
_MEMBERS = 32


def source_of(store: Store, model: Any, digest: str | None) -> dict[str, Any] | None:
    """The call of a step of this process that returned this very object, as it is recorded with a version.

    A container that has no identity of its own is known by its members, if the call that returned one of them returned
    a value of the container's digest.
    """
    key = producer_of(model)
    found = None if key is None else _call(store, key)
    if found is None and type(model) in (dict, list, tuple) and digest is not None and len(model) <= _MEMBERS:
        members = model.values() if type(model) is dict else model
        keys = dict.fromkeys(key for member in members if (key := producer_of(member)) is not None)
        found = next((call for key in keys if (call := _call(store, key)) and call.meta.output == digest), None)
    if found is None:
        return None
    return {"key": found.key.hex(), "step": found.meta.step, "run_id": found.meta.run_id}


def _call(store: Store, key: str) -> Entry | None:
    entries = store.entries(bytes.fromhex(key))
    return entries[0] if entries else None


def run_of(source: dict[str, Any] | None) -> str | None:
    """The run that a registration belongs to: the active one, else the one whose step computed the model."""
    active = active_run_id.get()
    return active if active is not None or source is None else source["run_id"]


def made_by(version: ModelVersion) -> tuple[str, ...]:
    """The key of the call that computed the model: the recorded one, else that of the only one that returned a value of
    this digest; nothing if it is not known. Reads every record of a call, if none is recorded."""
    if version.record.source is not None:
        return (version.record.source["key"],)
    if version.digest is None:
        return ()
    found = {call.key.hex() for call in version.store.calls() if call.meta.output == version.digest}
    return tuple(found) if len(found) == 1 else ()


def node_of(version: ModelVersion) -> tuple[str, str, str, dict[str, Any], tuple[str, ...]]:
    """How a version stands in a lineage: id, kind, label, facts, and the calls that made it."""
    key = f"{records.VERSIONS}/{version.name}/{records.numbered(version.version)}"
    facts = {"stage": version.stage, "run_id": version.run_id}
    return key, "model", f"{version.name} {version.version}", facts, made_by(version)


def calls_of(lineage: Lineage) -> Table:
    """The calls of a lineage, newest first."""
    rows = []
    for call in reversed(lineage.calls()):
        meta = call.meta
        arguments = ", ".join(f"{name}={text}" for name, _, text in meta.arguments)
        when = utc(call.created_s).isoformat(timespec="milliseconds")
        result = meta.output_description
        rows.append((meta.step, call.key, when, meta.duration_s, arguments, result, meta.fingerprint, meta.run_id))
    return Table(_COLUMNS, rows)
