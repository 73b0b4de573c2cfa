"""Commands about registered models: what there is, moving a version, and what webhooks have not got yet."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from mlflowish.cli.model_pages import (
    print_history,
    print_models,
    print_move,
    print_request,
    print_version,
    print_versions,
)
from mlflowish.cli.options import Location, json_option, look_up_options, store_options
from mlflowish.cli.printing import print_facts, print_json, print_table
from mlflowish.errors import AlreadyExistsError, InvalidInputError, StateError

if TYPE_CHECKING:
    from mlflowish.registry import ModelVersion
    from mlflowish.store import Store


@click.command()
@click.argument("name", metavar="[NAME|ADDRESS]", required=False)
@click.option("--history", is_flag=True, help="What happened to the model, oldest first.")
@click.option("--deleted", is_flag=True, help="Deleted versions as well.")
@look_up_options
@json_option
def models(name: str | None, history: bool, deleted: bool, location: Location, as_json: bool) -> None:
    """Registered models; with NAME the versions of one; with an address all about one version.

    Addresses: churn/3, churn/production, churn@champion, churn/latest, with or without models:/ before them.
    """
    from mlflowish import registry

    store = location.open()
    if name is None:
        if history:
            raise click.UsageError("--history wants the NAME of a model")
        found = list(registry.models(store=store))
        if not found:
            location.open_existing()
        print_models(store, found, as_json)
    elif (address := _address(name)) is not None:
        version = registry.get(address, store=store)
        if history:
            print_history(store, f"{version.name} version {version.version}", version.history(), as_json)
        else:
            print_version(version, as_json)
    elif history:
        print_history(store, name, registry.history(name, store=store), as_json)
    else:
        print_versions(store, registry.model(name, store=store), as_json, deleted=deleted)


@click.command()
@click.argument("name")
@click.argument("version")
@click.argument("stage")
@click.option("--comment", "-m", default="", help="Why, for the history.")
@click.option("--who", help="Who does it (default: $MLFLOWISH_USER, else the user of this machine).")
@click.option("--keep-existing", is_flag=True, help="Fail if the stage is exclusive and taken, instead of archiving.")
@click.option("--request", is_flag=True, help="Ask others to approve it, where the model wants that.")
@click.option("--approve", is_flag=True, help="Approve what somebody else has asked for.")
@click.option("--reject", is_flag=True, help="Reject what somebody else has asked for.")
@click.option("--withdraw", is_flag=True, help="Take back what you have asked for.")
@look_up_options
@json_option
def promote(
    name: str,
    version: str,
    stage: str,
    comment: str,
    who: str | None,
    keep_existing: bool,
    location: Location,
    as_json: bool,
    **words: bool,
) -> None:
    """Move VERSION of the model NAME into STAGE. VERSION: a number, `latest`, `@alias`, or the stage that it is in."""
    from mlflowish import registry

    said = [word for word, is_said in words.items() if is_said]
    if len(said) > 1:
        raise click.UsageError(f"--{said[0]} and --{said[1]} exclude each other")
    store = location.open()
    found = _meant(store, name, version)
    options: dict[str, Any] = {"comment": comment, "who": who, "store": store}
    with _naming_commands(location, name, found.version, stage):
        match said:
            case ["request"]:
                asked = registry.request(name, found.version, stage, archive_existing=not keep_existing, **options)
                print_request(asked, as_json)
            case ["approve"]:
                print_move("approved", found, registry.approve(name, found.version, stage, **options), stage, as_json)
            case ["reject"]:
                print_move("rejected", found, registry.reject(name, found.version, stage, **options), stage, as_json)
            case ["withdraw"]:
                print_move("withdrawn", found, registry.withdraw(name, found.version, stage, **options), stage, as_json)
            case _:
                moved = registry.transition(name, found.version, stage, archive_existing=not keep_existing, **options)
                print_move("moved", found, moved, stage, as_json)


@contextmanager
def _naming_commands(location: Location, name: str, number: int, stage: str) -> Iterator[None]:
    """What is refused says what to do next: on the command line that is an option, and no call of Python."""
    try:
        yield
    except (AlreadyExistsError, StateError) as error:
        place = ["--store", location.shown] if location.is_named else []
        command = shlex.join(["mlflowish", "promote", name, str(number), stage, "--request", *place])
        advice = {
            "needs approval": f"Ask for it: {command}",
            "needs none": "Leave out --request",
            "asked already": "Others --approve or --reject it, and who asked may --withdraw it",
            "same person": "Another person must approve it (--who)",
            "taken": f"Leave out --keep-existing to archive version {error.data.get('holder')}, or move that first",
        }.get(error.data.get("refused", ""))
        if advice is None:
            raise
        raise type(error)(f"{error.data['what']}. {advice}", **error.data) from error


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


def _address(name: str) -> str | None:
    """The address that it is, in full; None for the name of a model, which has neither of these characters."""
    if "/" not in name and "@" not in name:
        return None
    return name if name.startswith("models:/") else f"models:/{name}"


def _meant(store: Store, name: str, version: str) -> ModelVersion:
    from mlflowish import registry

    if version.startswith("@"):
        return registry.get(name, alias=version[1:], store=store)
    try:
        return registry.get(name, version=version, store=store)
    except InvalidInputError:
        return registry.get(name, stage=version, store=store)
