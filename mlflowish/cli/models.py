"""Commands about registered models: what there is, moving a version, and what webhooks have not got yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mlflowish.cli.options import Location, json_option, look_up_options, store_options
from mlflowish.cli.printing import print_facts, print_json, print_table, size
from mlflowish.errors import InvalidInputError, StateError

if TYPE_CHECKING:
    from mlflowish.registry import ModelVersion, RegisteredModel, Transitions
    from mlflowish.store import Store


@click.command()
@click.argument("name", required=False)
@click.option("--history", is_flag=True, help="What happened to the model, oldest first.")
@look_up_options
@json_option
def models(name: str | None, history: bool, location: Location, as_json: bool) -> None:
    """Registered models; with NAME the versions of one; with an address (models:/churn/production) one version."""
    from mlflowish import registry

    store = location.open()
    if name is None:
        if history:
            raise click.UsageError("--history wants the NAME of a model")
        found = list(registry.models(store=store))
        if not found:
            location.open_existing()
        _print_models(store, found, as_json)
    elif history:
        _print_history(store, name, registry.history(name, store=store), as_json)
    elif name.startswith("models:/"):
        _print_version(registry.get(name, store=store), as_json)
    else:
        _print_versions(store, registry.model(name, store=store), as_json)


@click.command()
@click.argument("name")
@click.argument("version")
@click.argument("stage")
@click.option("--comment", "-m", default="", help="Why, for the history.")
@click.option("--who", help="Who does it (default: $MLFLOWISH_USER, else the user of this machine).")
@click.option("--keep-existing", is_flag=True, help="Fail if the stage is exclusive and taken, instead of archiving.")
@click.option("--request", "is_request", is_flag=True, help="Ask others to approve it, where the model wants that.")
@click.option("--approve", "is_approval", is_flag=True, help="Approve what somebody else has asked for.")
@look_up_options
@json_option
def promote(
    name: str,
    version: str,
    stage: str,
    comment: str,
    who: str | None,
    keep_existing: bool,
    is_request: bool,
    is_approval: bool,
    location: Location,
    as_json: bool,
) -> None:
    """Move VERSION of the model NAME into STAGE. VERSION: a number, `latest`, `@alias`, or the stage that it is in."""
    from mlflowish import registry

    if is_request and is_approval:
        raise click.UsageError("--request and --approve are of two people")
    store = location.open()
    found = _meant(store, name, version)
    options: dict[str, Any] = {"comment": comment, "who": who, "store": store}
    if is_request:
        asked = registry.request(name, found.version, stage, archive_existing=not keep_existing, **options)
        _print_request(asked, as_json)
        return
    if is_approval:
        moved = registry.approve(name, found.version, stage, **options)
    else:
        moved = registry.transition(name, found.version, stage, archive_existing=not keep_existing, **options)
    if as_json:
        print_json({"store": store.url, "from_stage": found.stage, **moved.document()})
    else:
        print(f"{moved.name} version {moved.version}: {found.stage} -> {moved.stage}")


@click.command()
@click.option("--deliver", "is_delivery", is_flag=True, help="Deliver now what is pending, and wait for it.")
@click.option("--timeout", "timeout_s", default=30.0, show_default=True, help="Seconds that --deliver may take.")
@store_options
@json_option
def hooks(is_delivery: bool, timeout_s: float, location: Location, as_json: bool) -> None:
    """Webhooks, and how much each has not got yet. With --deliver, ends with 1 if something did not arrive."""
    from mlflowish import registry

    store = location.open()
    report = registry.deliver(timeout_s=timeout_s, store=store) if is_delivery else None
    found = registry.hooks(store=store)
    if not found:
        location.open_existing()
    if as_json:
        listed = [{each: getattr(hook, each) for each in ("id", "secret", *found.columns[1:])} for hook in found]
        document: dict[str, Any] = {"store": store.url, "hooks": listed}
        if report is not None:
            document |= {"delivered": report.delivered, "failed": report.failed, "errors": list(report.errors)}
        print_json(document)
    else:
        rows = [[str(value or "") for value in row.values()] for row in found.table()]
        print_table(f"Webhooks in {store.url}", found.columns, rows, numbers=("pending",))
        if report is not None:
            print_facts([("delivered", str(report.delivered)), ("failed", str(report.failed))])
            print_facts([("error", error) for error in report.errors])
    if report is not None and report.failed:
        raise StateError(f"{report.failed} deliveries did not arrive", failed=report.failed, errors=report.errors)


def _meant(store: Store, name: str, version: str) -> ModelVersion:
    from mlflowish import registry

    if version.startswith("@"):
        return registry.get(name, alias=version[1:], store=store)
    try:
        return registry.get(name, version=version, store=store)
    except InvalidInputError:
        return registry.get(name, stage=version, store=store)


def _print_models(store: Store, found: list[RegisteredModel], as_json: bool) -> None:
    if as_json:
        print_json({"store": store.url, "models": [model.document() for model in found]})
        return
    rows = [
        (model.name, str(model.latest), str(model.versions), model.placed, _named(model.aliases), model.description)
        for model in found
    ]
    columns = ("model", "newest", "versions", "stages", "aliases", "description")
    print_table(f"Models in {store.url}", columns, rows, numbers=("newest", "versions"))


def _print_versions(store: Store, model: RegisteredModel, as_json: bool) -> None:
    from mlflowish import registry

    found = registry.versions(model.name, store=store)
    if as_json:
        document = {"store": store.url, **model.document()}
        print_json({**document, "versions": [version.document() for version in found]})
        return
    rows = [[str("" if value is None else value) for value in row.values()] for row in found.texts()]
    print_table(f"{model.name} in {store.url}", found.columns, rows, numbers=("version",))


def _print_version(version: ModelVersion, as_json: bool) -> None:
    document = version.document()
    if as_json:
        print_json({"store": version.store.url, **document})
        return
    facts = [
        (key.replace("_", " "), _text(value)) for key, value in document.items() if value not in (None, "", [], {})
    ]
    print_facts([(key, size(document["bytes"]) if key == "bytes" else text) for key, text in facts])


def _print_history(store: Store, name: str, found: Transitions, as_json: bool) -> None:
    if as_json:
        print_json({"store": store.url, "history": [event.document() for event in found]})
        return
    rows = [[str("" if value is None else value) for value in row.values()] for row in found.texts()]
    print_table(f"History of {name} in {store.url}", found.columns, rows, numbers=("version",))


def _print_request(asked: Any, as_json: bool) -> None:
    if as_json:
        print_json({"model": asked.name, "version": asked.version, "stage": asked.stage, "needed": asked.needed})
    else:
        print(f"asked: {asked.name} version {asked.version} into {asked.stage}, approvals needed: {asked.needed}")


def _named(aliases: Any) -> str:
    return ", ".join(f"{alias}: {version}" for alias, version in aliases.items())


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={item}" for key, item in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
