"""How models and their versions are printed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mlflowish.cli.printing import local, print_facts, print_json, print_table, size
from mlflowish.errors import MlflowishError

if TYPE_CHECKING:
    from mlflowish.models import Manifest
    from mlflowish.registry import ModelVersion, RegisteredModel, Request, Transitions
    from mlflowish.store import Store

_MOST_COLUMNS = 20


def print_models(store: Store, found: list[RegisteredModel], as_json: bool) -> None:
    """A line for each model."""
    if as_json:
        print_json({"store": store.url, "models": [model.document() for model in found]})
        return
    rows = [
        (model.name, str(model.latest), str(model.versions), model.placed, _named(model.aliases), model.description)
        for model in found
    ]
    columns = ("model", "newest", "versions", "stages", "aliases", "description")
    print_table(f"Models in {store.url}", columns, rows, numbers=("newest", "versions"))


def print_versions(store: Store, model: RegisteredModel, as_json: bool, *, deleted: bool) -> None:
    """A line for each version of a model, and for each move that waits for approval."""
    from mlflowish import registry

    found = registry.versions(model.name, deleted=deleted, store=store)
    asked = registry.requests(model.name, store=store)
    if as_json:
        document = {"store": store.url, **model.document(), "versions": [version.document() for version in found]}
        print_json({**document, "requests": [each.document() for each in asked]})
        return
    print_table(f"{model.name} in {store.url}", found.columns, _cells(found.texts()), numbers=("version",))
    if asked:
        columns = asked.columns[1:]
        rows = [cells[1:] for cells in _cells(asked.texts())]
        print_table("Waiting for approval", columns, rows, numbers=("version", "needed"))


def print_history(store: Store, of: str, found: Transitions, as_json: bool) -> None:
    """A line for each thing that happened."""
    if as_json:
        print_json({"store": store.url, "history": [event.document() for event in found]})
        return
    print_table(f"History of {of} in {store.url}", found.columns, _cells(found.texts()), numbers=("version",))


def print_version(version: ModelVersion, as_json: bool) -> None:
    """All about one version: where it is, what it takes and gives, what made it, what it needs."""
    from mlflowish.registry.ancestry import made_by

    damage, manifest = "", None
    try:
        manifest = version.stored.manifest
    except MlflowishError as error:  # what the registry knows is told all the same
        damage = error.message
    calls = list(made_by(version))
    if as_json:
        document = {"store": version.store.url, **version.document(), "made_by": calls, "damage": damage or None}
        print_json(document | ({} if manifest is None else _described(manifest)))
        return
    facts = [("model", version.name), ("version", str(version.version))]
    facts.append(("stage", ", ".join([version.stage, *(f"@{alias}" for alias in version.aliases)])))
    facts += [("description", version.description)] if version.description else []
    facts += [("metrics", _pairs(version.metrics))] if version.metrics else []
    facts += [("tags", _pairs(version.tags))] if version.tags else []
    facts += _facts(manifest) if manifest is not None else [("damaged", damage)]
    pickled = ", holds a pickle: loading it runs code" if version.executes_code else ""
    facts.append(("stored as", f"{version.flavor}, {size(sum(ref.size_bytes for ref in version.refs))}{pickled}"))
    facts.append(("registered", f"{local(version.created.timestamp())} by {version.who}"))
    facts += [("run", version.run_id)] if version.run_id else []
    facts += [("computed by", f"{_step_of(version.store, key)}, call {key}") for key in calls]
    facts += [("digest", version.digest)] if version.digest else []
    print_facts(facts)


def print_request(asked: Request, as_json: bool) -> None:
    """That somebody asked for a move."""
    if as_json:
        print_json(asked.document())
    else:
        print(f"asked: {asked.name} version {asked.version} into {asked.stage}, approvals needed: {asked.needed}")


def print_move(what: str, before: ModelVersion, after: ModelVersion, stage: str, as_json: bool) -> None:
    """What became of a version."""
    named = f"{after.name} version {after.version}"
    if as_json:
        print_json({"store": after.store.url, "from_stage": before.stage, **after.document()})
    elif before.stage != after.stage:
        print(f"{named}: {before.stage} -> {after.stage}")
    elif what == "moved":
        print(f"{named} is in {after.stage} already")
    else:
        print(f"{what}: {named} into {stage}; it stays in {after.stage}{_lacking(after, stage)}")


def _step_of(store: Store, key: str) -> str:
    entries = store.entries(bytes.fromhex(key))
    return entries[0].meta.step if entries else "a step whose result is not stored any more"


def _lacking(version: ModelVersion, stage: str) -> str:
    from mlflowish import registry

    for asked in registry.requests(version.name, store=version.store):
        if (asked.version, asked.stage) == (version.version, stage.casefold()):
            return f" until {asked.needed - len(asked.approved_by)} more approve"
    return ""


def _described(manifest: Manifest) -> dict[str, Any]:
    signature = manifest.signature
    return {
        "type": manifest.model_type,
        "signature": None if signature is None else signature.document(),
        "has_input_example": manifest.example is not None,
        "libraries": dict(manifest.libraries),
        "environment": manifest.environment.record(),
        "code": sorted(manifest.code),
        "files": [
            {"path": file.path, "bytes": file.ref.size_bytes, "executes_code": file.executes_code}
            for file in manifest.files
        ],
    }


def _facts(manifest: Manifest) -> list[tuple[str, str]]:
    facts = [("type", manifest.model_type)]
    signature = manifest.signature
    if signature is not None:
        facts.append(("takes", _columns(signature.inputs)))
        facts += [("gives", _columns(signature.outputs))] if signature.outputs is not None else []
    else:
        facts.append(("takes", "anything: it has no signature, so nothing is checked"))
    facts += [("example", "of its inputs")] if manifest.example is not None else []
    libraries = [f"{name} {version}" for name, version in manifest.libraries.items()]
    facts.append(("made with", ", ".join([f"Python {manifest.environment.python}", *libraries])))
    facts.append(("needs", f"{len(manifest.environment.packages)} packages; --json lists them"))
    facts += [("code", ", ".join(sorted(manifest.code)))] if manifest.code else []
    return facts


def _columns(schema: Any) -> str:
    from mlflowish.models.signature import field_text

    fields = list(schema)
    more = [f"... {len(fields) - _MOST_COLUMNS} more"] if len(fields) > _MOST_COLUMNS else []
    return ", ".join([*map(field_text, fields[:_MOST_COLUMNS]), *more])


def _cells(rows: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    return [["" if value is None else str(value) for value in row.values()] for row in rows]


def _named(aliases: Mapping[str, int]) -> str:
    return ", ".join(f"{alias}: {version}" for alias, version in aliases.items())


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name}={f'{value:.6g}' if isinstance(value, float) else value}" for name, value in values.items()
    )
