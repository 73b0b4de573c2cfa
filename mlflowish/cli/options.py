"""Options that commands share: which store, and how to print."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mlflowish import settings

if TYPE_CHECKING:
    from mlflowish.store import Store

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Location:
    """A store as the command line names it: a URL or path, and options for its driver."""

    url: str
    options: dict[str, Any]

    def open(self) -> Store:
        """The opened store; nothing is created."""
        from mlflowish.store import Store

        return Store(self.url, **self.options)

    @property
    def is_memory(self) -> bool:
        """Does it live and die with this process?"""
        return self.url.startswith("memory:")


def store_options(command: Command) -> Command:
    """Add `--store` and `-o`; the command gets them as one `location`."""
    command = click.option(
        "-o",
        "--option",
        "location",
        multiple=True,
        metavar="KEY=VALUE",
        callback=_to_location,
        help="An option for the store's driver, for example -o endpoint_url=http://localhost:9000. VALUE may be JSON.",
    )(command)
    return click.option(
        "--store",
        "store",
        metavar="URL",
        is_eager=True,
        expose_value=False,
        callback=_remember,
        help="A path or fsspec URL.",
    )(command)


def json_option(command: Command) -> Command:
    """Add `--json`; the command gets it as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document, for programs.")(command)


def _remember(context: click.Context, _: click.Parameter, url: str | None) -> None:
    context.meta["mlflowish.store"] = url


def _to_location(context: click.Context, _: click.Parameter, pairs: tuple[str, ...]) -> Location:
    options = dict(_parsed(pair) for pair in pairs)
    return Location(context.meta.get("mlflowish.store") or settings.default_store_url(), options)


def _parsed(pair: str) -> tuple[str, Any]:
    name, equals, text = pair.partition("=")
    if not equals or not name.isidentifier():
        raise click.BadParameter(f"{pair!r} is not KEY=VALUE")
    try:
        return name, json.loads(text)
    except ValueError:
        return name, text
