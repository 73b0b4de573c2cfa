"""What a version was made by: the call of a step that computed it, from where lineage goes on upstream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlflowish.registry import records
from mlflowish.registry.listing import utc
from mlflowish.steps.provenance import producer_of
from mlflowish.store import Entry, Store, Table, uses
from mlflowish.store.context import active_run_id

if TYPE_CHECKING:
    from mlflowish.lineage import Lineage
    from mlflowish.registry.registered import ModelVersion

_COLUMNS = ("step", "key", "time", "duration_s", "arguments", "output", "code", "run_id")
_MEMBERS = 32


def source_of(store: Store, model: Any, digest: str | None) -> dict[str, Any] | None:
    """The call of a step that computed the model, as it is recorded with a version: the one of this process that
    returned this very object, else the only one in the store that returned its content.

    A container that has no identity of its own is known by its members, if the call that returned one of them returned
    a value of the container's digest.
    """
    key = producer_of(model)
    found = None if key is None else _call(store, key)
    if found is None and type(model) in (dict, list, tuple) and digest is not None and len(model) <= _MEMBERS:
        members = model.values() if type(model) is dict else model
        keys = dict.fromkeys(key for member in members if (key := producer_of(member)) is not None)
        found = next((call for key in keys if (call := _call(store, key)) and call.meta.output == digest), None)
    return source_by_content(store, digest) if found is None else _source(found)


def source_by_content(store: Store, digest: str | None) -> dict[str, Any] | None:
    """The call of a step that returned a value of this digest, if it is the only one that is known of. A look-up: of a
    store from before uses were recorded nothing is read."""
    if digest is None:
        return None
    keys = dict.fromkeys(uses.users(store.journals("calls"), uses.OUTPUT, digest))
    calls = [call for key in keys if (call := _call(store, key)) is not None and call.meta.output == digest]
    return {**_source(calls[0]), "by": "content"} if len(calls) == 1 else None


def _source(call: Entry) -> dict[str, Any]:
    return {"key": call.key.hex(), "step": call.meta.step, "run_id": call.meta.run_id}


def _call(store: Store, key: str) -> Entry | None:
    entries = store.entries(bytes.fromhex(key))
    return entries[0] if entries else None


def run_of(source: dict[str, Any] | None) -> str | None:
    """The run that a registration belongs to: the active one, else the one whose step computed the model."""
    active = active_run_id.get()
    return active if active is not None or source is None else source["run_id"]


def made_by(version: ModelVersion) -> tuple[str, ...]:
    """The key of the call that computed the model: the recorded one, else that of the only one that returned a value of
    this digest; nothing if it is not known. A look-up, but for models that no call is known to have returned: then
    every record of a call is read."""
    if version.record.source is not None:
        return (version.record.source["key"],)
    if version.digest is None:
        return ()
    if (source := source_by_content(version.store, version.digest)) is not None:
        return (source["key"],)
    found = {call.key.hex() for call in version.store.calls() if call.meta.output == version.digest}
    return tuple(found) if len(found) == 1 else ()


def run_behind(version: ModelVersion) -> str | None:
    """The run of the call that computed the model, for what was not known when it was registered: records of calls
    reach a bucket some seconds later."""
    found = [call for key in made_by(version) if (call := _call(version.store, key)) is not None]
    return found[0].meta.run_id if found else None


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
