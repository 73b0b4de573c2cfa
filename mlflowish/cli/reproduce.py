"""The command that runs recorded code on recorded inputs again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

import click

from mlflowish.cli.entries import by_prefix, run_named
from mlflowish.cli.options import Location, json_option, store_options
from mlflowish.cli.printing import console, print_json
from mlflowish.errors import MlflowishError, NotFoundError

if TYPE_CHECKING:
    from mlflowish.reproduction import Reproduction
    from mlflowish.store import Store

_CODES = {"same": 0, "different": 1, "not possible": 2}
_STYLES = {"same": "green", "different": "red", "not possible": "yellow"}


class _NotPossible(click.ClickException):
    """Nothing could be run: the exit code is that of `not possible`."""

    exit_code = _CODES["not possible"]


@click.command()
@click.argument("what")
@click.option("--code", type=click.Choice(["recorded", "present"]), default="recorded", help="Which code to run.")
@click.option(
    "--argument", "arguments", multiple=True, metavar="NAME=JSON", help="An argument that is not recorded, as JSON."
)
@click.option("--file", "files", multiple=True, metavar="NAME=PATH", help="An argument that is a file.")
@click.option("--timeout", type=click.FloatRange(0, min_open=True), help="Seconds until it is stopped.")
@store_options
@json_option
def reproduce(
    what: str,
    code: str,
    arguments: tuple[str, ...],
    files: tuple[str, ...],
    timeout: float | None,
    location: Location,
    as_json: bool,
) -> int:
    """Run recorded code on recorded inputs again, and compare the results.

    WHAT: the key of a call or the first digits of it, the id or name of a run (all of its calls), a model such as
    models:/churn/3 (the calls behind it). This executes code from the store. Exit codes: 0 everything came out the
    same, 1 something did not, 2 something could not be run.
    """
    from mlflowish.reproduction import reproduce as run_again

    try:
        store = location.open()
        given = {**_parsed(arguments), **_files(files)}
        which: Literal["recorded", "present"] = "present" if code == "present" else "recorded"
        found = run_again(_thing(store, what), code=which, arguments=given, timeout=timeout, store=store)
    except MlflowishError as error:
        if as_json:
            print_json({"error": {"code": error.code, "message": error.message}})
            return _CODES["not possible"]
        raise _NotPossible(error.message) from error
    if as_json:
        print_json(found.document())
    else:
        _print(found)
    return _CODES[found.outcome]


def _thing(store: Store, what: str) -> Any:
    if what.startswith("models:/"):
        return what
    try:
        run = run_named(store, what)
    except NotFoundError:
        run = None
    return by_prefix(store, what)[0].key.hex() if run is None else run


def _parsed(pairs: tuple[str, ...]) -> dict[str, Any]:
    found = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        try:
            found[name] = json.loads(text)
        except ValueError:
            raise click.BadParameter(f"{pair!r} is not NAME=JSON") from None
        if not equals:
            raise click.BadParameter(f"{pair!r} is not NAME=JSON")
    return found


def _files(pairs: tuple[str, ...]) -> dict[str, Any]:
    from mlflowish.store import File

    return {name: File(path) for name, _, path in (pair.partition("=") for pair in pairs)}


def _print(found: Reproduction) -> None:
    from rich.markup import escape

    page = console()
    for call in found:
        style = _STYLES[call.outcome]
        page.print(f"[{style}]{call.outcome}[/]  {escape(call.step)}  [dim]{call.key[:12]}[/]", soft_wrap=True)
        for line in [call.why, *map(str, call.differences)]:
            if line:
                page.print(f"    {escape(line)}", soft_wrap=True)
